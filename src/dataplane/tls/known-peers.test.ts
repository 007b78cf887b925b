// What is remembered of peers: one reading for each certificate, no more than so many, and nothing that is not in the bytes.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { createTestPki, idOf, selfSigned } from '../../../test/support/mesh-pki.ts';
import { splitPem, trustEndMs } from './credentials.ts';
import { KnownPeers } from './known-peers.ts';

const pki = createTestPki();
const WEB = idOf('shop/web');

/** Read anew each time, as each connection gives one. */
const leafOf = (chainPem: string): X509Certificate =>
  new X509Certificate(splitPem(chainPem)[0] ?? '');

test('KnownPeers gives all connections with one certificate the same peer, and others their own', () => {
  const known = new KnownPeers();
  const { chainPem } = pki.issue({ uris: [WEB] });
  const first = known.read(leafOf(chainPem));
  assert.ok(first.ok);
  assert.equal(first.peer.spiffeId, WEB);
  assert.equal(known.read(leafOf(chainPem)), first);
  // The same name and issuer, another key and serial number.
  const renewed = known.read(leafOf(pki.issue({ uris: [WEB] }).chainPem));
  assert.ok(renewed.ok);
  assert.notEqual(renewed.peer, first.peer);
  const other = known.read(leafOf(pki.issue({ uris: [idOf('shop/cart')] }).chainPem));
  assert.equal(other.ok && other.peer.spiffeId, idOf('shop/cart'));
  assert.equal(known.size, 3);
});

test('KnownPeers keeps purposes apart from the decision on them, and bad names bad', () => {
  const known = new KnownPeers();
  const { chainPem } = pki.issue({ uris: [WEB], purposes: ['server'] });
  for (let round = 0; round < 2; round++) {
    const reading = known.read(leafOf(chainPem));
    assert.ok(reading.ok);
    assert.deepEqual([reading.clientAuth, reading.serverAuth], [false, true]);
  }
  const two = pki.issue({ uris: [WEB, idOf('shop/cart')] }).chainPem;
  for (let round = 0; round < 2; round++) assert.equal(known.read(leafOf(two)).ok, false);
});

test('KnownPeers holds no more than so many, and reads whom it forgot anew', () => {
  const known = new KnownPeers({ limit: 2 });
  const [a, b, c] = ['a', 'b', 'c'].map((name) =>
    leafOf(selfSigned({ uris: [idOf(`shop/${name}`)] }).chainPem),
  );
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const first = known.read(a);
  const second = known.read(b);
  known.read(c);
  assert.equal(known.size, 2);
  assert.equal(known.read(b), second);
  assert.notEqual(known.read(a), first);
  assert.deepEqual(known.read(a), known.read(a));
  assert.equal(known.size, 2);
});

test('trustEndMs() follows a chain anew for other roots, and back', () => {
  const chain = splitPem(pki.issue({ uris: [WEB] }).chainPem).map(
    (pem) => new X509Certificate(pem),
  );
  const roots = splitPem(pki.bundlePem).map((pem) => new X509Certificate(pem));
  const others = splitPem(createTestPki().bundlePem).map((pem) => new X509Certificate(pem));
  const endMs = trustEndMs(chain, roots);
  assert.ok(endMs > Date.now());
  assert.equal(trustEndMs(chain, others), Number.NEGATIVE_INFINITY);
  assert.equal(trustEndMs(chain, roots), endMs);
});

test('contexts of another generation remember nobody', () => {
  const before = pki.contexts('shop/prices');
  const leaf = leafOf(pki.issue({ uris: [WEB] }).chainPem);
  before.known.read(leaf);
  assert.equal(before.known.size, 1);
  assert.equal(pki.contexts('shop/prices').known.size, 0);
});
