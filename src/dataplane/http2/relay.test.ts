// What passes between two HTTP/2 connections: bytes only as far as somebody takes them, answers only when they are well-formed.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import {
  data,
  field,
  frame,
  GREETING,
  headers,
  OK,
  POST,
  RawPeer,
  SETTINGS,
  uint32,
} from '../../../test/support/http2-frames.ts';
import { createRig } from '../../../test/support/http2-rig.ts';
import { eventually, serve, serveTcp, type TestServer } from '../../../test/support/servers.ts';
import { ERROR, FRAME, PREFACE } from './frames.ts';

/** An upstream that speaks frames, and the first connection to it. */
async function serveRaw(): Promise<{
  readonly server: TestServer;
  readonly peer: Promise<RawPeer>;
}> {
  const { promise, resolve } = Promise.withResolvers<RawPeer>();
  const server = await serveTcp((socket) => {
    const peer = new RawPeer(socket, PREFACE.length);
    peer.write(SETTINGS);
    resolve(peer);
  });
  return { server, peer: promise };
}

const isOf =
  (type: number, streamId: number) =>
  (received: { readonly type: number; readonly streamId: number }): boolean =>
    received.type === type && received.streamId === streamId;

for (const [claim, answer, status, reasonCode] of [
  [
    'more bytes than it promised',
    [
      headers(1, Buffer.concat([OK, field('content-length', '1')])),
      data(1, Buffer.from('xx'), true),
    ],
    200,
    'upstream-malformed',
  ],
  [
    'fewer bytes than it promised',
    [
      headers(1, Buffer.concat([OK, field('content-length', '3')])),
      data(1, Buffer.from('xx'), true),
    ],
    200,
    'upstream-malformed',
  ],
  [
    'no body where it promised one',
    [headers(1, Buffer.concat([OK, field('content-length', '3')]), true)],
    502,
    'upstream-malformed',
  ],
  [
    'a name in upper case',
    [headers(1, Buffer.concat([OK, field('X-Upper', 'y')]), true)],
    502,
    'upstream-malformed',
  ],
  [
    'a field of one hop',
    [headers(1, Buffer.concat([OK, field('connection', 'close')]), true)],
    502,
    'upstream-malformed',
  ],
  [
    'a line end in a value',
    [headers(1, Buffer.concat([OK, field('x-a', 'b\r\nc: d')]), true)],
    502,
    'upstream-malformed',
  ],
  ['no status', [headers(1, field('x-a', 'b'), true)], 502, 'upstream-malformed'],
  ['data before its head', [data(1, Buffer.from('x'), true)], 502, 'upstream-malformed'],
  [
    'an interim head that is its end',
    [headers(1, field(':status', '103'), true)],
    502,
    'upstream-malformed',
  ],
  [
    'a second head that is not its end',
    [headers(1, OK), headers(1, field('x-a', 'b'))],
    200,
    'upstream-malformed',
  ],
  [
    'pseudo-headers in trailers',
    [headers(1, OK), headers(1, field(':status', '200'), true)],
    200,
    'upstream-malformed',
  ],
  [
    'a reset that says no error',
    [headers(1, OK), data(1, Buffer.from('half')), frame(FRAME.reset, 0, 1, uint32(ERROR.none))],
    200,
    'upstream-reset',
  ],
  [
    'an end of the connection in its middle',
    [headers(1, OK), data(1, Buffer.from('half')), frame(FRAME.goaway, 0, 1, Buffer.alloc(8))],
    200,
    'upstream-reset',
  ],
] as const) {
  test(`an answer with ${claim} never looks whole`, async () => {
    const { server, peer } = await serveRaw();
    await using _server = server;
    await using rig = await createRig(server.port);
    using client = await RawPeer.connect(rig.port);
    client.write(GREETING, headers(1, POST, true));
    const upstream = await peer;
    await upstream.next(isOf(FRAME.headers, 1));
    upstream.write(...answer);
    await rig.completed(1);
    assert.equal(rig.completions[0]?.status, status);
    assert.equal(rig.completions[0]?.reasonCode, reasonCode);
    if (status === 502) return;
    const reset = await client.next(isOf(FRAME.reset, 1));
    assert.notDeepEqual(reset.payload, uint32(ERROR.none));
  });
}

test('a request whose body is not as long as it says is reset here and at the application (RFC 9113 §8.1.1)', async () => {
  const { server, peer } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING, headers(1, Buffer.concat([POST, field('content-length', '3')])));
  const upstream = await peer;
  await upstream.next(isOf(FRAME.headers, 1));
  client.write(data(1, Buffer.from('four')));
  assert.deepEqual((await client.next(isOf(FRAME.reset, 1))).payload, uint32(ERROR.protocol));
  await upstream.next(isOf(FRAME.reset, 1));
  assert.equal(rig.completions[0]?.reasonCode, 'content-length-mismatch');
  assert.ok(!upstream.frames.some(isOf(FRAME.data, 1)), 'what was wrong was not passed on');
});

