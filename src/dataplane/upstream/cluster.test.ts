// What a cluster keeps over updates, whom it takes for an endpoint, and what it tries when one does not answer.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import tls from 'node:tls';
import { createTestPki, idOf, selfSigned } from '../../../test/support/mesh-pki.ts';
import { freePort } from '../../../test/support/free-port.ts';
import { eventually, serve, serveTcp } from '../../../test/support/servers.ts';
import {
  acquire,
  clusterOf,
  createRig,
  endpointOf,
  meshClusterOf,
  openTcp,
  pickOf,
} from './cluster-rig.ts';

const pki = createTestPki();
const other = createTestPki();
const PRICES = idOf('shop/prices');
const PASSED = Date.now() - 1_000;

const EJECTING = clusterOf({
  outlierDetection: {
    consecutiveFailures: 2,
    intervalMs: 1_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 50,
  },
});

test('update() and setEndpoints() keep the state of endpoints that stay', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf(), [endpointOf(server.port), endpointOf(1)]);
  const [kept, gone] = rig.cluster.endpoints;
  assert.ok(kept && gone);
  kept.failures = 2;
  const lent = await acquire(rig, { tried: [gone.key] });
  lent.release();
  rig.cluster.update(clusterOf({ connectTimeoutMs: 77 }));
  rig.cluster.setEndpoints([endpointOf(2), endpointOf(server.port, { weight: 9, workload: 'w' })]);
  const [added, same] = rig.cluster.endpoints;
  assert.equal(same, kept);
  assert.equal(same?.definition.weight, 9);
  assert.equal(same?.failures, 2);
  assert.equal(same?.idle.length, 1);
  assert.equal(added?.failures, 0);
  assert.equal(gone.isRemoved, true);
});

test('a static cluster goes where the application listens', async () => {
  await using server = await serveTcp();
  const definition = clusterOf({
    name: 'inbound|8080||',
    discovery: { kind: 'static', endpoints: [{ address: '127.0.0.1', port: 8080 }] },
  });
  using rig = createRig(definition, [], () => ({ address: '127.0.0.1', port: server.port }));
  const lent = await acquire(rig);
  assert.equal(lent.socket.remotePort, server.port);
});

test('a cluster of original destinations goes where the client was going', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf({ discovery: { kind: 'originalDst' } }), []);
  const upstream = await openTcp(rig, { address: '127.0.0.1', port: server.port });
  assert.equal(upstream.address, `127.0.0.1:${server.port}`);
  upstream.socket.destroy();
  const refused = { address: '127.0.0.1', port: await freePort() };
  await assert.rejects(openTcp(rig, refused), { message: 'ECONNREFUSED' });
});

test('a request that found nobody is told which endpoint, so that it can try another', async () => {
  await using server = await serveTcp();
  const dead = endpointOf(await freePort());
  using rig = createRig(clusterOf(), [dead, endpointOf(server.port)]);
  rig.cluster.endpoints[1]!.active = 5;
  const address = `127.0.0.1:${dead.port}`;
  await assert.rejects(acquire(rig), { message: 'ECONNREFUSED', address });
  const lent = await acquire(rig, { tried: [address] });
  assert.equal(lent.socket.remotePort, server.port);
  await assert.rejects(acquire(rig, { tried: [address, lent.address] }), {
    message: 'no-healthy-upstream',
  });
});

test('a TCP connection tries other endpoints, three at the most', async () => {
  await using server = await serveTcp();
  const dead = endpointOf(await freePort());
  using rig = createRig(clusterOf(), [dead, endpointOf(server.port)]);
  rig.cluster.endpoints[1]!.active = 5;
  const upstream = await openTcp(rig);
  assert.equal(upstream.socket.remotePort, server.port);
  assert.equal(rig.cluster.endpoints[1]?.load, 6);
  upstream.done();
  assert.equal(rig.cluster.endpoints[1]?.load, 5);
  upstream.socket.destroy();
  using empty = createRig(clusterOf(), []);
  await assert.rejects(openTcp(empty), { message: 'no-healthy-upstream' });
  const four = await Promise.all(Array.from({ length: 4 }, () => freePort()));
  using none = createRig(
    clusterOf(),
    four.map((port) => endpointOf(port)),
  );
  await assert.rejects(openTcp(none), { message: 'ECONNREFUSED' });
  assert.equal(none.cluster.endpoints.filter(({ failures }) => failures === 1).length, 3);
});

