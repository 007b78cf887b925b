// Which connections are kept for the next request, and which never see one.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import tls from 'node:tls';
import { createTestPki, idOf } from '../../../test/support/mesh-pki.ts';
import { eventually, serve, serveTcp, type TestServer } from '../../../test/support/servers.ts';
import { acquire, clusterOf, createRig, endpointOf, meshClusterOf } from './cluster-rig.ts';
import { MAX_IDLE } from './endpoint.ts';

const pki = createTestPki();

/** Says who it is with the mesh's mutual TLS. */
function serveMesh(account: string): Promise<TestServer> {
  const { server } = pki.contexts(account);
  return serve(
    tls.createServer({ ...server, requestCert: true, ALPNProtocols: ['weft-http/1.1'] }),
    'secureConnection',
  );
}

const idleOf = (rig: ReturnType<typeof createRig>): number =>
  rig.cluster.endpoints.reduce((sum, endpoint) => sum + endpoint.idle.length, 0);

test('a released connection is used again, the one released last first', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const [a, b] = [await acquire(rig), await acquire(rig)];
  assert.equal(a.isReused, false);
  a.release();
  b.release();
  const [first, second] = [await acquire(rig), await acquire(rig)];
  assert.equal(first.socket, b.socket);
  assert.equal(second.socket, a.socket);
  assert.equal(first.isReused, true);
});

test('a request that must be fresh gets a new connection though one is idle', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const a = await acquire(rig);
  a.release();
  const b = await acquire(rig, { mustBeFresh: true });
  assert.notEqual(b.socket, a.socket);
  assert.equal(b.isReused, false);
});

test('load counts what is lent, whatever becomes of it', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const [endpoint] = rig.cluster.endpoints;
  assert.ok(endpoint);
  const [a, b] = [await acquire(rig), await acquire(rig)];
  assert.equal(endpoint.load, 2);
  a.release();
  a.release();
  b.discard();
  b.discard();
  assert.equal(endpoint.load, 0);
  const again = await acquire(rig);
  assert.equal(endpoint.load, 1);
  again.discard();
  again.release();
  assert.equal(endpoint.load, 0);
  assert.equal(idleOf(rig), 0);
});

test('no more than the limit are kept idle', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const connections = await Promise.all(Array.from({ length: MAX_IDLE + 3 }, () => acquire(rig)));
  for (const connection of connections) connection.release();
  assert.equal(idleOf(rig), MAX_IDLE);
  assert.equal(connections.filter(({ socket }) => socket.destroyed).length, 3);
});

test('an idle connection is dropped after its time, one that is lent is not', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const [lent, idle] = [await acquire(rig), await acquire(rig)];
  assert.equal(idle.socket.timeout, 50_000);
  idle.release();
  idle.socket.emit('timeout');
  lent.socket.emit('timeout');
  assert.equal(idle.socket.destroyed, true);
  assert.equal(lent.socket.destroyed, false);
  assert.equal(idleOf(rig), 0);
});

test('an idle connection whose peer speaks unasked is dropped: the next answer would be a stranger’s', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const a = await acquire(rig);
  a.release();
  await eventually(() => server.sockets.length === 1, 'the connection');
  server.sockets[0]?.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  await eventually(() => a.socket.destroyed, 'that it is dropped');
  assert.equal(idleOf(rig), 0);
});

for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
  test(`an idle connection whose peer goes away by ${how}() is dropped`, async () => {
    await using server = await serveTcp();
    using rig = createRig(clusterOf(), [endpointOf(server.port)]);
    const a = await acquire(rig);
    a.release();
    await eventually(() => server.sockets.length === 1, 'the connection');
    server.sockets[0]?.[how]();
    await eventually(() => idleOf(rig) === 0 && a.socket.destroyed, 'that it is dropped');
  });
}

