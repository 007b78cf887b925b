import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import {
  createTestPki,
  type Credential,
  idOf,
  type LeafSpec,
  selfSigned,
} from '../../../test/support/mesh-pki.ts';
import { splitPem } from '../tls/credentials.ts';
import { checkSvid, type ExpectedIdentity, readBundle } from './check-svid.ts';
import { createKeyAndRequest, type KeyAndRequest } from './csr.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const pki = createTestPki();
const WEB = 'spiffe://mesh.test/ns/shop/sa/web';

const dersOf = (pem: string): Buffer[] =>
  splitPem(pem).map((part) => new X509Certificate(part).raw);
const rootsOf = (pem: string): X509Certificate[] =>
  splitPem(pem).map((part) => new X509Certificate(part));

/** As if we had made the key that the certificate is for. */
const holderOf = ({ keyPem }: Credential): KeyAndRequest => ({
  keyPem,
  publicKeyDer: createPublicKey(keyPem).export({ type: 'spki', format: 'der' }),
  csrDer: Buffer.alloc(0),
});

function check(
  credential: Credential,
  more: {
    readonly own?: KeyAndRequest;
    readonly expected?: Partial<ExpectedIdentity>;
    readonly nowMs?: number;
    readonly ders?: readonly Uint8Array[];
    readonly bundlePem?: string;
  } = {},
) {
  const { own = holderOf(credential), nowMs = Date.now(), bundlePem = pki.bundlePem } = more;
  const message = { certificate_chain_der: more.ders ?? dersOf(credential.chainPem) };
  return checkSvid(message, own, {
    bundlePem,
    roots: rootsOf(bundlePem),
    expected: { trustDomain, namespace: 'shop', spiffeId: undefined, ...more.expected },
    nowMs,
  });
}

test('checkSvid() accepts what was asked for, with our key beside it', () => {
  const credential = pki.issue({ uris: [WEB] });
  const checked = check(credential);
  assert.ok(checked.ok, JSON.stringify(checked));
  assert.equal(checked.svid.spiffeId, WEB);
  assert.equal(checked.svid.keyPem, credential.keyPem);
  assert.ok(checked.svid.notBeforeMs < Date.now() && checked.svid.notAfterMs > Date.now());
});

test('checkSvid() refuses a certificate of another key', async () => {
  const checked = check(pki.issue({ uris: [WEB] }), { own: await createKeyAndRequest() });
  assert.deepEqual(checked, { ok: false, reason: 'the certificate is of another key' });
});

const LEAVES: readonly (readonly [string, LeafSpec, RegExp])[] = [
  ['another namespace', { uris: ['spiffe://mesh.test/ns/bank/sa/web'] }, /not for namespace shop/],
  ['another trust domain', { uris: ['spiffe://evil.test/ns/shop/sa/web'] }, /not for namespace/],
  ['two URI SANs (CVE-2022-40716)', { uris: [WEB, 'spiffe://mesh.test/ns/shop/sa/a'] }, /URI/],
  ['no URI SAN', { uris: [] }, /URI/],
  ['a NUL in its URI SAN (CVE-2021-44532)', { uris: [`${WEB}\0.evil`] }, /./],
  ['no EKU for clients (CVE-2022-21657)', { uris: [WEB], purposes: ['server'] }, /EKU/],
  ['no EKU for servers (CVE-2022-21657)', { uris: [WEB], purposes: ['client'] }, /EKU/],
  ['a life that is over', { uris: [WEB], notAfterMs: Date.now() - 1_000 }, /no root|expired/],
];
for (const [claim, leaf, reason] of LEAVES) {
  test(`checkSvid() refuses a certificate with ${claim}`, () => {
    const checked = check(pki.issue(leaf));
    assert.ok(!checked.ok);
    assert.match(checked.reason, reason);
  });
}

test('checkSvid() refuses another identity than before, though of our namespace', () => {
  const checked = check(pki.issue({ uris: [WEB] }), { expected: { spiffeId: idOf('shop/cart') } });
  assert.deepEqual(checked, { ok: false, reason: `the certificate is for ${WEB}` });
});

test('checkSvid() refuses a certificate that leads to no root of the bundle, also with the bundle beside it', () => {
  const other = createTestPki();
  const credential = other.issue({ uris: [WEB] });
  for (const ders of [dersOf(credential.chainPem), dersOf(credential.chainPem + pki.bundlePem)]) {
    const checked = check(credential, { ders });
    assert.deepEqual(checked, {
      ok: false,
      reason: 'the certificate leads to no root of the bundle',
    });
  }
  const alone = check(selfSigned({ uris: [WEB] }));
  assert.ok(!alone.ok);
  const inner = pki.issue({ uris: [WEB] });
  assert.ok(!check(inner, { ders: dersOf(inner.chainPem).slice(0, 1) }).ok, 'issuer left out');
});

test('checkSvid() refuses what is no chain: nothing, garbage, too many', () => {
  const credential = pki.issue({ uris: [WEB] });
  const [leaf] = dersOf(credential.chainPem);
  for (const ders of [[], [Buffer.from('garbage')], Array.from({ length: 6 }, () => leaf!)]) {
    assert.equal(check(credential, { ders }).ok, false);
  }
  const context = {
    bundlePem: pki.bundlePem,
    roots: rootsOf(pki.bundlePem),
    expected: { trustDomain, namespace: 'shop', spiffeId: undefined },
    nowMs: Date.now(),
  };
  assert.equal(checkSvid(undefined, holderOf(credential), context).ok, false);
});

test('readBundle() takes roots, and nothing that would trust nobody or anybody (CVE-2020-8664)', () => {
  const [root] = dersOf(pki.bundlePem);
  const [leaf] = dersOf(pki.issue({ uris: [WEB] }).chainPem);
  const bundle = readBundle({ root_der: [root], version: 'v1' });
  assert.equal(bundle?.version, 'v1');
  assert.equal(bundle?.roots.length, 1);
  for (const root_der of [[], [Buffer.from('x')], [leaf], [root, leaf], Array(33).fill(root)]) {
    assert.equal(readBundle({ root_der, version: 'v2' }), undefined);
  }
  assert.equal(readBundle(undefined), undefined);
});