test('an endpoint that keeps refusing is ejected, and asked again after its time', async () => {
  await using server = await serveTcp();
  const dead = endpointOf(await freePort());
  using rig = createRig(EJECTING, [dead, endpointOf(server.port)]);
  rig.cluster.endpoints[1]!.active = 50;
  for (let count = 0; count < 2; count++) await assert.rejects(acquire(rig));
  assert.deepEqual(rig.ejected, [`127.0.0.1:${dead.port}`]);
  const lent = await acquire(rig);
  assert.equal(lent.socket.remotePort, server.port);
  rig.nowMs = 30_000;
  await assert.rejects(acquire(rig), { message: 'ECONNREFUSED' });
});

test('failures that the exchange reports count for ejection, and successes against', async () => {
  await using server = await serveTcp();
  using rig = createRig(EJECTING, [endpointOf(server.port), endpointOf(1)]);
  rig.cluster.endpoints[1]!.active = 50;
  const lent = await acquire(rig);
  lent.report(0);
  lent.report(200);
  lent.report(0);
  assert.deepEqual(rig.ejected, []);
  lent.release();
  assert.equal(rig.cluster.endpoints[0]?.idle.length, 1);
  const again = await acquire(rig);
  again.report(0);
  assert.deepEqual(rig.ejected, [`127.0.0.1:${server.port}`]);
});

test('HTTP/2 sessions of an endpoint are shared, and new ones are made for new certificates', () => {
  using rig = createRig(meshClusterOf([PRICES]), [endpointOf(1, { tlsMode: 'mesh' })]);
  rig.contexts = pki.contexts('shop/web');
  const first = rig.cluster.http2.pick(pickOf());
  assert.ok(first);
  assert.equal(rig.cluster.http2.pick(pickOf()), first);
  rig.contexts = pki.contexts('shop/web');
  const second = rig.cluster.http2.pick(pickOf());
  assert.notEqual(second, first);
  assert.equal(rig.cluster.http2.pick(pickOf(first)), undefined, 'the endpoint was tried');
});

