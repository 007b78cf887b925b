// HTTP/2 through the proxy on real sockets: gRPC's four call kinds, trailers, flow control, resets, floods, drain.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { readHead } from './header-list.ts';
import {
  listen,
  createRig,
  grpcServer,
  echoClient,
  unary,
} from '../../../test/support/http2-rig.ts';

test('gRPC: all four call kinds pass with their data and status', async () => {
  using server = await grpcServer();
  await using rig = await createRig(server.port);
  using client = echoClient(rig.port);
  assert.equal(String(await unary(client.call('Unary'), Buffer.from('hi'))), 'hi');
  await assert.rejects(unary(client.call('Unary'), Buffer.from('fail')), {
    code: grpc.status.DATA_LOSS,
    details: 'no ü',
  });
  const collected = await new Promise<Buffer>((resolve, reject) => {
    const stream = client.call('Client')((error: Error | null, reply: Buffer) =>
      error ? reject(error) : resolve(reply),
    );
    for (const part of ['a', 'b', 'c']) stream.write(Buffer.from(part));
    stream.end();
  });
  assert.equal(String(collected), 'abc');
  const parts: string[] = [];
  for await (const part of client.call('Server')(Buffer.from('x'))) parts.push(String(part));
  assert.deepEqual(parts, ['x', 'x', 'x']);
  const bidi = client.call('Bidi')();
  bidi.write(Buffer.from('ping'));
  const [pong] = (await once(bidi, 'data')) as [Buffer];
  assert.equal(String(pong), 'ping');
  bidi.end();
  const [status] = (await once(bidi, 'status')) as [grpc.StatusObject];
  assert.equal(status.code, 0);
  await rig.completed(5);
  assert.deepEqual(
    rig.completions.map((completion) => completion.grpcStatus),
    ['0', '15', '0', '0', '0'],
  );
});

test('gRPC: a denied call gets PERMISSION_DENIED and never reaches the application', async () => {
  let reached = 0;
  const backend = http2.createServer(() => reached++);
  const backendPort = await listen(backend);
  await using rig = await createRig(backendPort, () => ({
    kind: 'respond',
    status: 403,
    body: 'RBAC: access denied',
    reasonCode: 'rbac-denied',
    headers: ['x-request-id', 'r1'],
  }));
  using client = echoClient(rig.port);
  await assert.rejects(unary(client.call('Unary'), Buffer.from('x')), {
    code: grpc.status.PERMISSION_DENIED,
    details: 'RBAC: access denied',
  });
  assert.equal(reached, 0);
  backend.close();
});

test('headers for the proxy alone are taken out, every value of the others passes', async () => {
  const backend = http2.createServer();
  const seen = new Promise<readonly string[]>((resolve) => {
    backend.on(
      'stream',
      (stream: http2.ServerHttp2Stream, _headers, _flags, raw: readonly string[]) => {
        stream.respond({ ':status': 204 }, { endStream: true });
        resolve(raw);
      },
    );
  });
  await using rig = await createRig(await listen(backend));
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  client
    .request({ ':path': '/p?q', 'x-weft-peer': 'me', 'x-a': ['1', '2'] })
    .resume()
    .end();
  const raw = await seen;
  assert.ok(!raw.includes('x-weft-peer'));
  assert.deepEqual(
    raw.filter((_, index) => raw[index - 1] === 'x-a'),
    ['1', '2'],
  );
  assert.equal(raw[raw.indexOf(':path') + 1], '/p?q');
  client.destroy();
  backend.close();
});

test('a slow reader holds the sender back instead of filling memory', async () => {
  const backend = http2.createServer();
  let written = 0;
  let stalled = (): void => undefined;
  const stall = new Promise<void>((resolve) => (stalled = resolve));
  backend.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ':status': 200 });
    const chunk = Buffer.alloc(65_536);
    const fill = (): void => {
      while (written < 256 * 1024 * 1024) {
        written += chunk.length;
        if (!stream.write(chunk)) {
          const timer = setTimeout(stalled, 200);
          stream.once('drain', () => {
            clearTimeout(timer);
            fill();
          });
          return;
        }
      }
    };
    fill();
    stream.on('error', () => undefined);
  });
  await using rig = await createRig(await listen(backend));
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  const request = client.request({ ':path': '/' });
  await once(request, 'response');
  await stall;
  assert.ok(written < 32 * 1024 * 1024, `${written} bytes were taken`);
  client.destroy();
  backend.close();
});

test('no upstream: 503 for HTTP, UNAVAILABLE for gRPC', async () => {
  const closed = net.createServer();
  const port = await listen(closed);
  closed.close();
  await once(closed, 'close');
  await using rig = await createRig(port);
  using client = echoClient(rig.port);
  await assert.rejects(unary(client.call('Unary'), Buffer.from('x')), {
    code: grpc.status.UNAVAILABLE,
  });
  assert.equal(rig.completions[0]?.reasonCode, 'upstream-connect-failed');
});

