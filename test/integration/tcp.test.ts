// Bytes that are no HTTP: they and their ends arrive as they were sent, whoever speaks first.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { createTestPki } from '../support/mesh-pki.ts';
import {
  type App,
  call,
  connectRaw,
  type HttpApp,
  splitAddress,
  startHttpApp,
  startTcpApp,
} from '../support/lab-clients.ts';
import { type GrpcApp, GrpcClient, startGrpcApp } from '../support/lab-grpc.ts';
import { writeBytes } from '../support/lab-http-apps.ts';
import { eventually, within } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

let lab: Lab;
let client: LabSidecar;
let server: LabSidecar;
const apps: AsyncDisposable[] = [];
let told: string[] = [];
/** Ends only when the client has: says then what it was told. */
let afterwards: App;
let greeting: App;
let echo: App;
let dying: App;
let secure: App;
let http: HttpApp;
let grpc: GrpcApp;
const accepted: net.Socket[] = [];

const pki = createTestPki();
const credential = pki.issue({ uris: ['spiffe://app.example/ns/a/sa/b'] });

before(async () => {
  lab = await startLab();
  afterwards = await startTcpApp((socket) => {
    accepted.push(socket);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('end', () => {
      told.push(text);
      socket.write('you said ');
      socket.end(text);
    });
  });
  greeting = await startTcpApp((socket) => {
    socket.write('220 ready\r\n');
    socket.on('data', (line: Buffer) => socket.write(`250 ${line.toString()}`));
    socket.on('end', () => socket.end('221 bye\r\n'));
  });
  echo = await startTcpApp();
  dying = await startTcpApp((socket) => void socket.resetAndDestroy());
  secure = await startTcpApp((socket) => {
    const inner = new tls.TLSSocket(socket, {
      isServer: true,
      key: credential.keyPem,
      cert: credential.chainPem,
      SNICallback: (name, done) => {
        told.push(name);
        done(null);
      },
    });
    inner.on('error', () => inner.destroy());
    inner.on('end', () => inner.end());
    inner.on('data', (chunk: Buffer) => inner.write(`secret ${chunk.toString()}`));
  });
  http = await startHttpApp();
  grpc = await startGrpcApp('auto');
  apps.push(afterwards, greeting, echo, dying, secure, http, grpc);
  [server, client] = await Promise.all([
    lab.startSidecar({
      pod: 'many-0',
      inbound: {
        7000: afterwards.address,
        7001: echo.address,
        3306: greeting.address,
        7003: greeting.address,
        8443: secure.address,
        7005: http.address,
        7006: grpc.address,
        7007: '127.0.0.1:1',
        7008: dying.address,
      },
      service: [
        { name: 'tcp-afterwards', port: 7000, targetPort: 7000 },
        { name: 'tcp-echo', port: 7001, targetPort: 7001 },
        { name: 'db', port: 3306, targetPort: 3306 },
        { name: 'unnamed', port: 7003, targetPort: 7003 },
        { name: 'https', port: 8443, targetPort: 8443 },
        { name: 'auto-http', port: 7005, targetPort: 7005 },
        { name: 'auto-grpc', port: 7006, targetPort: 7006 },
        { name: 'tcp-nobody', port: 7007, targetPort: 7007 },
        { name: 'tcp-dying', port: 7008, targetPort: 7008 },
      ],
      args: ['--access-log', 'all'],
    }),
    lab.startSidecar({
      pod: 'client-0',
      outbound: [7000, 7001, 3306, 7003, 8443, 7005, 7006, 7007, 7008].map(
        (port) => `many.shop:${port}`,
      ),
    }),
  ]);
});

after(async () => {
  await lab?.[Symbol.asyncDispose]();
  for (const app of apps) await app[Symbol.asyncDispose]();
});

const via = (port: number): string => client.via(`many.shop:${port}`);

test('a client that has said all it has still hears the answer: half-close goes through', async () => {
  told = [];
  using raw = await connectRaw(via(7000), { allowHalfOpen: true });
  raw.write('all I have');
  raw.socket.end();
  await raw.reads('you said all I have');
  await eventually(() => raw.isEnded, { what: 'the end' });
  assert.deepEqual(told, ['all I have']);
});

test('a client that ends without a byte ends the connection at the application', async () => {
  told = [];
  using raw = await connectRaw(via(7000), { allowHalfOpen: true });
  raw.socket.end();
  await raw.reads('you said ');
  assert.deepEqual(told, ['']);
});

test('a client that ends without a byte is not kept: not by HTTP, not by a port of unknown protocol', async () => {
  for (const port of [7005, 7003]) {
    for (let count = 0; count < 3; count++) {
      using raw = await connectRaw(via(port), { allowHalfOpen: true });
      raw.socket.end();
      await raw.closed(10_000);
    }
  }
});

