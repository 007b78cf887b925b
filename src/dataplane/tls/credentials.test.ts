// Which chains are still trusted under other roots, and which texts are no credentials at all.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { createTestPki, idOf, selfSigned } from '../../../test/support/mesh-pki.ts';
import { createMeshContexts, isStillTrusted, splitPem } from './credentials.ts';

const WEB = idOf('shop/web');
const pki = createTestPki();
const other = createTestPki();
const read = (pem: string): readonly X509Certificate[] =>
  splitPem(pem).map((text) => new X509Certificate(text));
const roots = read(pki.bundlePem);
const good = read(pki.issue({ uris: [WEB] }).chainPem);
const [leaf, issuing] = good;
const NOW = Date.now();

test('isStillTrusted() follows the chain that was presented to a root', () => {
  assert.equal(isStillTrusted(good, roots, NOW), true);
  assert.equal(isStillTrusted(good, [...read(other.bundlePem), ...roots], NOW), true);
  assert.equal(isStillTrusted([...good, ...roots], roots, NOW), true, 'with its root');
});

test('isStillTrusted() refuses another root, a missing issuer, nothing, and what has expired', () => {
  assert.ok(leaf !== undefined && issuing !== undefined);
  assert.equal(isStillTrusted(good, read(other.bundlePem), NOW), false);
  assert.equal(isStillTrusted(good, [], NOW), false);
  assert.equal(isStillTrusted([leaf], roots, NOW), false);
  assert.equal(isStillTrusted([], roots, NOW), false);
  assert.equal(isStillTrusted(good, roots, leaf.validToDate.getTime() + 1), false);
  assert.equal(isStillTrusted(good, roots, leaf.validToDate.getTime() - 1), true);
});

test('isStillTrusted() refuses a leaf of another CA that brings our issuer along', () => {
  assert.ok(issuing !== undefined);
  const [stranger] = read(other.issue({ uris: [WEB] }).chainPem);
  assert.ok(stranger !== undefined);
  assert.equal(isStillTrusted([stranger, issuing], roots, NOW), false);
});

test('isStillTrusted() refuses a leaf that was signed by another leaf (CVE-2002-0862)', () => {
  const [alone] = read(selfSigned({ uris: [WEB] }).chainPem);
  assert.ok(alone !== undefined && leaf !== undefined && issuing !== undefined);
  assert.equal(isStillTrusted([alone, leaf, issuing], roots, NOW), false);
});

test('createMeshContexts() refuses an empty bundle, broken PEM and a key of another certificate', () => {
  const spiffeId = WEB;
  const credential = pki.issue({ uris: [WEB] });
  const material = { spiffeId, ...credential, bundlePem: pki.bundlePem };
  assert.equal(createMeshContexts(material).rootsOf(material.spiffeId).length, 1);
  assert.throws(() => createMeshContexts({ ...material, bundlePem: '' }), /bundle is empty/);
  assert.throws(() => createMeshContexts({ ...material, bundlePem: 'hello' }));
  assert.throws(() => createMeshContexts({ ...material, chainPem: 'hello' }));
  const { keyPem } = pki.issue({ uris: [WEB] });
  assert.throws(() => createMeshContexts({ ...material, keyPem }));
});

test('contexts speak TLS 1.3 alone', () => {
  const { server } = pki.contexts('shop/web');
  assert.equal(server.minVersion, 'TLSv1.3');
  assert.equal(server.maxVersion, 'TLSv1.3');
});
