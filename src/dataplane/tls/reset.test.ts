// How the end of a connection looks to its peer when it was forced, over plain TCP and over the mesh's TLS.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { eventually } from '../../../test/support/lab-wait.ts';
import { joinSockets } from '../tcp/tcp-proxy.ts';
import { type ConnectFailure, type ConnectHandlers, connectMesh, connectPlain } from './client.ts';
import { resetConnection, resetSoon } from './reset.ts';
import { MeshAcceptor } from './server.ts';

interface Pair extends Disposable {
  readonly client: Socket;
  readonly server: Socket;
}

const handlersOf = (resolve: (socket: Socket) => void, reject: (error: ConnectFailure) => void) =>
  ({ onConnect: resolve, onFailure: reject }) satisfies ConnectHandlers<Socket>;

async function connect(kind: 'plain' | 'mesh'): Promise<Pair> {
  const contexts = createTestPki().contexts('shop/web');
  const acceptor = new MeshAcceptor({ contexts, alpn: ['weft-tcp'], isExpected: () => true });
  const accepted = Promise.withResolvers<Socket>();
  const listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (kind === 'plain') accepted.resolve(socket);
    else {
      acceptor.accept(socket, {
        onSecure: (secure) => accepted.resolve(secure),
        onRefused: (code, detail) => accepted.reject(new Error(`${code} ${detail}`)),
      });
    }
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const target = { host: '127.0.0.1', port, timeoutMs: 5_000 };
  const mesh = { ...target, contexts, sni: 'web', alpn: ['weft-tcp'], isExpected: () => true };
  const client = await new Promise<Socket>((resolve, reject) => {
    if (kind === 'plain') connectPlain(target, handlersOf(resolve, reject));
    else connectMesh(mesh, handlersOf(resolve, reject));
  });
  const server = await accepted.promise;
  listener.close();
  await pass(client, server);
  await pass(server, client);
  return {
    client,
    server,
    [Symbol.dispose]: () => {
      client.destroy();
      server.destroy();
    },
  };
}

/** The connection is in use: a byte has gone all the way. */
async function pass(from: Socket, to: Socket): Promise<void> {
  const came = once(to, 'data');
  from.write('x');
  await came;
}

/** What an application would see: `end` is a clean end. */
function endOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.resume();
    socket.once('end', () => resolve('end'));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  });
}

for (const kind of ['plain', 'mesh'] as const) {
  for (const side of ['client', 'server'] as const) {
    test(`resetConnection() of the ${side} of a ${kind} connection is no clean end for its peer`, async () => {
      using pair = await connect(kind);
      const other = endOf(side === 'client' ? pair.server : pair.client);
      resetConnection(pair[side]);
      assert.equal(await other, 'ECONNRESET');
      assert.ok(pair[side].destroyed);
      resetConnection(pair[side]);
    });
  }
}

for (const kind of ['plain', 'mesh'] as const) {
  test(`resetConnection() leaves no descriptor behind of a ${kind} connection that is saying its end`, async () => {
    using pair = await connect(kind);
    const open = (): number =>
      process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = open();
    pair.server.pause();
    pair.client.end();
    resetConnection(pair.client);
    await eventually(() => open() < before, { what: 'one connection less' });
  });
}

test('a tunnel over TLS that is cut resets both of its peers and the process lives on', async () => {
  using downstream = await connect('mesh');
  using upstream = await connect('mesh');
  const tunnel = joinSockets(downstream.server, upstream.client, { idleTimeoutMs: 60_000 });
  const ends = Promise.all([endOf(downstream.client), endOf(upstream.server)]);
  tunnel.cut();
  assert.deepEqual(await ends, ['ECONNRESET', 'ECONNRESET']);
  assert.equal((await tunnel.done).end, 'cut');
});

test('a peer that dies in a tunnel over TLS is no clean end for the other', async () => {
  using downstream = await connect('mesh');
  using upstream = await connect('mesh');
  const tunnel = joinSockets(downstream.server, upstream.client, { idleTimeoutMs: 60_000 });
  const end = endOf(downstream.client);
  resetConnection(upstream.server);
  assert.equal(await end, 'ECONNRESET');
  assert.equal((await tunnel.done).end, 'upstream-error');
});

test('connectMesh() to a port that nobody listens on fails once, with the reason', async () => {
  const contexts = createTestPki().contexts('shop/web');
  const failure = await new Promise<ConnectFailure>((resolve, reject) => {
    connectMesh(
      {
        host: '127.0.0.1',
        port: 1,
        timeoutMs: 5_000,
        contexts,
        sni: 'web',
        alpn: ['weft-tcp'],
        isExpected: () => true,
      },
      { onConnect: () => reject(new Error('connected')), onFailure: resolve },
    );
  });
  assert.equal(failure.code, 'ECONNREFUSED');
});

test('resetSoon() in the very event of a handshake is no clean end for the peer, and the process lives on', async () => {
  const contexts = createTestPki().contexts('shop/web');
  const acceptor = new MeshAcceptor({ contexts, alpn: ['weft-tcp'], isExpected: () => true });
  const listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    acceptor.accept(socket, { onSecure: resetSoon, onRefused: assert.fail }),
  );
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const end = await new Promise<string>((resolve, reject) => {
    connectMesh(
      {
        host: '127.0.0.1',
        port,
        timeoutMs: 5_000,
        contexts,
        sni: 'web',
        alpn: ['weft-tcp'],
        isExpected: () => true,
      },
      { onConnect: (socket) => resolve(endOf(socket)), onFailure: reject },
    );
  });
  assert.equal(end, 'ECONNRESET');
  listener.close();
});
