// What passes between two joined sockets, and how each kind of end is passed on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { joinSockets, type TcpTunnel } from './tcp-proxy.ts';

interface Joined extends AsyncDisposable {
  readonly client: net.Socket;
  readonly server: net.Socket;
  readonly tunnel: TcpTunnel;
}

async function listen(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

/** A client, a server and the tunnel between them, all on real sockets. */
async function join(idleTimeoutMs = 60_000): Promise<Joined> {
  const backend = net.createServer({ allowHalfOpen: true });
  const front = net.createServer({ allowHalfOpen: true });
  const backendPort = await listen(backend);
  const tunnelMade = new Promise<TcpTunnel>((resolve) => {
    front.on('connection', (downstream) => {
      const upstream = net.connect({ port: backendPort, host: '127.0.0.1', allowHalfOpen: true });
      upstream.on('connect', () => resolve(joinSockets(downstream, upstream, { idleTimeoutMs })));
    });
  });
  const accepted = once(backend, 'connection') as Promise<[net.Socket]>;
  const client = net.connect({
    port: await listen(front),
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  const [server] = await accepted;
  const tunnel = await tunnelMade;
  return {
    client,
    server,
    tunnel,
    async [Symbol.asyncDispose]() {
      client.destroy();
      server.destroy();
      tunnel.cut();
      await tunnel.done;
      backend.close();
      front.close();
    },
  };
}

async function readAll(socket: net.Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += String(chunk)));
  await once(socket, 'end');
  return text;
}

test('half-close passes: the server answers after the client has ended', async () => {
  await using joined = await join();
  joined.client.end('question');
  assert.equal(await readAll(joined.server), 'question');
  joined.server.end('answer');
  assert.equal(await readAll(joined.client), 'answer');
  assert.deepEqual(await joined.tunnel.done, { end: 'closed', bytesReceived: 8, bytesSent: 6 });
});

test('a server that speaks first is heard', async () => {
  await using joined = await join();
  joined.server.write('220 ready\r\n');
  const [greeting] = (await once(joined.client, 'data')) as [Buffer];
  assert.equal(String(greeting), '220 ready\r\n');
});

test('a peer that is reset cuts the other side instead of ending it', async () => {
  await using joined = await join();
  const failed = once(joined.client, 'error') as Promise<[NodeJS.ErrnoException]>;
  joined.client.resume();
  joined.server.resetAndDestroy();
  assert.equal((await failed)[0].code, 'ECONNRESET');
  const outcome = await joined.tunnel.done;
  assert.equal(outcome.end, 'upstream-error');
});

test('cut() closes both sides at once', async () => {
  await using joined = await join();
  const failures = [once(joined.client, 'error'), once(joined.server, 'error')];
  joined.client.resume();
  joined.server.resume();
  joined.tunnel.cut();
  await Promise.all(failures);
  assert.equal((await joined.tunnel.done).end, 'cut');
});

test('a connection on which nothing moves is ended', async () => {
  await using joined = await join(20);
  joined.client.on('error', () => undefined).resume();
  joined.server.on('error', () => undefined).resume();
  assert.equal((await joined.tunnel.done).end, 'idle-timeout');
});

test('a slow reader stops the sender: buffers stay bounded (CVE-2020-8659)', async () => {
  await using joined = await join();
  const { client, server } = joined;
  const chunk = Buffer.alloc(65_536, 1);
  let sent = 0;
  while (sent < 256 * 1024 * 1024 && client.write(chunk)) sent += chunk.length;
  /** With nobody reading, the kernel and one high-water mark are all that can be filled. */
  assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
  let received = 0;
  server.on('data', (part: Buffer) => {
    received += part.length;
  });
  client.end();
  await once(server, 'end');
  assert.equal(received, sent + chunk.length);
});
