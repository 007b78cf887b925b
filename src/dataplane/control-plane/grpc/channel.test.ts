import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import {
  Server,
  ServerCredentials,
  status,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { serve } from '../../../../test/support/servers.ts';
import { Channel, type ChannelOptions } from './channel.ts';
import { frameMessage } from './messages.ts';
import { CallFailure, STATUS } from './status.ts';

const TIMEOUT_MS = 5_000;
const PATH = '/x.Y/Z';

const channelTo = (port: number, more: Partial<ChannelOptions> = {}): Channel =>
  new Channel({
    address: { host: '127.0.0.1', port },
    userAgent: 'test',
    maxMessageBytes: 1_000,
    ...more,
  });

/** A server whose streams a test answers itself. */
async function openHttp2(answer: (stream: ServerHttp2Stream, session: ServerHttp2Session) => void) {
  const sessions: ServerHttp2Session[] = [];
  const server = http2.createServer();
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
    session.on('stream', (stream) => {
      stream.on('error', () => {});
      answer(stream, session);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return {
    port: address.port,
    sessions,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const failureOf = async (asked: Promise<unknown>): Promise<CallFailure> => {
  try {
    await asked;
  } catch (error) {
    assert.ok(error instanceof CallFailure, String(error));
    return error;
  }
  throw new Error('it was answered');
};

const identity = (bytes: Buffer): Buffer => bytes;

/** gRPC's own server, with one method. */
async function openGrpc(
  handle: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => void,
) {
  const server = new Server();
  const method = {
    path: PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
  server.addService({ Z: method }, { Z: handle });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { port, [Symbol.dispose]: () => server.forceShutdown() };
}

test("ask() is answered by gRPC's own server, and calls share one connection", async () => {
  using server = await openGrpc((call, reply) =>
    reply(null, Buffer.concat([call.request, Buffer.from('!')])),
  );
  const channel = channelTo(server.port);
  const words = ['a', 'b', ''].map((word) => channel.ask(PATH, Buffer.from(word), TIMEOUT_MS));
  assert.deepEqual((await Promise.all(words)).map(String), ['a!', 'b!', '!']);
  assert.equal(channel.isConnected, true);
  channel.close();
  assert.throws(() => channel.open(PATH, { onMessage: () => {}, onEnd: () => {} }), /closed/);
});

test('ask() fails with the code and the words of the server, umlauts and all', async () => {
  using server = await openGrpc((_call, reply) => {
    reply({ code: status.PERMISSION_DENIED, details: 'für niemanden: 100 %' });
  });
  const channel = channelTo(server.port);
  const { code, details } = await failureOf(channel.ask(PATH, Buffer.alloc(0), TIMEOUT_MS));
  assert.deepEqual([code, details], [STATUS.PERMISSION_DENIED, 'für niemanden: 100 %']);
  const other = await failureOf(channel.ask('/x.Y/None', Buffer.alloc(0), TIMEOUT_MS));
  assert.equal(other.code, STATUS.UNIMPLEMENTED);
  channel.close();
});

test('a message that is too long ends its call, and the connection lives on', async () => {
  using server = await openGrpc((call, reply) => reply(null, Buffer.alloc(Number(call.request))));
  const channel = channelTo(server.port);
  const { code } = await failureOf(channel.ask(PATH, Buffer.from('1001'), TIMEOUT_MS));
  assert.equal(code, STATUS.RESOURCE_EXHAUSTED);
  assert.equal((await channel.ask(PATH, Buffer.from('1000'), TIMEOUT_MS)).length, 1_000);
  channel.close();
});

for (const [what, answer, expected] of [
  ['HTTP 503', (stream) => stream.respond({ ':status': 503 }, { endStream: true }), 14],
  ['HTTP 404', (stream) => stream.respond({ ':status': 404 }, { endStream: true }), 12],
  ['a refused stream', (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM), 14],
  ['an end without a status', (stream) => stream.respond({}, { endStream: true }), 2],
  [
    'a status without a message',
    (stream) => stream.respond({ 'grpc-status': 0 }, { endStream: true }),
    13,
  ],
  [
    'a status that is no number',
    (stream) => stream.respond({ 'grpc-status': 'x' }, { endStream: true }),
    2,
  ],
  ['a connection that is cut', (_stream, session) => session.destroy(), 14],
] satisfies [string, (stream: ServerHttp2Stream, session: ServerHttp2Session) => void, number][]) {
  test(`a call that is answered with ${what} fails with code ${expected}`, async () => {
    await using server = await openHttp2(answer);
    const channel = channelTo(server.port);
    const { code } = await failureOf(channel.ask(PATH, Buffer.alloc(0), TIMEOUT_MS));
    assert.equal(code, expected);
    channel.close();
  });
}

test('an answer that ends within a message is a failure, though its status is OK', async () => {
  await using server = await openHttp2((stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.concat([frameMessage(Buffer.from('a')), Buffer.from([0, 0])]));
  });
  const channel = channelTo(server.port);
  const failure = await failureOf(channel.ask(PATH, Buffer.alloc(0), TIMEOUT_MS));
  assert.deepEqual([failure.code, failure.details], [13, 'the answer ended within a message']);
  channel.close();
});

test('a call that is not answered in time fails, and the server is told that nobody waits', async () => {
  const reset = Promise.withResolvers<number | undefined>();
  await using server = await openHttp2((stream) => {
    stream.on('close', () => reset.resolve(stream.rstCode));
  });
  const channel = channelTo(server.port);
  const { code } = await failureOf(channel.ask(PATH, Buffer.alloc(0), 50));
  assert.equal(code, STATUS.DEADLINE_EXCEEDED);
  assert.equal(await reset.promise, http2.constants.NGHTTP2_CANCEL);
  channel.close();
});

test('after GOAWAY the next call has a new connection', async () => {
  await using server = await openHttp2((stream, session) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    session.goaway();
    stream.end(frameMessage(Buffer.from('a')));
  });
  const channel = channelTo(server.port);
  for (let call = 1; call <= 3; call++) {
    assert.equal(String(await channel.ask(PATH, Buffer.alloc(0), TIMEOUT_MS)), 'a');
  }
  assert.equal(server.sessions.length, 3);
  channel.close();
});

test('nobody listens: the failure says what the system said', async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  server.close();
  await once(server, 'close');
  const channel = channelTo(address.port);
  const { code, details } = await failureOf(channel.ask(PATH, Buffer.alloc(0), TIMEOUT_MS));
  assert.equal(code, STATUS.UNAVAILABLE);
  assert.match(details, /^connect ECONNREFUSED/);
  channel.close();
});

test('a server that fell silent is noticed, and its calls end', async () => {
  const sockets: Socket[] = [];
  await using server = await serve(
    createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      // An empty SETTINGS frame, and nothing more.
      socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    }),
  );
  const channel = channelTo(server.port, { keepalive: { everyMs: 20, answerWithinMs: 20 } });
  const { code, details } = await failureOf(channel.ask(PATH, Buffer.alloc(0), TIMEOUT_MS));
  assert.deepEqual([code, details], [STATUS.UNAVAILABLE, 'the server does not answer any more']);
  channel.close();
  for (const socket of sockets) socket.destroy();
});