const good = pki.issue({ uris: [PRICES] });
const servers = [
  ['the identity that must answer', good, undefined],
  [
    'another workload of the mesh',
    pki.issue({ uris: [idOf('shop/stock')] }),
    'peer-identity-unexpected',
  ],
  [
    'two identities (CVE-2021-44532)',
    pki.issue({ uris: [PRICES, idOf('shop/stock')] }),
    'peer-identity-invalid',
  ],
  ['no identity', pki.issue({ uris: [] }), 'peer-identity-invalid'],
  [
    'no right to be a server',
    pki.issue({ uris: [PRICES], purposes: ['client'] }),
    'INVALID_PURPOSE',
  ],
  ['no purposes at all', pki.issue({ uris: [PRICES], purposes: [] }), 'peer-eku-missing'],
  [
    'a certificate that has expired',
    pki.issue({ uris: [PRICES], notAfterMs: PASSED }),
    'CERT_HAS_EXPIRED',
  ],
  ['a certificate by itself', selfSigned({ uris: [PRICES] }), 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['another CA', other.issue({ uris: [PRICES] }), 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
] as const;
for (const [what, credential, reasonCode] of servers) {
  test(`a server with ${what} is ${reasonCode === undefined ? 'taken' : 'refused'}`, async () => {
    const secure = tls.createServer({
      key: credential.keyPem,
      cert: credential.chainPem,
      ca: pki.bundlePem,
      requestCert: true,
      ALPNProtocols: ['weft-http/1.1'],
    });
    await using server = await serve(secure, 'secureConnection');
    let received = 0;
    server.server.on('secureConnection', (socket) => {
      socket.on('data', () => {
        received++;
      });
    });
    using rig = createRig(meshClusterOf([PRICES]), [endpointOf(server.port, { tlsMode: 'mesh' })]);
    rig.contexts = pki.contexts('shop/web');
    if (reasonCode === undefined) {
      const lent = await acquire(rig);
      assert.equal(lent.socket.destroyed, false);
      return;
    }
    await assert.rejects(acquire(rig), { message: reasonCode });
    assert.equal(received, 0, 'nothing was sent to it');
  });
}

test('an endpoint’s own identity narrows those of the service to one', async () => {
  const { server: options } = pki.contexts('shop/prices');
  await using server = await serve(
    tls.createServer({ ...options, requestCert: true }),
    'secureConnection',
  );
  const stock = idOf('shop/stock');
  using rig = createRig(meshClusterOf([PRICES, stock]), [
    endpointOf(server.port, { tlsMode: 'mesh', identity: stock }),
  ]);
  rig.contexts = pki.contexts('shop/web');
  await assert.rejects(acquire(rig), { message: 'peer-identity-unexpected' });
});

test('a server that never ends the handshake is given up at the connect timeout', async () => {
  await using server = await serveTcp();
  using rig = createRig(meshClusterOf([PRICES], { connectTimeoutMs: 30 }), [
    endpointOf(server.port, { tlsMode: 'mesh' }),
  ]);
  rig.contexts = pki.contexts('shop/web');
  await assert.rejects(acquire(rig), { message: 'connect-timeout' });
});

for (const [now, isTrusted] of [
  ['a bundle without the server’s root', false],
  ['another certificate of the same mesh', true],
] as const) {
  test(`a handshake that ends when there is ${now} is made again, by what holds then`, async () => {
    const { server: options } = pki.contexts('shop/prices');
    const secure = tls.createServer({ ...options, requestCert: true });
    const held = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    await using server = await serveTcp((socket) => {
      socket.pause();
      held.resolve();
      void goOn.promise.then(() => secure.emit('connection', socket));
    });
    using rig = createRig(meshClusterOf([PRICES]), [endpointOf(server.port, { tlsMode: 'mesh' })]);
    rig.contexts = pki.contexts('shop/web');
    const acquired = acquire(rig);
    const outcome = acquired.then(
      ({ socket }) => socket.destroyed,
      (refusal: Error) => refusal.message,
    );
    await held.promise;
    rig.contexts = (isTrusted ? pki : other).contexts('shop/web');
    goOn.resolve();
    assert.equal(await outcome, isTrusted ? false : 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY');
    assert.equal(server.sockets.length, 2);
  });
}

test('who waits for an endpoint that is withdrawn is told at once, and asks the next one', async () => {
  // It takes connections and never shakes hands, as a Pod whose network is gone answers nothing.
  await using silent = await serveTcp();
  await using server = await serveTcp();
  using rig = createRig(meshClusterOf([PRICES], { connectTimeoutMs: 60_000 }), [
    endpointOf(silent.port, { tlsMode: 'mesh' }),
  ]);
  rig.contexts = pki.contexts('shop/web');
  const sessions = rig.cluster.http2.pick(pickOf());
  assert.ok(sessions);
  const http1 = assert.rejects(acquire(rig), { message: 'upstream-withdrawn' });
  const http2 = new Promise<void>((resolve, reject) => {
    sessions.take({ onConnection: reject, onNoConnection: resolve });
  });
  const tcp = openTcp(rig);
  rig.cluster.setEndpoints([endpointOf(server.port)]);
  await http1;
  await http2;
  const opened = await tcp;
  assert.equal(opened.socket.remotePort, server.port);
  opened.done();
  opened.socket.destroy();
  assert.deepEqual(rig.ejected, [], 'it has gone; it has not failed');
});

test('a session is never resumed: each connection shows its certificate (CVE-2026-48934)', async () => {
  const { server: options } = pki.contexts('shop/prices');
  await using server = await serve(
    tls.createServer({ ...options, requestCert: true }),
    'secureConnection',
  );
  using rig = createRig(meshClusterOf([PRICES]), [endpointOf(server.port, { tlsMode: 'mesh' })]);
  rig.contexts = pki.contexts('shop/web');
  for (let count = 0; count < 3; count++) {
    const lent = await acquire(rig, { mustBeFresh: true });
    assert.equal(lent.socket instanceof tls.TLSSocket && lent.socket.isSessionReused(), false);
    lent.discard();
  }
});

test('disposing a cluster closes what is idle and leaves nothing to choose', async () => {
  await using server = await serveTcp();
  const rig = createRig(clusterOf(), [endpointOf(server.port)]);
  const [idle, lent] = [await acquire(rig), await acquire(rig)];
  idle.release();
  rig[Symbol.dispose]();
  assert.equal(idle.socket.destroyed, true);
  lent.release();
  await once(lent.socket, 'close');
  await assert.rejects(acquire(rig), { message: 'no-healthy-upstream' });
  await eventually(() => server.sockets.length === 2, 'both connections');
});
