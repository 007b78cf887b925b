// A SPIFFE bundle document is taken whole or not at all: each rule of it that is broken refuses it, and says why.
import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { opensslCa } from '@weft/ca/testing/openssl-ca';
import { splitPem } from '@weft/dataplane/tls/credentials';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { formatBundleDocument, MAX_BUNDLE_BYTES, readBundleDocument } from './bundle-document.ts';

const DOMAIN = 'partner.example';
const pki = createTestPki(DOMAIN);
const root = new X509Certificate(pki.bundlePem);
const x5c = [root.raw.toString('base64')];
const tokenKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const tokenJwk = { ...tokenKeys.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'jwt-svid' };
const rootJwk = { ...root.publicKey.export({ format: 'jwk' }), use: 'x509-svid', x5c };
const GOOD = { keys: [rootJwk, tokenJwk], spiffe_sequence: 7, spiffe_refresh_hint: 60 };

const read = (document: unknown) => readBundleDocument(JSON.stringify(document), DOMAIN);

test('readBundleDocument() takes roots, token keys, sequence and hint, and formatBundleDocument() writes them back', () => {
  const reading = read(GOOD);
  assert.ok(reading.ok, JSON.stringify(reading));
  const { bundle } = reading;
  assert.deepEqual([bundle.sequence, bundle.refreshHintSeconds], [7, 60]);
  assert.deepEqual(bundle.x509Authorities, [root.raw]);
  assert.deepEqual(
    bundle.jwtAuthorities.map(({ kid }) => kid),
    ['k1'],
  );
  assert.deepEqual(readBundleDocument(formatBundleDocument(bundle), DOMAIN), reading);
});

test('readBundleDocument() passes over keys of unknown type or use, and takes an empty set as one that trusts nobody', () => {
  const unknown = [{ kty: 'PQ', use: 'x509-svid' }, { ...rootJwk, use: 'sig' }, { kty: 'EC' }];
  for (const keys of [unknown, []]) {
    const reading = read({ keys });
    assert.ok(reading.ok);
    assert.deepEqual(reading.bundle, { x509Authorities: [], jwtAuthorities: [] });
  }
});

const leaf = new X509Certificate(pki.issue({ uris: [`spiffe://${DOMAIN}/a`] }).chainPem);
const chain = splitPem(pki.issue({ uris: [`spiffe://${DOMAIN}/a`] }).chainPem);
const issuing = new X509Certificate(chain[1] ?? '');
const foreign = new X509Certificate(
  opensslCa({
    extensions: ['basicConstraints=critical,CA:TRUE', 'subjectAltName=URI:spiffe://other.example'],
  }).certificatePem,
);
const weak = new X509Certificate(opensslCa({ newKey: ['rsa:1024'] }).certificatePem);
const otherKey = createTestPki(DOMAIN);
const jwkOf = (certificate: X509Certificate) => ({
  ...certificate.publicKey.export({ format: 'jwk' }),
  use: 'x509-svid',
  x5c: [certificate.raw.toString('base64')],
});

const REFUSED: readonly (readonly [string, unknown, string])[] = [
  ['a list', [], 'no JSON object'],
  ['no keys', {}, 'no list'],
  ['keys that are no list', { keys: {} }, 'no list'],
  ['a key that is no object', { keys: [1] }, 'no JSON object'],
  ['too many keys', { keys: Array.from({ length: 65 }, () => ({})) }, 'at most 64'],
  ['a sequence that is no whole number', { ...GOOD, spiffe_sequence: 1.5 }, 'spiffe_sequence'],
  ['a sequence below zero', { ...GOOD, spiffe_sequence: -1 }, 'spiffe_sequence'],
  ['a sequence beyond what is exact', { ...GOOD, spiffe_sequence: 2 ** 53 }, 'spiffe_sequence'],
  ['a hint that is text', { ...GOOD, spiffe_refresh_hint: '60' }, 'spiffe_refresh_hint'],
  ['a root without certificate', { keys: [{ ...rootJwk, x5c: undefined }] }, 'one certificate'],
  ['a root with two', { keys: [{ ...rootJwk, x5c: [...x5c, ...x5c] }] }, 'one certificate'],
  ['base64 with a line break', { keys: [{ ...rootJwk, x5c: [`${x5c[0]}\n`] }] }, 'base64'],
  [
    'bytes after the certificate',
    { keys: [{ ...rootJwk, x5c: [Buffer.concat([root.raw, Buffer.of(0)]).toString('base64')] }] },
    'no certificate',
  ],
  ['a leaf in place of a root', { keys: [jwkOf(leaf)] }, 'no CA'],
  ['an issuing CA in place of a root', { keys: [jwkOf(issuing)] }, 'not signed by itself'],
  ['a root of another trust domain', { keys: [jwkOf(foreign)] }, 'another trust domain'],
  ['a weak root', { keys: [jwkOf(weak)] }, 'kind or size'],
  [
    'a key that is not its certificate’s',
    { keys: [{ ...jwkOf(new X509Certificate(otherKey.bundlePem)), x5c }] },
    'two different keys',
  ],
  ['a token key without kid', { keys: [{ ...tokenJwk, kid: undefined }] }, 'no kid'],
  ['two token keys of one kid', { keys: [tokenJwk, tokenJwk] }, 'kid of another'],
  [
    'a private token key',
    { keys: [{ ...tokenKeys.privateKey.export({ format: 'jwk' }), kid: 'k', use: 'jwt-svid' }] },
    'cannot verify',
  ],
];
for (const [claim, document, why] of REFUSED) {
  test(`readBundleDocument() refuses a document with ${claim}`, () => {
    const reading = read(document);
    assert.ok(!reading.ok, claim);
    assert.ok(reading.reason.includes(why), reading.reason);
  });
}

test('readBundleDocument() refuses what is no JSON, and what is longer than any bundle, before it is parsed', () => {
  assert.deepEqual(readBundleDocument('<html>', DOMAIN), { ok: false, reason: 'is no JSON' });
  const long = readBundleDocument(' '.repeat(MAX_BUNDLE_BYTES + 1), DOMAIN);
  assert.ok(!long.ok && long.reason.includes('longer'));
});

test('readBundleDocument() ends with an answer, whatever is in the document', () => {
  const part = fc.oneof(fc.anything(), fc.constant(rootJwk), fc.constant(tokenJwk));
  const key = fc.record({
    kty: fc.constantFrom('EC', 'RSA', 'OKP'),
    use: fc.constantFrom('x509-svid', 'jwt-svid'),
    x5c: fc.anything(),
    kid: fc.anything(),
    x: fc.anything(),
    crv: fc.anything(),
  });
  const document = fc.record({
    keys: fc.array(fc.oneof(part, key)),
    spiffe_sequence: fc.anything(),
  });
  fc.assert(
    fc.property(document, (value) => {
      let text: string;
      try {
        text = JSON.stringify(value) ?? 'null';
      } catch {
        return;
      }
      const reading = readBundleDocument(text, DOMAIN);
      assert.equal(typeof reading.ok, 'boolean');
    }),
  );
});