test('a client that dies is not taken for one that ended: the application sees a reset', async () => {
  told = [];
  const before = accepted.length;
  using raw = await connectRaw(via(7000));
  raw.write('half of it');
  await eventually(() => accepted.length > before, { what: 'the connection' });
  const socket = accepted.at(-1)!;
  await eventually(() => socket.bytesRead > 0, { what: 'the bytes' });
  raw.socket.resetAndDestroy();
  await eventually(() => socket.destroyed, { what: 'its end' });
  assert.deepEqual(told, [], 'no clean end was seen');
});

test('an application that dies is not taken for one that ended: the client sees a reset', async () => {
  const before = accepted.length;
  using raw = await connectRaw(via(7000), { allowHalfOpen: true });
  const failed = once(raw.socket, 'error');
  raw.write('x');
  await eventually(() => accepted.length > before, { what: 'the connection' });
  accepted.at(-1)!.resetAndDestroy();
  assert.match(String(await within(failed, 15_000, 'the reset')), /ECONNRESET/);
});

test('an application that dies as soon as it is connected to has said nothing that could end, however early its reset comes', async () => {
  const ends: string[] = [];
  for (let count = 0; count < 40; count++) {
    using raw = await connectRaw(via(7008), { allowHalfOpen: true });
    const reset = once(raw.socket, 'error').then(() => 'reset');
    const ended = once(raw.socket, 'end').then(() => 'end');
    raw.write('x');
    ends.push(await within(Promise.race([reset, ended]), 15_000, 'its end'));
  }
  assert.deepEqual([...new Set(ends)], ['reset']);
});

test('32 MiB come back as they were sent, by a client that reads and writes at its own pace', async () => {
  const bytes = 32 * 1_048_576;
  const socket = net.connect(splitAddress(via(7001)));
  let received = 0;
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  await writeBytes(socket, bytes);
  socket.end();
  await once(socket, 'close', { signal: AbortSignal.timeout(20_000) });
  assert.equal(received, bytes);
  shown('weft', 'tcp-called', 'tcp-calls');
});

test('a server that speaks first is heard at once where its port is known for it', async () => {
  using raw = await connectRaw(via(3306));
  await raw.reads('220 ready');
  raw.write('HELO\r\n');
  await raw.reads('250 HELO');
  raw.socket.end();
  await raw.reads('221 bye');
});

test('a server that speaks first is heard also at a port of unknown protocol', async () => {
  using raw = await connectRaw(via(7003));
  await raw.reads('220 ready');
  raw.write('HELO\r\n');
  await raw.reads('250 HELO');
});

test('a client that speaks first at a port of unknown protocol loses no byte', async () => {
  using raw = await connectRaw(via(7003));
  raw.write('HELO\r\n');
  await raw.reads('250 HELO');
  raw.write('MORE\r\n');
  await raw.reads('250 MORE');
});

test('the application’s own TLS passes through: its certificate, its names, its ALPN', async () => {
  told = [];
  const socket = tls.connect({
    ...splitAddress(via(8443)),
    ca: pki.bundlePem,
    servername: 'app.example',
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  assert.equal(
    socket.getPeerX509Certificate()?.subjectAltName,
    'URI:spiffe://app.example/ns/a/sa/b',
  );
  const answered = once(socket, 'data');
  socket.write('hello');
  const [answer] = await answered;
  assert.equal(String(answer), 'secret hello');
  assert.deepEqual(told, ['app.example']);
  socket.destroy();
  const line = await server.access((entry) => entry['destinationPort'] === 8443, 'the connection');
  assert.equal(line['source'], 'spiffe://cluster.local/ns/shop/sa/client', 'inside the mesh’s own');
  shown('weft', 'passthrough');
});

test('a port of unknown protocol carries HTTP/1.1 and gRPC as what they are', async () => {
  assert.equal((await call(via(7005), '/auto')).status, 200);
  using calls = new GrpcClient(via(7006));
  assert.equal((await calls.unary('hello')).text, 'auto hello');
  const line = await server.access((entry) => entry['path'] === '/auto', 'the request');
  assert.equal(line['protocol'], 'http1');
});

test('an application that does not listen: the client’s connection is reset, for nothing was said that could end, and the log says why', async () => {
  using raw = await connectRaw(via(7007), { allowHalfOpen: true });
  const failed = once(raw.socket, 'error');
  assert.match(String(await within(failed, 15_000, 'the reset')), /ECONNRESET/);
  const line = await server.access((entry) => entry['destinationPort'] === 7007, 'the refusal');
  assert.equal(line['reasonCode'], 'ECONNREFUSED');
});
