// Tags in Pods become digests: which images are asked about, what stays as it is, what is remembered, and what a registry can do wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import { readWorkload, type Workload } from '@weft/model/admission/workload';
import type { PlainObject } from '@weft/model/policy/reader';
import {
  dockerRegistryMissing,
  type FakeRegistry,
  pushImage,
  pushManifest,
  startDockerRegistry,
  startFakeRegistry,
  type TestRegistry,
} from '../../../test/support/oci-registry.ts';
import { createAddressGuard } from '../fetch/guard-address.ts';
import { Registry } from './registry.ts';
import { reviewImages } from './review-images.ts';
import { ImageResolver, type ResolvedImages, type ResolveOutcome } from './resolve-images.ts';

const OWN = 'weft.test/sidecar:1';

interface Rig {
  readonly policy: WorkloadPolicy;
  readonly resolver: ImageResolver;
  readonly looked: ResolveOutcome[];
  nowMs: number;
  resolve(spec: PlainObject, more?: { readonly old?: PlainObject }): Promise<ResolvedImages>;
}

function workloadOf(spec: PlainObject): Workload {
  const metadata = { name: 'web', namespace: 'shop' };
  const workload = readWorkload({ apiVersion: 'v1', kind: 'Pod', metadata, spec });
  assert.ok(workload);
  return workload;
}

/** @param spec of a policy by which everything of `registry` is resolved, where it says nothing else */
function rigOf(registry: TestRegistry, spec: PlainObject = {}): Rig {
  const parsed = parseWorkloadPolicy(
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'WorkloadPolicy',
      metadata: { name: 'resolved', namespace: 'shop' },
      spec: { images: { allow: [`${registry.name}/*`], digests: 'resolve' }, ...spec },
    },
    'WorkloadPolicy',
  );
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  const looked: ResolveOutcome[] = [];
  const resolver = new ImageResolver({
    registry: new Registry({
      isAllowed: createAddressGuard(['127.0.0.0/8']),
      credentialsOf: () => undefined,
      plainRegistries: [registry.name],
    }),
    nowMs: () => rig.nowMs,
    ownImages: [OWN, `${registry.name}/weft/sidecar:1`],
    onLooked: (outcome) => looked.push(outcome),
  });
  const rig: Rig = {
    policy: parsed.value,
    resolver,
    looked,
    nowMs: Date.UTC(2027, 0, 1),
    resolve(pod, { old } = {}) {
      const request = {
        workload: workloadOf(pod),
        ...(old !== undefined && { old: workloadOf(old) }),
      };
      const context = { nowMs: rig.nowMs, rootNamespace: 'weft-system' };
      return resolver.resolve([parsed.value], request, context);
    },
  };
  return rig;
}

const MANIFEST = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json' };

const tagged = (registry: TestRegistry, tag: string, text = tag): Promise<string> =>
  pushManifest(registry, 'shop/web', { ...MANIFEST, annotations: { text } }, tag);

const oneOf = (image: string): PlainObject => ({ containers: [{ name: 'web', image }] });
const asksFor = ({ asked }: FakeRegistry): readonly string[] =>
  asked.filter((one) => one.startsWith('GET'));

test('resolve() gives images in containers of every kind and in volumes their digests, and changes nothing else', async () => {
  await using registry = await startFakeRegistry();
  const one = await tagged(registry, '1');
  const latest = await tagged(registry, 'latest');
  const name = `${registry.name}/shop/web`;
  const spec = {
    nodeName: 'n',
    containers: [
      { name: 'a', image: `${name}:1`, env: [] },
      { name: 'b', image: `${name}:1@${latest}` },
      { name: 'elsewhere', image: 'nginx' },
      { name: 'weft-sidecar', image: `${registry.name}/weft/sidecar:1` },
      { name: 'no-name', image: 'A B' },
      { name: 'none' },
      'no container',
    ],
    initContainers: [{ name: 'a', image: name }],
    ephemeralContainers: [{ name: 'c', image: `${name}:1` }],
    volumes: [
      { name: 'tmp', emptyDir: {} },
      { name: 'data', image: { reference: `${name}:1`, pullPolicy: 'Always' } },
    ],
  };
  const found = await rigOf(registry).resolve(spec);
  assert.deepEqual(found.spec, {
    nodeName: 'n',
    containers: [{ name: 'a', image: `${name}:1@${one}`, env: [] }, ...spec.containers.slice(1)],
    initContainers: [{ name: 'a', image: `${name}@${latest}` }],
    ephemeralContainers: [{ name: 'c', image: `${name}:1@${one}` }],
    volumes: [
      { name: 'tmp', emptyDir: {} },
      { name: 'data', image: { reference: `${name}:1@${one}`, pullPolicy: 'Always' } },
    ],
  });
  assert.deepEqual([...found.resolved].sort(), [`${name}:1@${one}`, `${name}@${latest}`].sort());
  assert.deepEqual(found.problems, []);
  assert.equal(asksFor(registry).length, 2, 'each name is asked about once');
});

