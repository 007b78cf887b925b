// What the control plane makes of federations: one bundle for proxies, nothing where there are none, and metrics that tell its age.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { openAuthority } from '@weft/ca/authority';
import { createMemoryStore } from '@weft/ca/store/memory';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { formatBundleDocument } from '@weft/model/federation/bundle-document';
import { parseFederatedTrustDomain } from '@weft/model/federation/parse-federated-trust-domain';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import { parseTrustDomain } from '@weft/model/identity';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { addFederationMetrics } from '../admin/federation-metrics.ts';
import { trustSecretOf } from '../resources/trust-secret.ts';
import { FederationPart } from './federation-part.ts';
import type { KeptBundles } from './kept-bundles.ts';

const partner = createTestPki('partner.test');
const document = formatBundleDocument({
  sequence: 1,
  x509Authorities: [new X509Certificate(partner.bundlePem).raw],
  jwtAuthorities: [],
});

function federation(): FederatedTrustDomain {
  const parsed = parseFederatedTrustDomain({
    apiVersion: 'security.weft.dev/v1',
    kind: 'FederatedTrustDomain',
    metadata: { name: 'partner', namespace: 'weft-system' },
    spec: {
      trustDomain: 'partner.test',
      bundleEndpoint: {
        url: 'https://127.0.0.1:1/',
        profile: 'https_spiffe',
        spiffeId: 'spiffe://partner.test/a',
        bundle: document,
      },
    },
  });
  assert.ok(parsed.ok);
  return parsed.value;
}

/** Has a bundle from before, told when `recall` is called; whatever is asked of others is refused. */
async function open() {
  await using making = new AsyncDisposableStack();
  const clock = createTurnableClock();
  const trustDomain = parseTrustDomain('mesh.test');
  assert.ok(trustDomain !== undefined);
  const store = createMemoryStore();
  const authority = making.use(await openAuthority({ store, trustDomain, clock }));
  const recalled = Promise.withResolvers<void>();
  const one = federation();
  assert.ok(one.profile.kind === 'https_spiffe');
  const { initial: bundle } = one.profile;
  const kept: KeptBundles = {
    load: () => recalled.promise.then(() => ({ bundle, document, fetchedAtMs: clock.now() })),
    save: () => Promise.resolve(),
  };
  const log = pino({ level: 'silent' });
  const part = making.use(new FederationPart({ authority, kept, clock, log }));
  const changed = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    using _ = part.subscribe(resolve);
    await promise;
  };
  const owned = making.move();
  return {
    part,
    authority,
    clock,
    one,
    async recall() {
      const done = changed();
      recalled.resolve();
      await done;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('without federations proxies are sent the CA’s own bundle, and there is nothing to scrape', async () => {
  await using rig = await open();
  assert.deepEqual(rig.part.bundle(), {
    pem: rig.authority.bundle().pem,
    version: rig.authority.bundle().version,
  });
  assert.deepEqual(trustSecretOf(rig.part.bundle()), {
    name: 'ROOTCA',
    trustedCaPem: rig.authority.bundle().pem,
  });
  assert.deepEqual([...rig.part.tokenKeys()], []);
  assert.deepEqual(rig.part.renewals.roots(), []);
  assert.deepEqual(rig.part.unready(), []);
  const registry = new Registry();
  addFederationMetrics(registry)(rig.part.scraped());
  assert.equal((await registry.metrics()).trim(), '');
});

test('keys of another trust domain are joined as one bundle of another version, and leave it when they are too old', async () => {
  await using rig = await open();
  const { part, authority } = rig;
  const before = part.bundle();
  part.source.want([rig.one], []);
  assert.equal(part.unready().length, 1, 'nobody is to have them taken by a start');
  await rig.recall();
  assert.deepEqual(part.unready(), []);
  const joined = part.bundle();
  assert.equal(part.bundle(), joined, 'the same as long as it is the same');
  assert.notEqual(joined.version, before.version);
  assert.equal(joined.ownVersion, authority.bundle().version);
  assert.deepEqual(joined.byTrustDomain, [
    { trustDomain: 'mesh.test', trustedCaPem: authority.bundle().pem },
    { trustDomain: 'partner.test', trustedCaPem: partner.bundlePem },
  ]);
  assert.equal(part.renewals.roots().length, 1);
  rig.clock.turn(60_000);
  const registry = new Registry();
  addFederationMetrics(registry)(part.scraped());
  const text = await registry.metrics();
  assert.match(text, /weft_federation_bundle_age_seconds\{trust_domain="partner.test"\} 60/);
  assert.match(text, /weft_federation_trust_domains_believed 1/);
  rig.clock.turn(86_400_000);
  assert.deepEqual(part.bundle(), before);
  part.source.want([rig.one, { ...rig.one, keepForMs: 1 }], []);
  assert.deepEqual(part.unready(), [], 'after the start a new one is no reason');
});