test('streams that the proxy has to reset count as if the peer had reset them (CVE-2025-8671)', async () => {
  const { server } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING);
  for (let id = 1; id < 2_100; id += 2) {
    client.write(headers(id, POST), frame(FRAME.windowUpdate, 0, id, uint32(0)));
  }
  const goaway = await client.next(isOf(FRAME.goaway, 0));
  assert.equal(goaway.payload.readUInt32BE(4), ERROR.enhanceYourCalm);
});

test('more streams than are allowed at once are refused, and can be sent again', async () => {
  const { server } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING);
  for (let index = 0; index < 257; index++) client.write(headers(2 * index + 1, POST));
  const refused = await client.next(({ type }) => type === FRAME.reset);
  assert.equal(refused.streamId, 513);
  assert.deepEqual(refused.payload, uint32(ERROR.refusedStream));
});

test('a client may not send more than the application takes, and a stalled stream holds up no other', async () => {
  const { server, peer } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING, headers(1, POST));
  const body = Buffer.alloc(16_384);
  for (let sent = 0; sent < 15; sent++) client.write(data(1, body));
  await client.ping('sent');
  const upstream = await peer;
  await eventually(() => bytesOf(upstream, 1) === 65_535, 'a whole window at the application');
  assert.deepEqual(updatesOf(client, 1), 0, 'nobody took the rest');
  client.write(headers(3, POST));
  // The connection's window is used up by the stalled stream: the application opens it, not that of the stream.
  upstream.write(frame(FRAME.windowUpdate, 0, 0, uint32(1_000_000)));
  client.write(data(3, Buffer.from('other'), true));
  await upstream.next(isOf(FRAME.data, 3));
  assert.equal(bytesOf(upstream, 1), 65_535);
  upstream.write(frame(FRAME.windowUpdate, 0, 1, uint32(1_000_000)));
  await eventually(() => bytesOf(upstream, 1) === 15 * 16_384, 'the rest');
  await client.next(isOf(FRAME.windowUpdate, 0));
  client.write(data(1, body, true));
  await eventually(() => bytesOf(upstream, 1) === 16 * 16_384, 'the end');
});

const bytesOf = (peer: RawPeer, streamId: number): number =>
  peer.frames
    .filter(isOf(FRAME.data, streamId))
    .reduce((sum, { payload }) => sum + payload.length, 0);

const updatesOf = (peer: RawPeer, streamId: number): number =>
  peer.frames.filter(isOf(FRAME.windowUpdate, streamId)).length;

test('fields named __proto__ and constructor are fields like any other, in heads and trailers (CVE-2026-21710)', async () => {
  const { server, peer } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  const odd = Buffer.concat([field('__proto__', 'x'), field('constructor', 'y')]);
  client.write(GREETING, headers(1, Buffer.concat([POST, odd])), headers(1, odd, true));
  const upstream = await peer;
  await upstream.next((received) => isOf(FRAME.headers, 1)(received) && received.flags === 5);
  upstream.write(headers(1, Buffer.concat([OK, odd])), headers(1, odd, true));
  await client.next((received) => isOf(FRAME.headers, 1)(received) && received.flags === 5);
  await rig.completed(1);
  assert.equal(rig.completions[0]?.status, 200);
  assert.deepEqual(rig.completions[0]?.head?.header('__proto__'), ['x']);
  assert.equal(rig.completions[0]?.head?.header('tostring'), undefined);
});

test('a client that sends more than its window is cut off', async () => {
  const { server } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING, headers(1, POST));
  for (let sent = 0; sent < 130; sent++) client.write(data(1, Buffer.alloc(16_384)));
  const goaway = await client.next(isOf(FRAME.goaway, 0));
  assert.equal(goaway.payload.readUInt32BE(4), ERROR.flowControl);
});

test('padding is given back at once: nobody else takes it', async () => {
  const { server, peer } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING, headers(1, POST));
  await (await peer).next(isOf(FRAME.headers, 1));
  const padded = frame(
    FRAME.data,
    8,
    1,
    Buffer.concat([Buffer.from([255, 0x61]), Buffer.alloc(255)]),
  );
  for (let sent = 0; sent < 2_100; sent++) client.write(padded);
  const { payload } = await client.next(isOf(FRAME.windowUpdate, 1));
  assert.ok(payload.readUInt32BE(0) >= 524_288);
});