test('resolve() asks no registry that the policy does not name (threat: a Pod has the control plane call whom it likes)', async () => {
  await using registry = await startFakeRegistry();
  const images = {
    allow: ['registry.example.com/*', `${registry.name}/shop/web`],
    digests: 'resolve',
  };
  const rig = rigOf(registry, { images });
  const spec = oneOf(`${registry.name}/bank/web:1`);
  assert.deepEqual((await rig.resolve(spec)).spec, spec);
  assert.deepEqual(registry.asked, []);
});

const LEFT: readonly (readonly [string, PlainObject])[] = [
  ['a policy that only warns', { mode: 'warn' }],
  ['a policy of other Pods', { match: { labels: { app: 'other' } } }],
  [
    'an exemption from imageDigest',
    {
      exemptions: [
        {
          who: { serviceAccounts: ['default'] },
          checks: ['imageDigest'],
          reason: 'test',
          expires: '2099-01-01',
        },
      ],
    },
  ],
];
for (const [what, spec] of LEFT) {
  test(`resolve() leaves images alone by ${what}`, async () => {
    await using registry = await startFakeRegistry();
    const pod = oneOf(`${registry.name}/shop/web:1`);
    assert.equal((await rigOf(registry, spec).resolve(pod)).spec, pod);
    assert.deepEqual(registry.asked, []);
  });
}

test('resolve() remembers a digest for 10 s, and a registry that could not be asked for 2 s', async () => {
  await using registry = await startFakeRegistry();
  const name = `${registry.name}/shop/web:1`;
  const imageAfter = async (rig: Rig, ms: number): Promise<string> => {
    rig.nowMs += ms;
    return JSON.stringify((await rig.resolve(oneOf(name))).spec);
  };
  const rig = rigOf(registry);
  const absent = await rig.resolve(oneOf(name));
  assert.deepEqual(absent.spec, oneOf(name));
  assert.deepEqual(absent.problems, [
    `image "${name}" gets no digest: ${registry.name} answers 404`,
  ]);
  const first = await tagged(registry, '1', 'first');
  assert.ok(!(await imageAfter(rig, 1_999)).includes(first), 'still remembered to be absent');
  assert.ok((await imageAfter(rig, 1)).includes(first));
  const second = await tagged(registry, '1', 'second');
  assert.ok((await imageAfter(rig, 9_999)).includes(first), 'still remembered');
  assert.ok((await imageAfter(rig, 1)).includes(second));
  assert.deepEqual(rig.looked, ['unavailable', 'resolved', 'resolved']);
});

test('resolve() asks once for many Pods that are made at a time', async () => {
  await using registry = await startFakeRegistry();
  await tagged(registry, '1');
  const rig = rigOf(registry);
  const pods = Array.from({ length: 20 }, () => rig.resolve(oneOf(`${registry.name}/shop/web:1`)));
  assert.equal(new Set((await Promise.all(pods)).flatMap(({ resolved }) => resolved)).size, 1);
  assert.equal(asksFor(registry).length, 1);
});

test('resolve() leaves what runs as it is: of an update only what is changed is resolved', async () => {
  await using registry = await startFakeRegistry();
  const now = await tagged(registry, '1', 'new');
  const old = `sha256:${'0'.repeat(64)}`;
  const name = `${registry.name}/shop/web`;
  const rig = rigOf(registry);
  const podOf = (a: string, b: string): PlainObject => ({
    containers: [
      { name: 'a', image: a },
      { name: 'b', image: b },
    ],
  });
  const before = podOf(`${name}:1@${old}`, `${name}:0`);
  const same = await rig.resolve(podOf(`${name}:1`, `${name}:0`), { old: before });
  assert.deepEqual(same.spec, before, 'applied once more as it was written');
  assert.deepEqual(
    registry.asked.filter((one) => one.startsWith('GET')),
    [],
  );
  const changed = await rig.resolve(podOf(`${name}:1`, `${name}:1`), { old: before });
  assert.deepEqual(changed.spec, podOf(`${name}:1@${old}`, `${name}:1@${now}`));
  const added = { ...before, ephemeralContainers: [{ name: 'debug', image: `${name}:1` }] };
  const debugged = await rig.resolve(added, { old: before });
  assert.deepEqual(debugged.spec, {
    ...before,
    ephemeralContainers: [{ name: 'debug', image: `${name}:1@${now}` }],
  });
});

