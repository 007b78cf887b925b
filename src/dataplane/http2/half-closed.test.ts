// Connections allow half-open use for TCP's sake; over HTTP/2 a peer that has ended cannot take part any more.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { frame, headers, POST, uint32 } from '../../../test/support/http2-frames.ts';
import { deadline, eventually, serve, serveTcp } from '../../../test/support/servers.ts';
import { Http2Connection } from './http2-proxy.ts';
import { FRAME, PREFACE } from './frames.ts';
import type { StreamUser } from './h2-stream.ts';
import { UpstreamSessions } from './upstream-sessions.ts';

const REQUEST = [':method', 'GET', ':path', '/', ':scheme', 'http', ':authority', 'a'];

/** Sends the request. @returns its answer's first field, or `undefined` when its stream has closed without any. */
function request(sessions: UpstreamSessions): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const user: StreamUser = {
      onHead: (_stream, { raw }) => resolve(raw[1]),
      onData: (stream, slice) => stream.credit(slice.length),
      onSent: () => undefined,
      onClose: () => resolve(undefined),
    };
    sessions.take({
      onConnection: (connection) => {
        connection.open(user, { raw: REQUEST, neverIndexed: undefined }, true);
      },
      onNoConnection: () => reject(new Error('there was no connection')),
    });
  });
}

async function connectTo(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

test('a session whose peer has ended is not given another request, and fails those it has', async () => {
  const backend = http2.createServer();
  await using server = await serve(backend);
  let opened = 0;
  using sessions = new UpstreamSessions(async () => {
    opened++;
    return connectTo(server.port);
  });
  const waiting = request(sessions);
  await once(backend, 'stream', { signal: deadline() });
  server.sockets[0]?.end();
  assert.equal(await waiting, undefined);
  await eventually(() => sessions.inFlight === 0, 'nothing in flight');
  backend.once('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond([':status', '204'], { endStream: true });
  });
  assert.equal(await request(sessions), '204');
  assert.equal(opened, 2);
});

test('connections that broke off make room for others, however many there were', async () => {
  const backend = http2.createServer();
  await using server = await serve(backend);
  using sessions = new UpstreamSessions(() => connectTo(server.port));
  for (let count = 0; count < 10; count++) {
    const waiting = request(sessions);
    await once(backend, 'stream', { signal: deadline() });
    server.sockets.at(-1)?.resetAndDestroy();
    assert.equal(await waiting, undefined);
  }
  backend.once('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond([':status', '204'], { endStream: true });
  });
  assert.equal(await request(sessions), '204');
});

test('who waits when the only connection breaks off and none can be made is told', async () => {
  const backend = http2.createServer({ settings: { maxConcurrentStreams: 1 } });
  await using server = await serve(backend);
  let opened = 0;
  using sessions = new UpstreamSessions(async () => {
    if (opened++ > 0) throw new Error('there is no second one');
    return connectTo(server.port);
  });
  const first = request(sessions);
  await once(backend, 'stream', { signal: deadline() });
  const second = request(sessions);
  await eventually(() => opened === 2, 'a second connection was tried');
  server.sockets[0]?.resetAndDestroy();
  assert.equal(await first, undefined);
  await assert.rejects(second, { message: 'there was no connection' });
});

test('who waits for a second connection that cannot be made gets room in the first', async () => {
  const backend = http2.createServer({ settings: { maxConcurrentStreams: 1 } });
  await using server = await serve(backend);
  let opened = 0;
  using sessions = new UpstreamSessions(async () => {
    if (opened++ > 0) throw new Error('there is no second one');
    return connectTo(server.port);
  });
  const answered: http2.ServerHttp2Stream[] = [];
  backend.on('stream', (stream: http2.ServerHttp2Stream) => answered.push(stream));
  const first = request(sessions);
  await eventually(() => answered.length === 1, 'the first request');
  const second = request(sessions);
  await eventually(() => opened === 2, 'a second connection was tried');
  answered[0]?.respond([':status', '204'], { endStream: true });
  assert.equal(await first, '204');
  await eventually(() => answered.length === 2, 'the second request');
  answered[1]?.respond([':status', '205'], { endStream: true });
  assert.equal(await second, '205');
});

test('a client that takes nothing of its answer for as long as an idle one is kept is cut off', async () => {
  const completed = Promise.withResolvers<number>();
  await using server = await serveTcp((socket) => {
    const body = 'x'.repeat(50_000_000);
    const hooks = {
      onRequest: () =>
        ({ kind: 'respond', status: 200, body, reasonCode: '', headers: [] }) as const,
      isStillAllowed: () => true,
      onComplete: ({ bytesSent }: { readonly bytesSent: number }) => completed.resolve(bytesSent),
      onClose: () => undefined,
    };
    void new Http2Connection(socket, hooks, { idleTimeoutMs: 100 });
  });
  const client = net.connect({ port: server.port, host: '127.0.0.1' });
  const windows = [
    frame(FRAME.settings, 0, 0, Buffer.from('00047fffffff', 'hex')),
    frame(FRAME.windowUpdate, 0, 0, uint32(2 ** 30)),
  ];
  client.on('error', () => undefined);
  client.write(Buffer.concat([PREFACE, ...windows, headers(1, POST, true)]));
  client.pause();
  const sent = await completed.promise;
  assert.ok(sent > 0 && sent < 50_000_000, `${sent} bytes`);
  client.destroy();
});

test('a client that has ended is let go, though its connection could be used half-open', async () => {
  let closed = 0;
  await using server = await serveTcp((socket) => {
    const hooks = {
      onRequest: () => assert.fail('there was no request'),
      isStillAllowed: () => true,
      onComplete: () => undefined,
      onClose: () => {
        closed++;
      },
    };
    void new Http2Connection(socket, hooks, { idleTimeoutMs: 3_600_000 });
  });
  const client = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
  client.end('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
  client.resume();
  await once(client, 'close', { signal: deadline() });
  await eventually(() => closed === 1, 'the end');
});
