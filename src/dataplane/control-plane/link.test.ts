import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { createTestPki, idOf, type LeafSpec } from '../../../test/support/mesh-pki.ts';
import {
  openScriptedControlPlane,
  openTestAuthority,
} from '../../../test/support/scripted-control-plane.ts';
import { enrol } from '../enrol/enrolment-client.ts';
import { splitPem } from '../tls/credentials.ts';
import { checkControlPlane } from './link.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const expected = { trustDomain, namespace: 'shop', spiffeId: undefined };
const CONTROL_PLANE = 'spiffe://mesh.test/ns/weft-system/sa/weft-control-plane';

const SERVERS: readonly (readonly [string, LeafSpec, RegExp])[] = [
  ['a workload of the mesh', { uris: ['spiffe://mesh.test/ns/shop/sa/web'] }, /the server is/],
  ['two URI SANs (CVE-2022-40716)', { uris: [CONTROL_PLANE, `${CONTROL_PLANE}2`] }, /URI/],
  [
    'no EKU for servers (CVE-2022-21657)',
    { uris: [CONTROL_PLANE], purposes: ['client'] },
    /server/,
  ],
  ['no name at all', { uris: [] }, /URI/],
];
const pki = createTestPki();
const rawOf = (leaf: LeafSpec): Buffer => {
  const [pem = ''] = splitPem(pki.issue(leaf).chainPem);
  return Buffer.from(pem.split('\n').slice(1, -2).join(''), 'base64');
};

for (const [claim, leaf, reason] of SERVERS) {
  test(`checkControlPlane() refuses a server with ${claim}`, () => {
    const check = checkControlPlane(idOf('weft-system/weft-control-plane'));
    assert.match(check('weft-control-plane', { raw: rawOf(leaf) })?.message ?? '', reason);
  });
}

test('checkControlPlane() accepts the control plane, by its SPIFFE id alone', () => {
  const check = checkControlPlane(idOf('weft-system/weft-control-plane'));
  assert.equal(check('any name', { raw: rawOf({ uris: [CONTROL_PLANE] }) }), undefined);
});

test('a workload of the same mesh that plays control plane gets no token: the verifier runs before a byte is sent (CVE-2026-109383)', async () => {
  await using server = await openScriptedControlPlane({
    authority: { controlPlane: { namespace: 'shop', serviceAccount: 'web' } },
  });
  const outcome = await enrol({
    address: server.address,
    bundlePem: server.authority.bundle().pem,
    controlPlane: idOf('weft-system/weft-control-plane'),
    evidence: { kind: 'join-token', token: 'secret' },
    expected,
    clock: systemClock,
  });
  assert.ok(!outcome.ok);
  assert.equal(outcome.isFinal, false);
  assert.deepEqual(server.tokens, []);
});

test('a control plane of another root gets no token', async () => {
  await using serverAuthority = await openTestAuthority();
  await using server = await openScriptedControlPlane({ serverAuthority });
  const outcome = await enrol({
    address: server.address,
    bundlePem: server.authority.bundle().pem,
    controlPlane: server.controlPlane,
    evidence: { kind: 'join-token', token: 'secret' },
    expected,
    clock: systemClock,
  });
  assert.ok(!outcome.ok);
  assert.deepEqual(server.tokens, []);
});
