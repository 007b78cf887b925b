// Images under a WorkloadPolicy in a real API server with a real registry: what is signed is made, what is not is refused, tags become digests.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { IMAGES } from '@weft/controlplane/admission/render-webhooks';
import { createAddressGuard } from '@weft/controlplane/fetch/guard-address';
import { ImageSignatures } from '@weft/controlplane/images/image-signatures';
import { Registry } from '@weft/controlplane/images/registry';
import { ImageResolver } from '@weft/controlplane/images/resolve-images';
import { PODS } from '@weft/kube/resource';
import { findInImages } from '@weft/model/admission/check-images';
import { listIn, objectIn } from '@weft/model/admission/workload';
import type { PlainObject } from '@weft/model/policy/reader';
import { whyNot } from '../support/kube-objects.ts';
import { kubelabMissing } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
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
  const asking = {
    registry: new Registry({
      isAllowed: createAddressGuard(['127.0.0.0/8']),
      credentialsOf: () => undefined,
      plainRegistries: [registry.name],
    }),
    nowMs: () => Date.now(),
  };
  const images = new ImageSignatures(asking);
  rig = await openWorkloadRig({
    namespaces: { shop: {}, tags: {} },
    looks: [findInImages, images.look],
    resolver: new ImageResolver(asking),
  });
});
after(async () => {
  await rig?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});

const podOf = (image: string, namespace = 'shop', name = 'p'): PlainObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace },
  spec: { containers: [{ name: 'web', image }] },
});

const deploymentOf = (image: string): PlainObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd', namespace: 'tags' },
  spec: {
    selector: { matchLabels: { app: 'd' } },
    template: {
      metadata: { labels: { app: 'd' } },
      spec: { containers: [{ name: 'web', image }] },
    },
  },
});

/** A manifest that is there is given a tag. */
async function tag(digest: string, name: string): Promise<void> {
  const headers = { accept: MANIFEST, 'content-type': MANIFEST };
  const at = `http://${registry.name}/v2/shop/web/manifests`;
  const body = await (await fetch(`${at}/${digest}`, { headers })).text();
  assert.equal((await fetch(`${at}/${name}`, { method: 'PUT', headers, body })).status, 201);
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const IMAGE_OF_WEB = '-o=jsonpath={.spec.containers[0].image}';

test(
  'a Pod by tag gets the digest of now, keeps it when it is applied again, and what its digest is not signed for is refused',
  only,
  async () => {
    const signer = createSigner();
    const signed = await pushImage(registry, 'shop/web', 'signed by tag');
    await signUnderTag(registry, signer, { repository: 'shop/web', digest: signed });
    await tag(signed, 'good');
    await tag(await pushImage(registry, 'shop/web', 'unsigned by tag'), 'bad');
    const policy = workloadPolicy('tags', 'tags', {
      images: {
        allow: [`${registry.name}/*`],
        digests: 'resolve',
        signatures: [{ images: [`${registry.name}/*`], keys: [signer.publicPem] }],
      },
    });
    await rig.enforce(policy);
    const image = (name: string): string => `${registry.name}/shop/web:${name}`;
    const refused = await rig.untilRefused(podOf(image('bad'), 'tags'), 'an unsigned image');
    assert.match(refused, /web:bad@sha256:[^ ]* is not signed as it has to be/);
    const good = podOf(image('good'), 'tags');
    const imageOf = async (pod: PlainObject): Promise<string> => {
      const { code, stdout, stderr } = await rig.apply(pod, [IMAGE_OF_WEB]);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    assert.equal(await imageOf(good), `${image('good')}@${signed}`);
    assert.equal(await imageOf(good), `${image('good')}@${signed}`, 'applied again');
    assert.equal((await rig.tryOut(deploymentOf(image('bad')))).code, 0, 'its Pods are looked at');
    const elsewhere = await rig.tryOut(deploymentOf('docker.io/library/nginx'));
    assert.match(elsewhere.stderr, /is from nowhere that is approved/);
    const debug = { name: 'debug', image: image('good') };
    const debugged = await rig.lab.client.patch(
      PODS,
      { namespace: 'tags', name: 'p' },
      {
        type: 'merge',
        subresource: 'ephemeralcontainers',
        patch: { spec: { ephemeralContainers: [debug] } },
      },
    );
    assert.ok(debugged.ok, whyNot(debugged));
    const added = listIn(objectIn(debugged.value, 'spec'), 'ephemeralContainers');
    assert.deepEqual(
      added.map((one) => one['image']),
      [`${debug.image}@${signed}`],
    );
    const absent = await rig.tryOut(podOf(image('never'), 'tags', 'q'));
    assert.match(absent.stderr, /Warning: image .* gets no digest: 127.0.0.1:\d+ answers 404/);
    assert.match(absent.stderr, /can become another image, and got no digest/);
    assert.equal(absent.code, 1);
  },
);

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
    const noDigest = await rig.tryOut(podOf(`${registry.name}/shop/web:away`, 'tags', 'q'));
    assert.match(noDigest.stderr, /Warning: image .* gets no digest: .*ECONNREFUSED/);
    assert.match(noDigest.stderr, /can become another image, and got no digest/);
    await rig.hangUp();
    assert.equal((await rig.tryOut(podOf(image(signed)))).code, 1, 'nobody can look');
  },
);

test('without such a policy no Pod is asked about', only, async () => {
  const configured = async (): Promise<string> => {
    const { stdout } = await rig.lab.kubectl([
      'get',
      'mutatingwebhookconfiguration',
      IMAGES,
      '-o=jsonpath={.webhooks[*].name}',
    ]);
    return stdout;
  };
  assert.equal(await configured(), 'images.workloads.weft.dev');
  await rig.lab.kubectl(['delete', 'workloadpolicy', 'tags', '-n', 'tags']);
  await eventually(async () => (await configured()) === '', {
    what: 'no webhook',
    withinMs: 10_000,
    everyMs: 50,
  });
});
