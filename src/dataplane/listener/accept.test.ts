// Who is let in, by which chain, on real sockets with real certificates.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { compileListener } from '../state/chain.ts';
import {
  admission,
  chainOf,
  createRig,
  denying,
  listenerOf,
  MESH_TLS,
  MTLS,
  PERMISSIVE,
  plain,
  PORT,
  refusedWith,
  secure,
  STRICT,
  web,
  WEB,
} from '../../../test/support/accept-rig.ts';

test('without configuration nobody is let in', async () => {
  await using rig = await createRig(undefined);
  await refusedWith(rig, plain(rig, 'hello'), 'no-configuration');
});

test('without a certificate nobody is let in where mutual TLS is asked for', async () => {
  await using rig = await createRig(STRICT);
  rig.setContexts(undefined);
  await refusedWith(rig, secure(rig, web), 'no-certificate');
});

const firstBytes = [
  'GET / HTTP/1.1\r\n\r\n',
  'hello there\n',
  '\0\0\0\0\0\0',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
];
for (const bytes of firstBytes) {
  test(`STRICT refuses plaintext that begins with ${JSON.stringify(bytes)}`, async () => {
    await using rig = await createRig(STRICT);
    await refusedWith(rig, plain(rig, bytes), 'plaintext-refused');
  });
}

test('a port that no chain speaks of is closed', async () => {
  const other = { ...PORT, destinationPort: 9090 };
  await using rig = await createRig(listenerOf(chainOf('other', { ...other }, { tls: MESH_TLS })));
  await refusedWith(rig, plain(rig, 'hello'), 'plaintext-refused');
});

test('a peer of the mesh is let in by STRICT, and known by its certificate', async () => {
  await using rig = await createRig(STRICT);
  secure(rig, web, { servername: 'Prices.Shop' });
  const { peer, chain, facts, protocol } = await admission(rig);
  assert.equal(peer?.spiffeId, WEB);
  assert.equal(facts.peerUri, WEB);
  assert.equal(facts.serverName, 'prices.shop');
  assert.equal(chain.name, 'mtls');
  assert.equal(protocol, 'unknown');
  assert.equal(rig.open.size, 1);
});

for (const [alpn, protocol] of [
  ['weft-h2', 'http2'],
  ['weft-http/1.1', 'http1'],
] as const) {
  test(`a peer that agreed on ${alpn} speaks ${protocol}`, async () => {
    await using rig = await createRig(STRICT);
    secure(rig, web, { ALPNProtocols: [alpn] });
    assert.equal((await admission(rig)).protocol, protocol);
  });
}

const permissive: readonly (readonly [string, string, string, string])[] = [
  ['HTTP/1.1', 'GET / HTTP/1.1\r\n', 'plain http', 'http1'],
  ['HTTP/2 with prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'plain http', 'http2'],
  ['other bytes', 'hello there\n', 'plain', 'unknown'],
];
for (const [what, bytes, chainName, protocol] of permissive) {
  test(`PERMISSIVE takes plaintext ${what} without a peer, every byte still there`, async () => {
    await using rig = await createRig(PERMISSIVE);
    plain(rig, bytes);
    const admitted = await admission(rig);
    assert.equal(admitted.chain.name, chainName);
    assert.equal(admitted.peer, undefined);
    assert.equal(admitted.protocol, protocol);
    const [chunk] = (await once(admitted.socket.resume(), 'data')) as [Buffer];
    assert.equal(chunk.toString(), bytes);
  });
}

test('PERMISSIVE gives mutual TLS to mesh peers, and passes other TLS through as it is', async () => {
  await using rig = await createRig(PERMISSIVE);
  secure(rig, web);
  assert.equal((await admission(rig)).peer?.spiffeId, WEB);
  await using second = await createRig(PERMISSIVE);
  secure(second, undefined, { ALPNProtocols: ['h2'] });
  const passed = await admission(second);
  assert.equal(passed.chain.name, 'plain tls');
  assert.equal(passed.peer, undefined);
});

test('PERMISSIVE takes a client that says nothing for one that waits, after the time to inspect', async () => {
  const listener = compileListener({ ...PERMISSIVE.listener, inspectTimeoutMs: 20 });
  await using rig = await createRig(listener);
  plain(rig);
  assert.equal((await admission(rig)).chain.name, 'plain');
});

test('a ClientHello that stays unfinished is refused, and never taken for plaintext', async () => {
  const listener = compileListener({ ...PERMISSIVE.listener, inspectTimeoutMs: 20 });
  await using rig = await createRig(listener);
  await refusedWith(rig, plain(rig, '\x16\x03\x01\x02\x00\x01'), 'malformed-first-bytes');
});

test('a TCP rule refuses by the peer’s identity, and says which rule it was', async () => {
  const rules = denying(WEB);
  await using rig = await createRig(listenerOf(chainOf('mtls', MTLS, { tls: MESH_TLS, rules })));
  await refusedWith(rig, secure(rig, web), 'rbac-denied');
  assert.equal(rig.refused[0]?.facts.peerUri, WEB);
  assert.equal(rig.refused[0]?.verdict?.isAllowed, false);
});
