// What routes ask besides, over HTTP/2: a time for the whole answer, other headers of it, and copies that delay nothing.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2, { type ServerHttp2Stream } from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { createRig, listen } from '../../../test/support/http2-rig.ts';
import type { Http2Action, Http2Upstream } from '../http2/http2-contract.ts';
import { UpstreamSessions } from '../http2/upstream-sessions.ts';
import { AnswerHeaders } from './answer-headers.ts';
import type { MirrorTarget, RouteExtras } from './extras.ts';

const LIMIT_MS = 5_000;

interface Backend extends AsyncDisposable {
  readonly upstream: Http2Upstream;
  readonly port: number;
}

async function backend(handle: (stream: ServerHttp2Stream) => void): Promise<Backend> {
  const server = http2.createServer();
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined);
    handle(stream);
  });
  const port = await listen(server);
  const opened = new Set<net.Socket>();
  const sessions = new UpstreamSessions(async () => {
    const socket = net.connect(port, '127.0.0.1');
    opened.add(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  });
  return {
    port,
    upstream: { connectRetries: 0, pick: () => sessions, report: () => undefined },
    async [Symbol.asyncDispose]() {
      sessions[Symbol.dispose]();
      for (const socket of opened) socket.destroy();
      server.close();
      await Promise.resolve();
    },
  };
}

function mirrorTo({ upstream }: Backend, drops: string[] = []): MirrorTarget {
  const http1 = { connectRetries: 0, acquire: () => ({ [Symbol.dispose]: () => undefined }) };
  return { http1, http2: upstream, breaker: { dropMirror: () => void drops.push('dropped') } };
}

const EXTRAS: RouteExtras = { timeoutMs: 0, answer: undefined, mirrors: [] };

async function rigOf({ upstream, port }: Backend, extras: Partial<RouteExtras>) {
  const edits = { path: undefined, isRemoved: () => false, added: [] };
  const action: Http2Action = {
    kind: 'forward',
    upstream,
    edits,
    extras: { ...EXTRAS, ...extras },
  };
  const rig = await createRig(port, () => action);
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  client.on('error', () => undefined);
  return {
    client,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await rig[Symbol.asyncDispose]();
    },
  };
}

async function ask(client: http2.ClientHttp2Session, body?: Buffer) {
  const stream = client.request(
    { ':path': '/a', ':method': body === undefined ? 'GET' : 'POST' },
    { endStream: body === undefined },
  );
  if (body !== undefined) stream.end(body);
  stream.on('error', () => undefined);
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
  const signal = AbortSignal.timeout(LIMIT_MS);
  const [head]: http2.IncomingHttpHeaders[] = await once(stream, 'response', { signal });
  if (!stream.closed) await once(stream, 'close', { signal });
  return { head: head ?? {}, bytes, code: stream.rstCode };
}

const answer = (stream: ServerHttp2Stream): void => {
  stream.resume();
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'x-old': 'o', 'x-kept': 'k' });
    stream.end('hello');
  });
};

test('a request that is not answered in its time is answered with 504, and its upstream let go', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using silent = await backend((stream) => stream.on('close', () => resolve()));
  await using rig = await rigOf(silent, { timeoutMs: 50 });
  assert.equal((await ask(rig.client)).head[':status'], 504);
  await promise;
});

test('an answer that is not whole in its time is broken off, so that it does not look whole', async () => {
  await using slow = await backend((stream) => {
    stream.respond({ ':status': 200 });
    stream.write('part');
  });
  await using rig = await rigOf(slow, { timeoutMs: 50 });
  const { head, code } = await ask(rig.client);
  assert.equal(head[':status'], 200);
  assert.notEqual(code, http2.constants.NGHTTP2_NO_ERROR);
});

test('an answer in time stays as it is, and its headers become what the route says', async () => {
  await using good = await backend(answer);
  const put = [{ name: 'x-new', value: 'n', isSet: true }];
  const headers = new AnswerHeaders([{ remove: ['x-old'], put }]);
  await using rig = await rigOf(good, { timeoutMs: LIMIT_MS, answer: headers });
  const { head, bytes } = await ask(rig.client, Buffer.from('body'));
  assert.equal(bytes, 5);
  assert.deepEqual([head['x-old'], head['x-kept'], head['x-new']], [undefined, 'k', 'n']);
});

test("a copy has the whole body, and its failing is nobody's business", async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  await using good = await backend(answer);
  await using copied = await backend((stream) => {
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    stream.on('end', () => {
      resolve(bytes);
      stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    });
  });
  await using rig = await rigOf(good, { mirrors: [mirrorTo(copied)] });
  const { head } = await ask(rig.client, Buffer.alloc(200_000));
  assert.equal(head[':status'], 200);
  assert.equal(await promise, 200_000);
});

test('a copy that is not read delays nothing, and is dropped', async () => {
  const drops: string[] = [];
  await using good = await backend(answer);
  await using stuck = await backend((stream) => stream.pause());
  await using rig = await rigOf(good, { mirrors: [mirrorTo(stuck, drops)] });
  const { head, bytes } = await ask(rig.client, Buffer.alloc(4_000_000));
  assert.equal(head[':status'], 200);
  assert.equal(bytes, 5);
  assert.deepEqual(drops, ['dropped']);
});
