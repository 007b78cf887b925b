import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { serviceDefinition } from '@weft/xds/registry';
import { openGrpcPort } from './grpc-port.ts';

const CONNECTIONS = 60;
const HOST = '127.0.0.1';
const onRefused = (): void => assert.fail('none is refused');

/** In place of a gRPC server: keeps what it is handed. */
function createReceiver(onGiven: (socket: net.Socket) => void) {
  return {
    createConnectionInjector: () => ({
      injectConnection: (socket: unknown) => {
        assert.ok(socket instanceof net.Socket);
        onGiven(socket);
      },
      drain: () => undefined,
      destroy: () => undefined,
    }),
  };
}

async function connectAll(port: number, count: number): Promise<net.Socket[]> {
  const sockets = Array.from({ length: count }, () => net.connect(port, HOST));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  return sockets;
}

test('openGrpcPort() begins no more than 8 of many connections in one turn, and all in the end', async () => {
  const perTurn: number[] = [0];
  const given: net.Socket[] = [];
  const { promise: all, resolve } = Promise.withResolvers<void>();
  const server = createReceiver((socket) => {
    given.push(socket);
    perTurn.push((perTurn.pop() ?? 0) + 1);
    if (given.length === CONNECTIONS) resolve();
  });
  let isWatching = true;
  const watch = (): void => {
    perTurn.push(0);
    if (isWatching) setImmediate(watch);
  };
  watch();
  using opened = await openGrpcPort({
    server,
    credentials: ServerCredentials.createInsecure(),
    listen: { host: HOST, port: 0 },
    onRefused,
  });
  const clients = await connectAll(opened.port, CONNECTIONS);
  await all;
  isWatching = false;
  assert.equal(given.length, CONNECTIONS);
  assert.ok(Math.max(...perTurn) <= 8, `${Math.max(...perTurn)} in one turn`);
  for (const socket of [...clients, ...given]) socket.destroy();
});

test('openGrpcPort() hands on what waited with its bytes, also when others were closed meanwhile', async () => {
  const { promise: last, resolve } = Promise.withResolvers<string>();
  const open = new Set<net.Socket>();
  const server = createReceiver((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => resolve(String(bytes)));
    socket.resume();
  });
  using opened = await openGrpcPort({
    server,
    credentials: ServerCredentials.createInsecure(),
    listen: { host: HOST, port: 0 },
    onRefused,
  });
  const gone = await connectAll(opened.port, CONNECTIONS);
  for (const socket of gone) socket.resetAndDestroy();
  const [client] = await connectAll(opened.port, 1);
  client?.write('hello');
  assert.equal(await last, 'hello');
  client?.destroy();
  for (const socket of open) socket.destroy();
});

test('openGrpcPort() says why it cannot listen', async () => {
  const server = createReceiver(() => undefined);
  const credentials = ServerCredentials.createInsecure();
  using first = await openGrpcPort({
    server,
    credentials,
    listen: { host: HOST, port: 0 },
    onRefused,
  });
  const listen = { host: HOST, port: first.port };
  await assert.rejects(openGrpcPort({ server, credentials, listen, onRefused }), {
    message: `Cannot listen on ${HOST}:${first.port}: another process listens there; stop it, or choose another port, or 0 for any`,
  });
});

test('openGrpcPort() lets go of those that wait when it is disposed', async () => {
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  const given: net.Socket[] = [];
  const server = createReceiver((socket) => {
    given.push(socket);
    resolve();
  });
  const opened = await openGrpcPort({
    server,
    credentials: ServerCredentials.createInsecure(),
    listen: { host: HOST, port: 0 },
    onRefused,
  });
  const clients = Array.from({ length: CONNECTIONS }, () => net.connect(opened.port, HOST));
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  for (const client of clients) {
    client.on('error', () => undefined).on('close', () => onClosed());
    client.resume();
  }
  await begun;
  opened[Symbol.dispose]();
  await closed;
  assert.ok(given.length < CONNECTIONS);
  for (const socket of [...clients, ...given]) socket.destroy();
});

test('openGrpcPort() serves plaintext: nothing is read of who waits, and all of it when his turn has come', async () => {
  const method = serviceDefinition('weft.enrolment.v1.Enrolment')['GetTokenKeys'];
  assert.ok(method !== undefined);
  const server = new Server();
  server.addService(
    { GetTokenKeys: method },
    {
      GetTokenKeys: (_call: unknown, answer: (error: null, value: object) => void) =>
        answer(null, { jwks: '{}' }),
    },
  );
  using opened = await openGrpcPort({
    server,
    credentials: ServerCredentials.createInsecure(),
    listen: { host: HOST, port: 0 },
    onRefused,
  });
  const client = new Client(`${HOST}:${opened.port}`, credentials.createInsecure());
  try {
    const answer = await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        {},
        { deadline: Date.now() + 3_000 },
        (error, value) => (error === null ? resolve(value) : reject(error)),
      );
    });
    assert.deepEqual(answer, { jwks: '{}' });
  } finally {
    client.close();
    server.forceShutdown();
  }
});
