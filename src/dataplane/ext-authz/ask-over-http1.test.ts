// A question over HTTP/1: every way in which an answer can end, and every way in which none comes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { test } from 'node:test';
import type { Http1Upstream } from '../http/h1-contract.ts';
import { askOverHttp1 } from './ask-over-http1.ts';
import { MAX_REPLY_BYTES, type Asked } from './reply.ts';

interface Rig extends AsyncDisposable {
  readonly upstream: Http1Upstream;
  /** `fresh` and `reused`, then how each was given back. */
  readonly history: readonly string[];
}

/** @param answer what the server does with each connection, in order. */
async function openRig(
  answer: (socket: Socket, index: number) => void,
  { isReused = false } = {},
): Promise<Rig> {
  const history: string[] = [];
  const open = new Set<Socket>();
  let count = 0;
  const server = net.createServer((socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    const index = count++;
    socket.once('data', () => answer(socket, index));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address !== 'string');
  const upstream: Http1Upstream = {
    connectRetries: 2,
    acquire: (want, handlers) => {
      const socket = net.connect(address.port, '127.0.0.1');
      open.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('connect', () => {
        const isOld = isReused && !want.mustBeFresh;
        history.push(isOld ? 'reused' : 'fresh');
        handlers.onConnection({
          socket,
          isReused: isOld,
          address: 'a',
          attach: () => undefined,
          release: () => history.push('released'),
          discard: () => {
            history.push('discarded');
            socket.destroy();
          },
          report: () => undefined,
        });
      });
      return { [Symbol.dispose]: () => undefined };
    },
  };
  return {
    upstream,
    history,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const GET = { text: 'GET / HTTP/1.1\r\nhost: a\r\n\r\n', isHead: false };

async function ask(
  answer: string | ((socket: Socket, index: number) => void),
  options: {
    readonly isReused?: boolean;
    readonly isHead?: boolean;
    readonly limitMs?: number;
  } = {},
): Promise<{ readonly said: unknown; readonly history: readonly string[] }> {
  const serve = typeof answer === 'string' ? (socket: Socket) => socket.write(answer) : answer;
  await using rig = await openRig(serve, options);
  const question = { ...GET, isHead: options.isHead === true };
  const signal = AbortSignal.timeout(options.limitMs ?? 5_000);
  const asked = await askOverHttp1(rig.upstream, question, signal);
  return { said: saidOf(asked), history: [...rig.history] };
}

const saidOf = (asked: Asked): unknown =>
  asked.ok ? [asked.reply.status, asked.reply.body.toString()] : asked.reasonCode;

const KEPT = ['fresh', 'released'];
const ENDED = ['fresh', 'discarded'];

const rows: readonly (readonly [string, string, unknown, readonly string[]])[] = [
  ['a length', 'HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno', [401, 'no'], KEPT],
  ['no body', 'HTTP/1.1 204 Ok\r\n\r\n', [204, ''], KEPT],
  [
    'chunks',
    'HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n1\r\nn\r\n1\r\no\r\n0\r\n\r\n',
    [403, 'no'],
    KEPT,
  ],
  [
    'an interim answer before it',
    'HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 Ok\r\ncontent-length: 0\r\n\r\n',
    [200, ''],
    KEPT,
  ],
  [
    'its connection closed by word',
    'HTTP/1.1 200 Ok\r\nconnection: close\r\ncontent-length: 0\r\n\r\n',
    [200, ''],
    ENDED,
  ],
  [
    'bytes behind it that nobody asked for',
    'HTTP/1.1 200 Ok\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200',
    [200, ''],
    ENDED,
  ],
  ['what is no HTTP', 'SSH-2.0-x\r\n\r\n', 'authorizer-answer-bad', ENDED],
  [
    'two lengths',
    'HTTP/1.1 200 Ok\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n',
    'authorizer-answer-bad',
    ENDED,
  ],
  [
    'more than anybody reads',
    `HTTP/1.1 200 Ok\r\ncontent-length: ${MAX_REPLY_BYTES + 1}\r\n\r\n${'x'.repeat(MAX_REPLY_BYTES + 1)}`,
    'authorizer-answer-bad',
    ENDED,
  ],
];

for (const [what, answer, said, history] of rows) {
  test(`askOverHttp1() takes an answer with ${what}`, async () => {
    assert.deepEqual(await ask(answer), { said, history });
  });
}

test('askOverHttp1() takes the end of the connection for the end of an answer that says no length', async () => {
  const answer = (socket: Socket): unknown => socket.end('HTTP/1.1 200 Ok\r\n\r\nyes');
  assert.deepEqual(await ask(answer), { said: [200, 'yes'], history: ENDED });
});

test('askOverHttp1() knows that an answer to HEAD has no body', async () => {
  const answer = 'HTTP/1.1 200 Ok\r\ncontent-length: 5\r\n\r\n';
  assert.deepEqual(await ask(answer, { isHead: true }), { said: [200, ''], history: KEPT });
});

test('askOverHttp1() has no answer when one is cut short', async () => {
  const answer = (socket: Socket): unknown =>
    socket.end('HTTP/1.1 200 Ok\r\ncontent-length: 9\r\n\r\nyes');
  assert.deepEqual(await ask(answer), { said: 'authorizer-reset', history: ENDED });
});

test('askOverHttp1() has no answer in time, and keeps no connection that may still give one', async () => {
  const asked = await ask(() => undefined, { limitMs: 50 });
  assert.deepEqual(asked, { said: 'authorizer-timeout', history: ENDED });
});

test('askOverHttp1() asks once more when a kept connection turns out to be closed, and not again', async () => {
  const closing = (socket: Socket, index: number): unknown =>
    index === 0 ? socket.destroy() : socket.write('HTTP/1.1 200 Ok\r\ncontent-length: 0\r\n\r\n');
  assert.deepEqual(await ask(closing, { isReused: true }), {
    said: [200, ''],
    history: ['reused', 'discarded', 'fresh', 'released'],
  });
  assert.deepEqual(await ask((socket) => socket.destroy(), { isReused: true }), {
    said: 'authorizer-reset',
    history: ['reused', 'discarded', 'fresh', 'discarded'],
  });
});
