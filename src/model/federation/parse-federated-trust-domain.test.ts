// What a FederatedTrustDomain must say: a trust domain, an https address, and how whoever answers there proves who it is.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { formatBundleDocument } from './bundle-document.ts';
import { parseFederatedTrustDomain } from './parse-federated-trust-domain.ts';

const DOMAIN = 'partner.example';
const pki = createTestPki(DOMAIN);
const bundle = formatBundleDocument({
  x509Authorities: [new X509Certificate(pki.bundlePem).raw],
  jwtAuthorities: [],
});
const WEB = { url: 'https://partner.example/bundle', profile: 'https_web' };
const SPIFFE = {
  url: 'https://10.1.2.3:8443/',
  profile: 'https_spiffe',
  spiffeId: `spiffe://${DOMAIN}/ns/weft-system/sa/weft-control-plane`,
  bundle,
};

const parse = (spec: unknown) =>
  parseFederatedTrustDomain({
    apiVersion: 'security.weft.dev/v1',
    kind: 'FederatedTrustDomain',
    metadata: { name: 'partner', namespace: 'weft-system' },
    spec,
  });

test('both profiles are read, the bundle as text and as the mapping that it is', () => {
  const web = parse({ trustDomain: DOMAIN, bundleEndpoint: WEB, keepForHours: 2 });
  assert.ok(web.ok, JSON.stringify(web));
  assert.deepEqual([web.value.profile, web.value.keepForMs], [{ kind: 'https_web' }, 7_200_000]);
  for (const form of [bundle, JSON.parse(bundle)]) {
    const spiffe = parse({ trustDomain: DOMAIN, bundleEndpoint: { ...SPIFFE, bundle: form } });
    assert.ok(spiffe.ok, JSON.stringify(spiffe));
    assert.ok(spiffe.value.profile.kind === 'https_spiffe');
    assert.equal(spiffe.value.profile.initial.x509Authorities.length, 1);
    assert.equal(spiffe.value.keepForMs, 86_400_000);
  }
});

const REFUSED: readonly (readonly [string, unknown, string])[] = [
  ['without a trust domain', { bundleEndpoint: WEB }, 'spec.trustDomain'],
  [
    'with an id for a trust domain',
    { trustDomain: `spiffe://${DOMAIN}`, bundleEndpoint: WEB },
    'spec.trustDomain',
  ],
  [
    'with a trust domain in upper case',
    { trustDomain: 'Partner.example', bundleEndpoint: WEB },
    'spec.trustDomain',
  ],
  ['without an endpoint', { trustDomain: DOMAIN }, 'spec.bundleEndpoint'],
  [
    'over http',
    { trustDomain: DOMAIN, bundleEndpoint: { ...WEB, url: 'http://partner.example/' } },
    'spec.bundleEndpoint.url',
  ],
  [
    'with a user in the address',
    { trustDomain: DOMAIN, bundleEndpoint: { ...WEB, url: 'https://a@b.example/' } },
    'spec.bundleEndpoint.url',
  ],
  [
    'with an unknown profile',
    { trustDomain: DOMAIN, bundleEndpoint: { ...WEB, profile: 'none' } },
    'spec.bundleEndpoint.profile',
  ],
  [
    'with a misspelt field',
    { trustDomain: DOMAIN, bundleEndpoint: { ...WEB, profil: 'x' } },
    'spec.bundleEndpoint.profil',
  ],
  [
    'with an id of another trust domain',
    { trustDomain: DOMAIN, bundleEndpoint: { ...SPIFFE, spiffeId: 'spiffe://other.example/a' } },
    'spec.bundleEndpoint.spiffeId',
  ],
  [
    'with an id whose trust domain only begins alike',
    { trustDomain: DOMAIN, bundleEndpoint: { ...SPIFFE, spiffeId: `spiffe://${DOMAIN}.evil/a` } },
    'spec.bundleEndpoint.spiffeId',
  ],
  [
    'by SPIFFE id without a bundle',
    { trustDomain: DOMAIN, bundleEndpoint: { ...SPIFFE, bundle: undefined } },
    'spec.bundleEndpoint.bundle',
  ],
  [
    'by SPIFFE id with a bundle that trusts nobody',
    { trustDomain: DOMAIN, bundleEndpoint: { ...SPIFFE, bundle: '{"keys":[]}' } },
    'spec.bundleEndpoint.bundle',
  ],
  [
    'by name with a bundle',
    { trustDomain: DOMAIN, bundleEndpoint: { ...WEB, bundle } },
    'spec.bundleEndpoint.bundle',
  ],
  [
    'kept for ever',
    { trustDomain: DOMAIN, bundleEndpoint: WEB, keepForHours: 1e9 },
    'spec.keepForHours',
  ],
];
for (const [claim, spec, field] of REFUSED) {
  test(`a FederatedTrustDomain ${claim} is refused, and the field named`, () => {
    const parsed = parse(spec);
    assert.ok(!parsed.ok, claim);
    assert.ok(
      parsed.problems.some((problem) => problem.field === field),
      JSON.stringify(parsed.problems),
    );
  });
}
