// Images under a WorkloadPolicy in a real API server with a real registry: what is signed is made, what is not is refused.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createAddressGuard } from '@weft/controlplane/fetch/guard-address';
import { ImageSignatures } from '@weft/controlplane/images/image-signatures';
import { Registry } from '@weft/controlplane/images/registry';
import { findInImages } from '@weft/model/admission/check-images';
import type { PlainObject } from '@weft/model/policy/reader';
import { kubelabMissing } from '../support/kubelab.ts';
import {
  dockerRegistryMissing,
  pushImage,
  startDockerRegistry,
  type TestRegistry,
} from '../support/oci-registry.ts';
import { createSigner, signUnderTag } from '../support/sign-images.ts';
import { openWorkloadRig, type WorkloadRig, workloadPolicy } from '../support/workload-rig.ts';

const skip = kubelabMissing() ?? (await dockerRegistryMissing()) ?? false;
const only = { skip };
let registry: TestRegistry;
let rig: WorkloadRig;
before(async () => {
  if (skip !== false) return;
  registry = await startDockerRegistry();
  const images = new ImageSignatures({
    registry: new Registry({
      isAllowed: createAddressGuard(['127.0.0.0/8']),
      credentialsOf: () => undefined,
      plainRegistries: [registry.name],
    }),
    nowMs: () => Date.now(),
  });
  rig = await openWorkloadRig({
    namespaces: { shop: {} },
    looks: [findInImages, images.look],
  });
});
after(async () => {
  await rig?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});

const podOf = (image: string): PlainObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'shop' },
  spec: { containers: [{ name: 'web', image }] },
});

test(
  'a Pod of a signed image is made; unsigned, unapproved and unreachable ones are refused, and all without the webhook',
  only,
  async () => {
    const signer = createSigner();
    const signed = await pushImage(registry, 'shop/web', 'signed');
    await signUnderTag(registry, signer, { repository: 'shop/web', digest: signed });
    const unsigned = await pushImage(registry, 'shop/web', 'unsigned');
    const policy = workloadPolicy('images', 'shop', {
      images: {
        allow: [`${registry.name}/*`],
        signatures: [{ images: [`${registry.name}/*`], keys: [signer.publicPem] }],
      },
    });
    const applied = await rig.apply(policy);
    assert.equal(applied.code, 0, applied.stderr);
    const status = await rig.untilEnforced(policy, 'True');
    assert.match(JSON.stringify(status), /by asking the webhook weft-workloads/);
    const image = (digest: string): string => `${registry.name}/shop/web@${digest}`;
    const refused = await rig.untilRefused(podOf(image(unsigned)), 'an unsigned image');
    assert.match(refused, /is not signed as it has to be: there is no signature/);
    const good = await rig.tryOut(podOf(image(signed)));
    assert.equal(good.code, 0, good.stderr);
    const elsewhere = await rig.tryOut(podOf('docker.io/library/nginx'));
    assert.match(elsewhere.stderr, /is from nowhere that is approved/);
    await registry[Symbol.asyncDispose]();
    const other = await rig.tryOut(podOf(image(`sha256:${'0'.repeat(64)}`)));
    assert.match(other.stderr, /cannot be looked up \(127\.0\.0\.1 cannot be read: ECONNREFUSED\)/);
    await rig.hangUp();
    assert.equal((await rig.tryOut(podOf(image(signed)))).code, 1, 'nobody can look');
  },
);
