// Listening: clear errors, half-open sockets, an end that lets open connections go on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { freePort } from '../../../test/support/free-port.ts';
import { deadline, eventually, serveTcp } from '../../../test/support/servers.ts';
import { openSocketServer } from './socket-server.ts';

const HOST = '127.0.0.1';

test('openSocketServer() says which address is taken, and what to do', async () => {
  await using taken = await serveTcp();
  await assert.rejects(
    openSocketServer({ host: HOST, port: taken.port }, () => undefined),
    {
      message: `Cannot listen on ${HOST}:${taken.port}: another process listens there; stop it or choose another port`,
    },
  );
});

test('openSocketServer() says that the host has no such address', async () => {
  await assert.rejects(
    openSocketServer({ host: '192.0.2.1', port: 0 }, () => undefined),
    /Cannot listen on 192\.0\.2\.1:0: this host has no such address/,
  );
});

test('stop() refuses new connections and leaves those that are open', async () => {
  await using server = await openSocketServer({ host: HOST, port: 0 }, (socket) => {
    socket.pipe(socket);
  });
  const { port } = server.address;
  const client = net.connect({ host: HOST, port });
  client.write('a');
  await once(client, 'data', { signal: deadline() });
  server.stop();
  const late = net.connect({ host: HOST, port });
  const [error] = await once(late, 'error', { signal: deadline() });
  assert.match(String(error), /ECONNREFUSED/);
  client.write('b');
  await once(client, 'data', { signal: deadline() });
  client.destroy();
});

test('a client that resets its connection ends that connection and nothing else', async () => {
  let closed = 0;
  await using server = await openSocketServer({ host: HOST, port: 0 }, (socket) => {
    socket.resume().on('close', () => {
      closed++;
    });
  });
  for (let count = 1; count <= 3; count++) {
    const client = net.connect({ host: HOST, port: server.address.port });
    await once(client, 'connect');
    client.resetAndDestroy();
    await eventually(() => closed === count, 'its end');
  }
});

test('disposing frees the port', async () => {
  const port = await freePort();
  for (let count = 0; count < 2; count++) {
    await using server = await openSocketServer({ host: HOST, port }, () => undefined);
    assert.equal(server.address.port, port);
  }
});
