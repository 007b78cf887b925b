// HTTP/2 requests whose decision takes time: held back until then, whole afterwards, gone when their client is.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { Http2Connection, type Http2Action, type Http2Completion } from './http2-proxy.ts';
import { UpstreamSessions } from './upstream-sessions.ts';

async function listen(server: net.Server | http2.Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

interface Rig extends AsyncDisposable {
  readonly client: http2.ClientHttp2Session;
  readonly connection: () => Http2Connection;
  /** Bodies with their trailers, as the application got them. */
  readonly served: string[];
  readonly asked: Promise<void>;
  readonly completed: Promise<Http2Completion>;
  decide(action: 'forward' | 'refuse' | 'fail'): void;
  isAllowed: boolean | Promise<boolean>;
}

async function createRig(): Promise<Rig> {
  const sockets = new Set<net.Socket>();
  const served: string[] = [];
  const backend = http2.createServer();
  backend.on('session', (session) => session.on('error', () => session.destroy()));
  backend.on('stream', (stream: http2.ServerHttp2Stream) => {
    let body = '';
    let trailer = '';
    stream.on('error', () => stream.destroy());
    stream.on('trailers', (trailers) => (trailer = String(trailers['x-sum'])));
    stream.on('data', (part: Buffer) => (body += part.toString()));
    stream.on('end', () => {
      if (stream.destroyed) return;
      served.push(`${body.length} ${trailer}`);
      stream.respond({ ':status': 200 });
      stream.end('ok');
    });
  });
  const port = await listen(backend);
  const sessions = new UpstreamSessions(
    () =>
      new Promise((resolve, reject) => {
        const socket = net.connect(port, '127.0.0.1', () => resolve(socket));
        sockets.add(socket);
        socket.once('error', reject);
      }),
  );
  const forward: Http2Action = {
    kind: 'forward',
    edits: { path: undefined, isRemoved: () => false, added: [] },
    upstream: {
      pick: ({ tried }) => (tried.has(sessions) ? undefined : sessions),
      report: () => undefined,
      connectRetries: 0,
    },
  };
  const refuse: Http2Action = {
    kind: 'respond',
    status: 401,
    body: 'no\n',
    reasonCode: 'no',
    headers: ['www-authenticate', 'Test'],
  };
  const asked = Promise.withResolvers<void>();
  const completed = Promise.withResolvers<Http2Completion>();
  const decided = Promise.withResolvers<Http2Action>();
  let connection: Http2Connection | undefined;
  const rig = { isAllowed: true as boolean | Promise<boolean> };
  const front = net.createServer((socket) => {
    sockets.add(socket);
    const hooks = {
      onRequest: () => {
        asked.resolve();
        return decided.promise;
      },
      isStillAllowed: () => rig.isAllowed,
      onComplete: (completion: Http2Completion) => completed.resolve(completion),
      onClose: () => undefined,
    };
    connection = new Http2Connection(socket, hooks, { idleTimeoutMs: 60_000 });
  });
  const client = http2.connect(`http://127.0.0.1:${await listen(front)}`);
  return Object.assign(rig, {
    client,
    served,
    asked: asked.promise,
    completed: completed.promise,
    connection: () => connection ?? assert.fail('nobody has connected'),
    decide: (action: 'forward' | 'refuse' | 'fail') => {
      if (action === 'fail') decided.reject(new Error('nobody knows'));
      else decided.resolve(action === 'forward' ? forward : refuse);
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      sessions[Symbol.dispose]();
      for (const socket of sockets) socket.destroy();
      front.close();
      backend.close();
      await once(front, 'close');
    },
  });
}

function post(client: http2.ClientHttp2Session, length: number): http2.ClientHttp2Stream {
  const request = client.request(
    { ':method': 'POST', ':path': '/' },
    { waitForTrailers: true, endStream: false },
  );
  request.on('wantTrailers', () => request.sendTrailers({ 'x-sum': 'whole' }));
  request.on('error', () => request.destroy());
  request.end('x'.repeat(length));
  return request;
}

async function statusOf(request: http2.ClientHttp2Stream): Promise<number> {
  const [headers] = (await once(request, 'response')) as [http2.IncomingHttpHeaders];
  request.resume();
  return Number(headers[':status']);
}

for (const length of [0, 10, 200_000]) {
  test(`a body of ${length} bytes and its trailers arrive whole after the wait`, async () => {
    await using rig = await createRig();
    const request = post(rig.client, length);
    await rig.asked;
    /** Everything that fits the stream's window has come by the time that a ping is answered. */
    await new Promise((resolve) => rig.client.ping(resolve));
    assert.deepEqual(rig.served, []);
    rig.decide('forward');
    assert.equal(await statusOf(request), 200);
    assert.deepEqual(rig.served, [`${length} whole`]);
  });
}

test('a refusal after the wait is answered, and the application hears nothing', async () => {
  await using rig = await createRig();
  const request = post(rig.client, 100);
  await rig.asked;
  rig.decide('refuse');
  assert.equal(await statusOf(request), 401);
  assert.equal((await rig.completed).reasonCode, 'no');
  assert.deepEqual(rig.served, []);
});

test('a decision that fails is a refusal', async () => {
  await using rig = await createRig();
  const request = post(rig.client, 100);
  await rig.asked;
  rig.decide('fail');
  assert.equal(await statusOf(request), 503);
  assert.deepEqual(rig.served, []);
});

test('rules that forbid it by the time it is decided are obeyed', async () => {
  await using rig = await createRig();
  const request = post(rig.client, 100);
  await rig.asked;
  rig.isAllowed = Promise.resolve(false);
  rig.decide('forward');
  assert.equal(await statusOf(request), 403);
  assert.deepEqual(rig.served, []);
});

test('a client that gives up while its request waits is completed, and nothing is sent on', async () => {
  await using rig = await createRig();
  const request = post(rig.client, 100);
  await rig.asked;
  request.close(http2.constants.NGHTTP2_CANCEL);
  const completion = await rig.completed;
  assert.equal(completion.status, 0);
  rig.decide('forward');
  await new Promise((resolve) => rig.client.ping(resolve));
  assert.deepEqual(rig.served, []);
});

test('a judgement of what runs that comes later cuts it then', async () => {
  await using rig = await createRig();
  const request = rig.client.request({ ':method': 'POST', ':path': '/' }, { endStream: false });
  request.on('error', () => request.destroy());
  await rig.asked;
  rig.decide('forward');
  await new Promise((resolve) => rig.client.ping(resolve));
  rig.isAllowed = Promise.resolve(false);
  rig.connection().rejudgeStreams();
  await once(request, 'close');
  assert.equal(request.rstCode, http2.constants.NGHTTP2_CANCEL);
});