test('what comes after the last GOAWAY is passed over, and what is in flight ends well', async () => {
  const { server, peer } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING, headers(1, POST));
  const upstream = await peer;
  await upstream.next(isOf(FRAME.headers, 1));
  rig.connections[0]?.drain();
  await client.next((received) => isLastGoaway(received));
  client.write(headers(3, POST), data(3, Buffer.from('late')), frame(FRAME.reset, 0, 3, uint32(8)));
  client.write(data(1, Buffer.from('in time'), true));
  assert.equal(String((await upstream.next(isOf(FRAME.data, 1))).payload), 'in time');
  upstream.write(headers(1, OK, true));
  await client.next(isOf(FRAME.headers, 1));
  await once(client.socket, 'close');
  assert.ok(!upstream.frames.some(isOf(FRAME.headers, 3)));
  assert.equal(rig.completions.length, 1);
});

const isLastGoaway = ({ type, payload }: { readonly type: number; readonly payload: Buffer }) =>
  type === FRAME.goaway && payload.readUInt32BE(0) === 1;

test('10 MB arrive whole on several streams at once, both ways', async () => {
  const backend = http2.createServer({ maxSessionMemory: 100 });
  backend.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ':status': 200 });
    stream.on('error', () => stream.destroy());
    stream.pipe(stream);
  });
  await using server = await serve(backend);
  await using rig = await createRig(server.port);
  const client = http2.connect(`http://127.0.0.1:${rig.port}`, { maxSessionMemory: 100 });
  const digestOf = async (fill: number): Promise<void> => {
    const body = Buffer.alloc(10_000_000, fill);
    body.writeUInt32BE(fill, 5_000_000);
    const request = client.request({ ':method': 'POST', ':path': '/' });
    request.end(body);
    const received = createHash('sha256');
    for await (const part of request) received.update(part as Buffer);
    assert.equal(received.digest('hex'), createHash('sha256').update(body).digest('hex'));
  };
  await Promise.all([digestOf(1), digestOf(2), digestOf(3)]);
  await rig.completed(3);
  for (const { bytesReceived, bytesSent } of rig.completions) {
    assert.deepEqual([bytesReceived, bytesSent], [10_000_000, 10_000_000]);
  }
  client.destroy();
});

test('requests wait while the application takes no more streams, and each is answered', async () => {
  const backend = http2.createServer({ settings: { maxConcurrentStreams: 2 } });
  let open = 0;
  let most = 0;
  backend.on('stream', (stream: http2.ServerHttp2Stream, head) => {
    most = Math.max(most, ++open);
    setImmediate(() => {
      open--;
      stream.respond({ ':status': 200 });
      stream.end(String(head[':path']));
    });
  });
  await using server = await serve(backend);
  await using rig = await createRig(server.port);
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  const ask = async (path: string): Promise<string> => {
    let body = '';
    for await (const part of client.request({ ':path': path })) body += String(part);
    return body;
  };
  assert.equal(await ask('/first'), '/first', 'the settings are known from here on');
  const paths = Array.from({ length: 60 }, (_path, index) => `/${index}`);
  assert.deepEqual(await Promise.all(paths.map(ask)), paths);
  assert.ok(most <= 16, `${most} at once over at most 8 connections`);
  client.destroy();
});

test('an answer that is whole before its request is passed on, and the client is told to stop', async () => {
  const { server, peer } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  using client = await RawPeer.connect(rig.port);
  client.write(GREETING, headers(1, POST), data(1, Buffer.from('begin')));
  const upstream = await peer;
  await upstream.next(isOf(FRAME.data, 1));
  upstream.write(
    headers(1, OK),
    data(1, Buffer.from('enough'), true),
    frame(FRAME.reset, 0, 1, uint32(ERROR.none)),
  );
  assert.equal(String((await client.next(isOf(FRAME.data, 1))).payload), 'enough');
  assert.deepEqual((await client.next(isOf(FRAME.reset, 1))).payload, uint32(ERROR.none));
  assert.deepEqual([rig.completions[0]?.status, rig.completions[0]?.reasonCode], [200, '']);
});

test('a peer that takes none of its answers is not read any further, and lives when it takes them', async () => {
  const { server, peer } = await serveRaw();
  await using _server = server;
  await using rig = await createRig(server.port);
  const socket = net.connect(rig.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  const flood = frame(FRAME.ping, 0, 0, Buffer.alloc(8));
  socket.write(
    Buffer.concat([GREETING, headers(1, POST, true), ...Array<Buffer>(4_000).fill(flood)]),
  );
  const upstream = await peer;
  await upstream.next(isOf(FRAME.headers, 1));
  upstream.write(headers(1, OK, true));
  using client = new RawPeer(socket);
  await client.next(isOf(FRAME.headers, 1));
  await eventually(() => client.frames.filter(isOf(FRAME.ping, 0)).length === 4_000, 'its pings');
});