test('resolve() asks about 64 images of a Pod at most (threat: a Pod that names thousands)', async () => {
  await using registry = await startFakeRegistry();
  const containers = Array.from({ length: 1_000 }, (_, index) => ({
    name: `c${index}`,
    image: `${registry.name}/shop/web:${index}`,
  }));
  const found = await rigOf(registry).resolve({ containers });
  assert.equal(asksFor(registry).length, 64);
  assert.equal(found.problems.length, 1_000);
});

const WRONG: readonly (readonly [string, string, RegExp])[] = [
  ['no JSON', '<html>', /answers with no manifest/],
  ['no manifest', '{}', /answers with no manifest/],
  ['the first schema, whose digest is another', '{"schemaVersion":1}', /answers with no manifest/],
];
for (const [what, body, said] of WRONG) {
  test(`resolve() takes no digest of ${what}`, async () => {
    await using registry = await startFakeRegistry();
    registry.intercept = (_, response) => {
      response.writeHead(200).end(body);
      return true;
    };
    const spec = oneOf(`${registry.name}/shop/web:1`);
    const found = await rigOf(registry).resolve(spec);
    assert.deepEqual(found.spec, spec);
    assert.match(found.problems.join(), said);
  });
}

test('resolve() leaves an image whose registry is away, and says why', async () => {
  const registry = await startFakeRegistry();
  await registry[Symbol.asyncDispose]();
  const spec = oneOf(`${registry.name}/shop/web:1`);
  const rig = rigOf(registry);
  const found = await rig.resolve(spec);
  assert.deepEqual(found.spec, spec);
  assert.match(found.problems.join(), /gets no digest: .*ECONNREFUSED/);
  assert.deepEqual(rig.looked, ['unavailable']);
});

const reviewBy = (rig: Rig, request: PlainObject): ReturnType<typeof reviewImages> =>
  reviewImages(
    { operation: 'CREATE', namespace: 'shop', ...request },
    {
      resolver: rig.resolver,
      policies: () => [rig.policy],
      namespaceLabels: () => undefined,
      context: () => ({ nowMs: rig.nowMs, rootNamespace: 'weft-system' }),
    },
  );

test('reviewImages() patches the image alone, and says what it put there and what it left', async () => {
  await using registry = await startFakeRegistry();
  const digest = await tagged(registry, '1');
  const name = `${registry.name}/shop/web`;
  const containers = [
    { name: 'good', image: `${name}:1` },
    { name: 'absent', image: `${name}:2` },
  ];
  const object = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'web-' },
    spec: { containers },
  };
  const { allowed, patch, warnings, auditAnnotations } = await reviewBy(rigOf(registry), {
    object,
  });
  assert.equal(allowed, true);
  assert.deepEqual(patch, [
    { op: 'replace', path: '/spec/containers/0/image', value: `${name}:1@${digest}` },
  ]);
  const problem = `image "${name}:2" gets no digest: ${registry.name} answers 404`;
  assert.deepEqual(warnings, [problem]);
  assert.equal(auditAnnotations['images'], `${name}:1@${digest}; ${problem}`);
});

test('reviewImages() leaves what is no Pod, and what goes', async () => {
  await using registry = await startFakeRegistry();
  const rig = rigOf(registry);
  const metadata = { name: 'web' };
  const spec = oneOf(`${registry.name}/shop/web:1`);
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: { template: { spec } },
  };
  for (const request of [
    { object: deployment },
    { object: pod, operation: 'DELETE' },
    { object: pod, namespace: 'other' },
    { object: 'a Pod' },
    {},
  ]) {
    const { allowed, patch = [] } = await reviewBy(rig, request);
    assert.deepEqual([allowed, patch], [true, []]);
  }
  assert.deepEqual(registry.asked, []);
});

const missing = await dockerRegistryMissing();
test('resolve() has the digest that a real registry knows an image by', {
  skip: missing ?? false,
}, async () => {
  await using registry = await startDockerRegistry();
  const digest = await pushImage(registry, 'shop/web', 'layer');
  const manifest = await fetch(`http://${registry.name}/v2/shop/web/manifests/${digest}`, {
    headers: { accept: MANIFEST.mediaType },
  });
  const url = `http://${registry.name}/v2/shop/web/manifests/1.0`;
  const headers = { 'content-type': MANIFEST.mediaType };
  const put = await fetch(url, { method: 'PUT', body: await manifest.text(), headers });
  assert.equal(put.status, 201);
  const { spec } = await rigOf(registry).resolve(oneOf(`${registry.name}/shop/web:1.0`));
  assert.deepEqual(spec, oneOf(`${registry.name}/shop/web:1.0@${digest}`));
});
