// Who a certificate says its holder is: read from DER, exactly one SPIFFE id, and nothing that text could be made to say.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createTestPki, type LeafSpec } from '../../test/support/mesh-pki.ts';
import { peerIdentity, readCertificate } from './x509.ts';

const pki = createTestPki();
const WEB = 'spiffe://mesh.test/ns/shop/sa/web';
const derOf = (leaf: LeafSpec): Buffer => new X509Certificate(pki.issue(leaf).chainPem).raw;

test('peerIdentity() reads the one SPIFFE id and both purposes', () => {
  const identity = peerIdentity(derOf({ uris: [WEB] }));
  assert.ok(identity.ok);
  assert.deepEqual(
    [identity.spiffeId, identity.clientAuth, identity.serverAuth],
    [WEB, true, true],
  );
});

const REFUSED: readonly (readonly [string, readonly string[]])[] = [
  ['no URI SAN', []],
  ['two SPIFFE ids (CVE-2022-40716)', [WEB, 'spiffe://mesh.test/ns/shop/sa/admin']],
  ['the same SPIFFE id twice (CVE-2022-40716)', [WEB, WEB]],
  ['a SPIFFE id and another URI (CVE-2022-40716)', [WEB, 'https://mesh.test/']],
  ['a URI of another kind (CVE-2021-44531)', ['https://mesh.test/ns/shop/sa/web']],
  [
    'a second name smuggled into the text of the first (CVE-2021-44532)',
    [`${WEB}, URI:spiffe://x`],
  ],
  ['a quote that ends the text early (CVE-2021-44533)', [`${WEB}", URI:"spiffe://mesh.test/a`]],
  ['a NUL inside (CVE-2025-66220)', [`${WEB}\0.evil.test`]],
  ['a line break inside', [`${WEB}\n`]],
  ['a byte beyond ASCII', ['spiffe://mesh.test/ns/shop/sa/w\u00e9b']],
  ['a wildcard for a name (CVE-2020-15104)', ['spiffe://mesh.test/ns/*/sa/web']],
  ['a wildcard for a trust domain (CVE-2020-15104)', ['spiffe://*.test/ns/shop/sa/web']],
  ['an escaped byte', ['spiffe://mesh.test/ns/shop/sa/we%62']],
  ['a port', ['spiffe://mesh.test:80/ns/shop/sa/web']],
  ['a user', ['spiffe://a@mesh.test/ns/shop/sa/web']],
  ['a query', [`${WEB}?x`]],
  ['a fragment', [`${WEB}#x`]],
  ['a dot segment', ['spiffe://mesh.test/ns/shop/sa/x/../web']],
  ['an empty segment', ['spiffe://mesh.test/ns//shop/sa/web']],
  ['a slash at its end', [`${WEB}/`]],
  ['a trust domain in upper case', ['spiffe://MESH.test/ns/shop/sa/web']],
];
for (const [claim, uris] of REFUSED) {
  test(`peerIdentity() refuses a certificate with ${claim}`, () => {
    const identity = peerIdentity(derOf({ uris }));
    assert.equal(identity.ok, false, JSON.stringify(identity));
  });
}

test('readCertificate() gives no text of a URI SAN with a byte that texts end or split at (CVE-2021-44532, CVE-2025-66220)', () => {
  for (const byte of ['\0', '\n', ' ', '\x7f', '\xe9']) {
    assert.equal(readCertificate(derOf({ uris: [`${WEB}${byte}x`] })).ok, false);
  }
});

test('peerIdentity() says which purposes are missing: an EKU for servers is none for clients (CVE-2022-21657)', () => {
  for (const purposes of [['server'], ['client'], []] as const) {
    const identity = peerIdentity(derOf({ uris: [WEB], purposes }));
    assert.ok(identity.ok);
    assert.equal(
      identity.serverAuth,
      purposes.some((one) => one === 'server'),
    );
    assert.equal(
      identity.clientAuth,
      purposes.some((one) => one === 'client'),
    );
  }
});

test('peerIdentity() refuses a CA: it vouches for workloads and is none', () => {
  const identity = peerIdentity(new X509Certificate(pki.bundlePem).raw);
  assert.equal(identity.ok, false);
});

test('property: no bytes make the reader throw, also not a certificate with some bytes changed (CVE-2022-23635)', () => {
  const good = derOf({ uris: [WEB] });
  const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 6 }), fc.nat(good.length), (changes, length) => {
      const der = Buffer.from(good);
      for (const [at, byte] of changes) der[at] = byte;
      const read = readCertificate(der.subarray(0, length));
      assert.equal(typeof read.ok, 'boolean');
    }),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.equal(readCertificate(bytes).ok, false);
    }),
  );
});

test('the reader ends at nesting and lengths that lie', () => {
  for (const der of [
    Buffer.from('3082ffff', 'hex'),
    Buffer.from('3084ffffffff', 'hex'),
    Buffer.from('3080', 'hex'),
    Buffer.alloc(100_000, 0x30),
    Buffer.alloc(0),
  ]) {
    assert.equal(readCertificate(der).ok, false);
  }
});