test('an upstream that resets in mid-body resets the client, which cannot take it for the end', async () => {
  const backend = http2.createServer();
  backend.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.write('half', () => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
    stream.on('error', () => undefined);
  });
  await using rig = await createRig(await listen(backend));
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  const request = client.request({ ':path': '/' });
  request.resume();
  const [error] = (await once(request, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ERR_HTTP2_STREAM_ERROR');
  client.destroy();
  backend.close();
});

test('drain: GOAWAY, the request in flight ends, then the connection closes', async () => {
  const backend = http2.createServer();
  const arrived = new Promise<http2.ServerHttp2Stream>((resolve) => backend.on('stream', resolve));
  await using rig = await createRig(await listen(backend));
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  const request = client.request({ ':path': '/' });
  const response = once(request, 'response');
  const stream = await arrived;
  const goaway = once(client, 'goaway');
  rig.connections[0]?.drain();
  await goaway;
  stream.respond({ ':status': 200 });
  stream.end('done');
  await response;
  let body = '';
  for await (const part of request) body += String(part);
  assert.equal(body, 'done');
  if (!client.destroyed) await once(client, 'close');
  backend.close();
});

test('a request that a new policy forbids is cut while it runs; others go on', async () => {
  const backend = http2.createServer();
  backend.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ':status': 200 });
    stream.write('x');
    stream.on('error', () => undefined);
  });
  await using rig = await createRig(await listen(backend));
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  const kept = client.request({ ':path': '/kept' });
  const cut = client.request({ ':path': '/cut' });
  await Promise.all([once(kept, 'data'), once(cut, 'data')]);
  const closed = once(cut, 'close');
  rig.allow = (head) => head.path !== '/cut';
  rig.connections[0]?.rejudgeStreams();
  await closed;
  assert.equal(cut.rstCode, http2.constants.NGHTTP2_CANCEL);
  assert.ok(!kept.destroyed);
  client.destroy();
  backend.close();
});

test('rapid reset ends the connection (CVE-2023-44487)', async () => {
  const backend = http2.createServer();
  backend.on('stream', (stream) => stream.on('error', () => undefined));
  await using rig = await createRig(await listen(backend));
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  client.on('error', () => undefined);
  const gone = Promise.race([once(client, 'goaway'), once(client, 'close')]);
  let sent = 0;
  const flood = (): void => {
    for (let index = 0; index < 100 && !client.closed && !client.destroyed; index++, sent++) {
      const request = client.request({ ':path': '/' });
      request.on('error', () => undefined);
      request.close(http2.constants.NGHTTP2_CANCEL);
    }
    if (sent < 5_000 && !client.closed && !client.destroyed) setImmediate(flood);
  };
  flood();
  await gone;
  client.destroy();
  backend.close();
});

test('headers beyond the limit are refused before END_HEADERS (CVE-2024-27983), garbage ends quietly (CVE-2025-59465)', async () => {
  await using rig = await createRig(1);
  const client = http2.connect(`http://127.0.0.1:${rig.port}`, {
    maxSendHeaderBlockLength: 10_000_000,
  });
  client.on('error', () => undefined);
  const request = client.request({ ':path': '/', 'x-big': 'a'.repeat(200_000) });
  request.on('error', () => undefined);
  await new Promise((resolve) => request.on('close', resolve));
  client.destroy();
  for (const garbage of [
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\x01\x25',
    'nonsense\r\n\r\n',
  ]) {
    const socket = net.connect(rig.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.end(garbage, 'latin1');
    socket.resume();
    await once(socket, 'close');
  }
  assert.equal(rig.completions.filter((completion) => completion.status === 200).length, 0);
});

for (const [name, headers, reasonCode] of [
  ['CONNECT', { ':method': 'CONNECT', ':authority': 'a:1' }, 'connect-refused'],
  ['two hosts', { ':path': '/', ':authority': 'one', host: 'other' }, 'two-hosts'],
  ['a method in lower case', { ':path': '/', ':method': 'get' }, 'method-not-upper-case'],
] as const) {
  test(`${name} is answered 400`, async () => {
    await using rig = await createRig(1);
    const client = http2.connect(`http://127.0.0.1:${rig.port}`);
    client.on('error', () => undefined);
    const request = client.request(headers);
    request.on('error', () => undefined);
    request.resume();
    await rig.completed(1);
    assert.deepEqual(
      [rig.completions[0]?.status, rig.completions[0]?.reasonCode],
      [400, reasonCode],
    );
    client.destroy();
  });
}

test('a path without a slash never reaches an upstream (CVE-2026-33186)', async () => {
  let asked = 0;
  await using rig = await createRig(1, () => {
    asked++;
    return undefined;
  });
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  const request = client.request({ ':path': 'x' });
  const [error] = (await once(request.resume(), 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ERR_HTTP2_STREAM_ERROR');
  assert.equal(asked, 0);
  assert.deepEqual(readHead([':method', 'GET', ':path', 'x', ':authority', 'a']), {
    ok: false,
    reasonCode: 'path-without-slash',
    status: 400,
  });
  client.destroy();
});
