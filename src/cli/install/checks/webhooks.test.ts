// `weft check` of webhooks: each that is needed is there, is asked and is trusted; for each that is not, what that means and a cure.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '@weft/kube/kube-api';
import {
  CLUSTER_WORKLOAD_POLICIES,
  CONFIG_MAPS,
  type KubeResource,
  MUTATING_WEBHOOKS,
  VALIDATING_WEBHOOKS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { checkWebhooks } from './webhooks.ts';

const NAMESPACE = 'weft-system';
const PEM = '-----BEGIN CERTIFICATE-----\nof now\n-----END CERTIFICATE-----';
const DIGESTS = { mode: 'enforce', images: { digests: 'resolve' } };

/** With as many webhooks as bundles are given. */
const configuration = (name: string, ...bundles: readonly string[]): KubeObject => ({
  metadata: { name },
  webhooks: bundles.map((pem) => ({ clientConfig: { caBundle: btoa(pem) } })),
});

const policy = (spec: object, status?: object): KubeObject => ({
  metadata: { name: 'pods', namespace: 'shop' },
  spec,
  ...(status !== undefined && { status }),
});

/** A cluster where all is well and no WorkloadPolicy is. */
function createCluster(): MemoryKube {
  const kube = createMemoryKube();
  kube.put(CONFIG_MAPS, {
    metadata: { name: 'weft-trust-bundle', namespace: NAMESPACE },
    data: { 'bundle.pem': `${PEM}\n` },
  });
  kube.put(MUTATING_WEBHOOKS, configuration('weft-injector', PEM, PEM));
  kube.put(VALIDATING_WEBHOOKS, configuration('weft-validator', PEM));
  kube.put(MUTATING_WEBHOOKS, configuration('weft-images'));
  kube.put(VALIDATING_WEBHOOKS, configuration('weft-workloads'));
  return kube;
}

async function findingsOf(kube: MemoryKube): Promise<readonly string[]> {
  const context = { client: kube, namespace: NAMESPACE, now: () => 0 };
  const findings = await checkWebhooks(context);
  for (const { state, cure, message } of findings)
    assert.equal(cure !== undefined, state === 'failed' || state === 'warning', message);
  return findings.map(({ state, message }) => `${state}: ${message}`);
}

const WELL = [
  'ok: weft-injector is trusted by the API server',
  'ok: weft-validator is trusted by the API server',
];

test('without WorkloadPolicies their webhooks are asked about nothing, or are not there, and nothing is said of them', async () => {
  using kube = createCluster();
  assert.deepEqual(await findingsOf(kube), WELL);
  kube.remove(MUTATING_WEBHOOKS, 'weft-images');
  kube.remove(VALIDATING_WEBHOOKS, 'weft-workloads');
  assert.deepEqual(await findingsOf(kube), WELL);
});

test('webhooks of WorkloadPolicies that are asked and trusted are said to be', async () => {
  using kube = createCluster();
  kube.put(WORKLOAD_POLICIES, policy(DIGESTS));
  kube.put(VALIDATING_WEBHOOKS, configuration('weft-workloads', PEM, PEM));
  kube.put(MUTATING_WEBHOOKS, configuration('weft-images', PEM));
  assert.deepEqual(await findingsOf(kube), [
    ...WELL,
    'ok: weft-workloads is trusted by the API server',
    'ok: weft-images is trusted by the API server',
  ]);
});

type Place = readonly [KubeResource, string];
const BROKEN: readonly (readonly [string, (kube: MemoryKube) => void, RegExp])[] = [
  ...(
    [
      [MUTATING_WEBHOOKS, 'weft-injector'],
      [VALIDATING_WEBHOOKS, 'weft-validator'],
      [MUTATING_WEBHOOKS, 'weft-images'],
      [VALIDATING_WEBHOOKS, 'weft-workloads'],
    ] satisfies readonly Place[]
  ).flatMap(([resource, name]) => [
    [
      `${name} trusts what was issued before`,
      (kube: MemoryKube) => kube.put(resource, configuration(name, PEM, 'old')),
      new RegExp(`^failed: ${name} does not trust what is issued now: the API server cannot`, 'm'),
    ] as const,
    [
      `${name} has no bundle`,
      (kube: MemoryKube) => kube.put(resource, configuration(name, '')),
      new RegExp(`^failed: ${name} has no caBundle: the API server cannot call it$`, 'm'),
    ] as const,
  ]),
  [
    'weft-workloads is not there and a policy needs it',
    (kube) => {
      kube.remove(VALIDATING_WEBHOOKS, 'weft-workloads');
      kube.put(CLUSTER_WORKLOAD_POLICIES, { metadata: { name: 'all' }, spec: {} });
    },
    /^failed: weft-workloads is not there, and 1 WorkloadPolicies need it: .* of no Pod$/m,
  ],
  [
    'weft-workloads is asked about nothing and a policy needs it',
    (kube) => kube.put(WORKLOAD_POLICIES, policy({ mode: 'warn' })),
    /^failed: weft-workloads is asked about nothing, and 1 WorkloadPolicies need it/m,
  ],
  [
    'weft-images is not there and a policy resolves images',
    (kube) => {
      kube.remove(MUTATING_WEBHOOKS, 'weft-images');
      kube.put(WORKLOAD_POLICIES, policy(DIGESTS));
    },
    /^failed: weft-images is not there, and 1 WorkloadPolicies need it: no Pod gets digests/m,
  ],
  [
    'the injector is not there',
    (kube) => kube.remove(MUTATING_WEBHOOKS, 'weft-injector'),
    /^warning: weft-injector is not there: no Pod gets a sidecar$/m,
  ],
  [
    'policies may not be listed',
    (kube) =>
      kube.answerWith(({ resource }) =>
        resource === WORKLOAD_POLICIES ? kubeFailure(403, 'Forbidden') : undefined,
      ),
    /^skipped: Forbidden$/m,
  ],
];
for (const [what, breakIt, said] of BROKEN) {
  test(`it is said that ${what}`, async () => {
    using kube = createCluster();
    breakIt(kube);
    assert.match((await findingsOf(kube)).join('\n'), said);
  });
}

test('a policy that cannot be read, or resolves no images, needs no webhook', async () => {
  using kube = createCluster();
  const status = { conditions: [{ type: 'Accepted', status: 'False' }] };
  kube.put(WORKLOAD_POLICIES, policy(DIGESTS, status));
  assert.deepEqual(await findingsOf(kube), WELL);
  kube.remove(MUTATING_WEBHOOKS, 'weft-images');
  kube.put(VALIDATING_WEBHOOKS, configuration('weft-workloads', PEM));
  for (const spec of [{ mode: 'warn', images: { digests: 'resolve' } }, { mode: 'enforce' }]) {
    kube.put(WORKLOAD_POLICIES, policy(spec));
    assert.deepEqual(await findingsOf(kube), [
      ...WELL,
      'ok: weft-workloads is trusted by the API server',
    ]);
  }
});
