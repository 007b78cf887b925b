// Redirected connections to hosts outside: known by the Host that a request names, by the server name of TLS, or by an address that was written down.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import tls from 'node:tls';
import type { ExternalService } from '@weft/model/egress/external-service';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { startDnsServer } from '../support/dns-server.ts';
import { call, startHttpApp, startTcpApp } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { meshConfigOf, podOf } from '../support/mesh-objects.ts';
import { createOutsideRig } from '../support/outside-rig.ts';
import { missingTools, OutsideCa, textOf } from '../support/tls-clients.ts';

const skip = missingTools() ?? false;
const HOST = 'api.pay.example';
/** Nobody is there: who arrives somewhere was led. */
const ELSEWHERE = '203.0.113.9';
const web = podOf('web');

const meshOf = (outboundTrafficPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY') =>
  meshConfigOf({ outboundTrafficPolicy });
const serviceOf = (
  name: string,
  port: ExternalService['ports'][number],
  more: Partial<ExternalService> = {},
): RegistryObject => ({
  kind: 'ExternalService',
  service: {
    namespace: 'shop',
    name,
    createdAtMs: 0,
    hosts: [HOST],
    ports: [port],
    resolution: { kind: 'static', addresses: ['127.0.0.1'] },
    allowedNetworks: [],
    tls: undefined,
    exportTo: undefined,
    allowedCallers: undefined,
    isClosed: false,
    ...more,
  },
});
const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1));
const ask = (port: number, host: string) => call(`127.0.0.1:${port}`, '/', { headers: { host } });

/** What a client that says nothing is told. */
async function endOf(port: number, says = 'hello'): Promise<'closed' | Buffer> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(says);
  const end = await Promise.race([
    new Promise<Buffer>((resolve) => socket.once('data', resolve)),
    new Promise<'closed'>((resolve) => socket.once('close', () => resolve('closed'))),
  ]);
  socket.destroy();
  return end;
}

test('a request is led by the host that it names, wherever it was going; unknown ones get 502 and are counted', async (t: TestContext) => {
  const app = await startHttpApp();
  t.after(() => app[Symbol.asyncDispose]());
  const service = serviceOf('pay', {
    port: 80,
    protocol: 'http1',
    targetPort: portOf(app.address),
  });
  await using rig = createOutsideRig([web, meshOf('REGISTRY_ONLY'), service]);
  const port = await rig.towards({ address: ELSEWHERE, port: 80 });
  const answer = await ask(port, HOST);
  assert.equal(answer.status, 200, answer.body);
  const refused = await ask(port, 'www.unknown.example');
  assert.equal(refused.status, 502);
  assert.equal(refused.body, 'egress-not-registered\n');
  const [counted] = rig.edges.refusals.take();
  assert.deepEqual(counted, {
    host: 'www.unknown.example',
    port: 80,
    reason: 'egress-not-registered',
    count: 1,
  });
  assert.ok(rig.records.some(({ reasonCode }) => reasonCode === 'egress-not-registered'));
});

test('under ALLOW_ANY a request for a host that nobody knows goes where it was going, and one for a forbidden host does not', async (t: TestContext) => {
  const app = await startHttpApp();
  t.after(() => app[Symbol.asyncDispose]());
  const port = portOf(app.address);
  const http = { port, protocol: 'http1', targetPort: 1 } as const;
  const nobody = { allowedCallers: { principals: [], namespaces: [] } };
  await using rig = createOutsideRig([web, meshOf('ALLOW_ANY'), serviceOf('pay', http, nobody)]);
  const via = await rig.towards({ address: '127.0.0.1', port });
  const answer = await ask(via, 'www.unknown.example');
  assert.equal(answer.status, 200, answer.body);
  const refused = await ask(via, `${HOST}:${port}`);
  assert.equal(refused.status, 502);
  assert.equal(refused.body, 'egress-not-allowed\n');
});

test('a caller’s own TLS is led by the server name that it asks for; without a known one it is reset', {
  skip,
}, async (t: TestContext) => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${HOST}` });
  const server = https.createServer(
    { cert: textOf(leaf.certificate), key: textOf(leaf.key) },
    (_request, response) => response.end('inside'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port: targetPort } = server.address() as AddressInfo;
  const service = serviceOf('pay', { port: 443, protocol: 'tls', targetPort });
  await using rig = createOutsideRig([web, meshOf('REGISTRY_ONLY'), service]);
  const port = await rig.towards({ address: ELSEWHERE, port: 443 });
  const secured = (servername: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = tls.connect({
        port,
        host: '127.0.0.1',
        servername,
        ca: textOf(ca.certificate),
      });
      socket.once('secureConnect', () => resolve(`secured ${socket.authorized}`));
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'failed'));
      socket.once('close', () => resolve('closed'));
      t.after(() => socket.destroy());
    });
  assert.equal(await secured(HOST), 'secured true');
  assert.match(await secured('www.unknown.example'), /ECONNRESET|closed/);
  const [counted] = rig.edges.refusals.take();
  assert.equal(counted?.['host'], 'www.unknown.example');
});

test('other bytes are led by the address that was written down, reset elsewhere, and cut when the host is withdrawn', async (t: TestContext) => {
  const app = await startTcpApp();
  t.after(() => app[Symbol.asyncDispose]());
  const port = portOf(app.address);
  const service = serviceOf('db', { port, protocol: 'tcp', targetPort: port });
  await using rig = createOutsideRig([web, meshOf('REGISTRY_ONLY'), service]);
  const known = await rig.towards({ address: '127.0.0.1', port });
  assert.ok(Buffer.isBuffer(await endOf(known)));
  const other = await rig.towards({ address: '127.0.0.2', port });
  assert.equal(await endOf(other), 'closed');
  const socket = net.connect(known, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write('hello');
  await once(socket, 'data');
  const cut = new Promise((resolve) => socket.once('close', resolve));
  rig.bench.change([web, meshOf('REGISTRY_ONLY')]);
  rig.bench.elapse();
  await eventually(() => cut.then(() => true), { what: 'the connection cut', withinMs: 5_000 });
});

test('a star is led by the name that the caller’s TLS asks for, resolved and guarded, whatever address it dialled', {
  skip,
}, async (t: TestContext) => {
  await using dns = await startDnsServer({
    'a.pay.example': ['127.0.0.1'],
    'evil.pay.example': ['169.254.169.254'],
  });
  const app = await startTcpApp((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  });
  t.after(() => app[Symbol.asyncDispose]());
  const port = portOf(app.address);
  const service = serviceOf(
    'star',
    { port, protocol: 'tls', targetPort: port },
    {
      hosts: ['*.pay.example'],
      resolution: { kind: 'dns', minTtlSeconds: 1, maxTtlSeconds: 60 },
      allowedNetworks: ['127.0.0.1/32'],
    },
  );
  await using rig = createOutsideRig([web, meshOf('REGISTRY_ONLY'), service], [dns.address]);
  const via = await rig.towards({ address: ELSEWHERE, port });
  const reached = (servername: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = tls.connect({ port: via, host: '127.0.0.1', servername });
      // The application is no TLS server: that it answered at all says who was reached.
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'failed'));
      socket.once('close', () => resolve('closed'));
      t.after(() => socket.destroy());
    });
  assert.match(await reached('a.pay.example'), /^ERR_SSL_|EPROTO/);
  assert.match(await reached('evil.pay.example'), /ECONNRESET|closed/);
  assert.match(await reached('other.example'), /ECONNRESET|closed/);
  assert.equal(dns.asked.get('other.example'), undefined);
});
