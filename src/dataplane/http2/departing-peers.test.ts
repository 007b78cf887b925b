// HTTP/2 peers that go away while requests are on their way: no request is lost, and none is processed twice.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { Http2Connection } from './http2-proxy.ts';
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
  replaceSessions(): void;
}

/** A proxy between a client and the port of a backend; its upstream sessions can be replaced as renewal does it. */
async function createRig(backendPort: number): Promise<Rig> {
  const sockets = new Set<net.Socket>();
  const open = (): UpstreamSessions =>
    new UpstreamSessions(
      () =>
        new Promise((resolve, reject) => {
          const socket = net.connect(backendPort, '127.0.0.1', () => resolve(socket));
          sockets.add(socket);
          socket.once('error', reject);
        }),
    );
  let sessions = open();
  const front = net.createServer((socket) => {
    sockets.add(socket);
    const connection = new Http2Connection(
      socket,
      {
        onRequest: () => ({
          kind: 'forward',
          edits: { path: undefined, isRemoved: () => false, added: [] },
          upstream: {
            pick: ({ tried }) => (tried.has(sessions) ? undefined : sessions),
            report: () => undefined,
            connectRetries: 1,
          },
        }),
        isStillAllowed: () => true,
        onComplete: () => undefined,
        onClose: () => undefined,
      },
      { idleTimeoutMs: 60_000 },
    );
    socket.on('error', () => connection.cut());
  });
  const client = http2.connect(`http://127.0.0.1:${await listen(front)}`);
  return {
    client,
    replaceSessions: () => {
      sessions[Symbol.dispose]();
      sessions = open();
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      sessions[Symbol.dispose]();
      for (const socket of sockets) socket.destroy();
      front.close();
      await once(front, 'close');
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function post(client: http2.ClientHttp2Session, body: string): Promise<Answer> {
  const request = client.request({ ':method': 'POST', ':path': '/' });
  request.end(body);
  const answered = once(request, 'response') as Promise<[http2.IncomingHttpHeaders]>;
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (part: string) => {
    text += part;
  });
  const [headers] = await answered;
  await once(request, 'end');
  return { status: Number(headers[':status']), body: text };
}

/** Echoes bodies; `sessions` are its open connections. */
function createBackend() {
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createServer();
  const served: string[] = [];
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => session.destroy());
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    let body = '';
    stream.setEncoding('utf8');
    stream.on('error', () => stream.destroy());
    stream.on('data', (part: string) => {
      body += part;
    });
    stream.on('end', () => {
      served.push(body);
      stream.respond({ ':status': 200 });
      stream.end(body);
    });
  });
  return { server, sessions, served };
}

test('requests go on while the sessions to an endpoint are replaced, as at every renewal of a certificate', async () => {
  const { server, served } = createBackend();
  await using rig = await createRig(await listen(server));
  const answers: Promise<Answer>[] = [];
  for (let round = 0; round < 40; round++) {
    answers.push(post(rig.client, `a${round}`));
    if (round % 3 === 0) rig.replaceSessions();
    answers.push(post(rig.client, `b${round}`));
    if (round % 5 === 0) await Promise.all(answers);
  }
  const all = await Promise.all(answers);
  assert.equal(all.filter(({ status }) => status !== 200).length, 0);
  assert.equal(served.length, 80);
  assert.equal(new Set(served).size, 80);
  server.close();
});

test('a request that a departing peer refuses is sent again, whole, on a new connection', async () => {
  const { server, sessions, served } = createBackend();
  await using rig = await createRig(await listen(server));
  await post(rig.client, 'first');
  let lost = 0;
  for (let round = 0; round < 60; round++) {
    const under = [post(rig.client, `x${round}`), post(rig.client, `y${round}`)];
    for (const session of sessions) session.close();
    under.push(post(rig.client, `z${round}`));
    const answers = await Promise.all(under);
    lost += answers.filter(({ status }) => status !== 200).length;
    assert.deepEqual(
      answers.map(({ body }) => body),
      [`x${round}`, `y${round}`, `z${round}`],
    );
  }
  assert.equal(lost, 0);
  assert.equal(new Set(served).size, served.length, 'none was processed twice');
  server.close();
});

test('a body that was too long to keep is not sent twice: the refusal is answered 503', async () => {
  const long = 'x'.repeat(200_000);
  let streams = 0;
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    streams++;
    let received = 0;
    stream.on('error', () => stream.destroy());
    stream.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received > 100_000) stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    });
  });
  await using rig = await createRig(await listen(server));
  assert.equal((await post(rig.client, long)).status, 503);
  assert.equal(streams, 1);
  server.close();
});