test('a connection that was closed while lent is not kept when it is released', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const a = await acquire(rig);
  a.socket.resume();
  await eventually(() => server.sockets.length === 1, 'the connection');
  server.sockets[0]?.end();
  await once(a.socket, 'end');
  a.release();
  assert.equal(idleOf(rig), 0);
});

test('after new certificates connections made with the old ones take no new requests', async () => {
  await using server = await serveMesh('shop/prices');
  using rig = createRig(meshClusterOf([idOf('shop/prices')]), [
    endpointOf(server.port, { tlsMode: 'mesh' }),
  ]);
  rig.contexts = pki.contexts('shop/web');
  const [idle, lent] = [await acquire(rig), await acquire(rig)];
  idle.release();
  rig.contexts = pki.contexts('shop/web');
  rig.cluster.retireIdle();
  assert.equal(idle.socket.destroyed, true);
  assert.equal(lent.socket.destroyed, false, 'what is in flight goes on');
  lent.release();
  const next = await acquire(rig);
  assert.equal(next.isReused, false);
  assert.notEqual(next.socket, lent.socket);
  assert.equal(lent.socket.destroyed, true);
});

test('without certificates nobody gets a mesh connection, not even an idle one', async () => {
  await using server = await serveMesh('shop/prices');
  using rig = createRig(meshClusterOf([idOf('shop/prices')]), [
    endpointOf(server.port, { tlsMode: 'mesh' }),
  ]);
  rig.contexts = pki.contexts('shop/web');
  const a = await acquire(rig);
  a.release();
  rig.contexts = undefined;
  await assert.rejects(acquire(rig), { message: 'no-certificate' });
  assert.equal(idleOf(rig), 0);
});

const changes = [
  ['another identity is expected at the address', { identity: idOf('shop/stock') }, undefined],
  ['the endpoint left the mesh', { tlsMode: 'disabled' }, undefined],
  ['the service is another account’s now', {}, [idOf('shop/stock')]],
] as const;
for (const [what, endpoint, peerUris] of changes) {
  test(`a connection is never used again once ${what}, lent or idle at the time`, async () => {
    await using server = await serveMesh('shop/prices');
    const before = endpointOf(server.port, { tlsMode: 'mesh', identity: idOf('shop/prices') });
    using rig = createRig(meshClusterOf([idOf('shop/prices'), idOf('shop/stock')]), [before]);
    rig.contexts = pki.contexts('shop/web');
    const [idle, lent] = [await acquire(rig), await acquire(rig)];
    idle.release();
    rig.cluster.setEndpoints([{ ...before, ...endpoint }]);
    if (peerUris !== undefined) rig.cluster.update(meshClusterOf(peerUris));
    assert.equal(idle.socket.destroyed, true);
    assert.equal(lent.socket.destroyed, false, 'what is in flight goes on');
    lent.release();
    assert.equal(idleOf(rig), 0, 'it is not kept');
    assert.equal(lent.socket.destroyed, true);
  });
}

test('a connection to an endpoint that was removed is closed when it is released', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const [idle, lent] = [await acquire(rig), await acquire(rig)];
  idle.release();
  rig.cluster.setEndpoints([]);
  assert.equal(idle.socket.destroyed, true);
  assert.equal(lent.socket.destroyed, false);
  lent.release();
  assert.equal(lent.socket.destroyed, true);
});

test('a connection that comes after its request was given up is closed', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port)]);
  let answers = 0;
  const count = (): void => {
    answers++;
  };
  const handlers = { onConnection: count, onFailure: count };
  const want = { tried: new Set<string>(), mustBeFresh: false, mayRepeat: false, hash: undefined };
  const acquisition = rig.cluster.http1.acquire(want, handlers);
  acquisition[Symbol.dispose]();
  assert.equal(rig.cluster.endpoints[0]?.load, 1);
  await eventually(() => rig.cluster.endpoints[0]?.load === 0, 'that it is given up');
  await eventually(() => server.sockets[0]?.readableEnded !== false, 'that it is closed');
  assert.equal(answers, 0);
});
