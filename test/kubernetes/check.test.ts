// `weft check` on a real API server: silent where all is well, and for each thing that is broken on purpose one finding with a cure.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import type { Finding } from '@weft/cli/install/checks/finding';
import { runChecks } from '@weft/cli/install/checks/run-checks';
import type { KubeObject } from '@weft/kube/kube-api';
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  MUTATING_WEBHOOKS,
  NAMESPACES,
  PODS,
} from '@weft/kube/resource';
import { readyPods, weft } from '../support/installation.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { Daemon } from '../support/lab-daemon.ts';
import { eventually } from '../support/lab-wait.ts';

const only = { skip: kubelabMissing() ?? false };
const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

let lab: Kubelab;
before(async () => {
  if (only.skip === false) lab = await startKubelab();
});
after(() => lab?.[Symbol.asyncDispose]());

const check = (aheadMs = 0, when: 'before' | 'after' = 'after'): Promise<readonly Finding[]> =>
  runChecks(when, {
    client: lab.client,
    namespace: 'weft-system',
    now: () => Date.now() + aheadMs,
  });

const failures = (findings: readonly Finding[]): readonly string[] =>
  findings.filter(({ state }) => state === 'failed').map((one) => `${one.check}: ${one.message}`);

/** The one that fails, of a check; it has a cure, as each has. */
async function failureOf(name: string, aheadMs = 0): Promise<Finding> {
  const findings = await check(aheadMs);
  for (const { state, cure, message } of findings) {
    assert.equal(cure !== undefined, state === 'failed' || state === 'warning', message);
  }
  const found = findings.find((one) => one.check === name && one.state === 'failed');
  assert.ok(found, `${name} in ${failures(findings).join('\n')}`);
  return found;
}

async function make(resource: Parameters<Kubelab['client']['create']>[0], object: KubeObject) {
  const made = await lab.client.create(resource, object);
  assert.ok(made.ok, made.ok ? '' : made.message);
}

test(
  'before installing, an administrator may go ahead, and a program can read that',
  only,
  async () => {
    const end = await weft(lab, ['check', '--pre', '--json']);
    assert.equal(end.code, 0, end.stdout);
    const { isGood, findings } = JSON.parse(end.stdout);
    assert.equal(isGood, true);
    assert.deepEqual(
      findings.map((one: Finding) => `${one.check} ${one.state}`),
      ['version ok', 'permissions ok', 'clock ok', 'other-meshes ok'],
    );
  },
);

test('where nothing is installed each failure says what to run', only, async () => {
  const end = await weft(lab, ['check']);
  assert.equal(end.code, 1);
  assert.match(end.stdout, /FAILED {3}kinds: .*authorizationpolicies.* is not there/);
  assert.match(end.stdout, /FAILED {3}control-plane: .* is not there\n +cure: run: weft install/);
});

test('who cannot reach the cluster is told so, once', only, async () => {
  await lab.kill('apiserver');
  try {
    const findings = await check();
    assert.equal(findings.length, 1);
    assert.match(findings[0]?.message ?? '', /cannot be reached/);
  } finally {
    await lab.start('apiserver');
  }
});

test('a machine whose clock is wrong is told by how much', only, async () => {
  const found = (await check(-HOUR_MS, 'before')).find((one) => one.check === 'clock');
  assert.equal(found?.state, 'failed');
  assert.match(found.message, /this machine is 3[56]\d\d s behind the API server/);
});

let daemon: Daemon | undefined;
after(() => daemon?.[Symbol.asyncDispose]());

test('after installing nothing fails', only, async () => {
  await using kubelet = readyPods(lab);
  assert.ok(kubelet);
  assert.equal((await weft(lab, ['install', '--no-wait'], { isHelm: false })).code, 0);
  const label = { name: 'shop', labels: { 'weft.dev/injection': 'enabled' } };
  await make(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: label });
  daemon = new Daemon('cp-0', [
    'control-plane',
    '--kubernetes',
    `--kubeconfig=${lab.kubeconfig}`,
    '--pod-name=cp-0',
    ...['xds', 'enrolment', 'admin', 'webhook'].map((port) => `--${port}=127.0.0.1:0`),
    `--state-dir=${join(lab.dir, 'state')}`,
  ]);
  await daemon.ready();
  await eventually(async () => failures(await check()).length === 0, {
    what: 'nothing that fails',
    withinMs: 30_000,
    everyMs: 300,
  });
  const end = await weft(lab, ['check']);
  assert.equal(end.code, 0, end.stdout);
  assert.match(end.stdout, /ok {7}leader: cp-0 leads/);
  assert.match(end.stdout, /warning {2}control-plane: with one replica/);
  assert.match(end.stdout, /everything is as it should be/);
});

test('a root that ends soon is said, and how to rotate it', only, async () => {
  const { message, cure } = await failureOf('certificates', 100 * YEAR_MS);
  assert.match(message, /a trusted root ends on \d{4}-\d\d-\d\d/);
  assert.match(cure ?? '', /kubectl patch trustbundle weft .*"rotate"/);
});

test('a leader that is silent is said', only, async () => {
  assert.ok(daemon);
  await daemon.stop('SIGKILL');
  assert.match((await failureOf('leader', HOUR_MS)).message, /cp-0 led, and was last heard of/);
});

test('a webhook that the API server cannot trust is said', only, async () => {
  for (const [value, why] of [
    ['', /has no caBundle/],
    [btoa('-----BEGIN CERTIFICATE-----'), /does not trust/],
  ] as const) {
    // An empty one is none.
    const patch = [{ op: 'replace', path: '/webhooks/0/clientConfig/caBundle', value }];
    const target = { name: 'weft-injector' };
    const done = await lab.client.patch(MUTATING_WEBHOOKS, target, { type: 'json', patch });
    assert.ok(done.ok, done.ok ? '' : done.message);
    assert.match((await failureOf('webhooks')).message, why);
  }
});

test('a namespace without the bundle of now is named', only, async () => {
  const target = { name: 'weft-trust-bundle', namespace: 'shop' };
  const patch = { data: { 'bundle.pem': 'old' } };
  const done = await lab.client.patch(CONFIG_MAPS, target, { type: 'merge', patch });
  assert.ok(done.ok);
  assert.match((await failureOf('bundles')).message, /missing or old in shop/);
});

test('a kind of another version is named', only, async () => {
  const name = 'meshconfigs.mesh.weft.dev';
  const patch = [{ op: 'remove', path: '/spec/versions/0/additionalPrinterColumns' }];
  const done = await lab.client.patch(
    CUSTOM_RESOURCE_DEFINITIONS,
    { name },
    { type: 'json', patch },
  );
  assert.ok(done.ok);
  assert.match((await failureOf('kinds')).message, /meshconfigs.* is of another version/);
});

test(
  'Pods without a sidecar, on the network of their node, and past the capture are named',
  only,
  async () => {
    const gone = await lab.client.delete(MUTATING_WEBHOOKS, { name: 'weft-injector' });
    assert.ok(gone.ok);
    const injected = { 'weft.dev/injected': '{}' };
    for (const [name, annotations, spec] of [
      ['old', {}, {}],
      ['meant', { 'weft.dev/inject': 'false' }, {}],
      ['agent', {}, { hostNetwork: true }],
      ['sly', injected, { securityContext: { runAsUser: 1337 } }],
      ['bare', { ...injected, 'weft.dev/proxy': 'none' }, { securityContext: { runAsUser: 1337 } }],
    ] as const) {
      const containers = [{ name: 'app', image: 'app' }];
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'shop', annotations },
        spec: { ...spec, containers },
      };
      // The API server knows the webhook for a moment longer, and cannot reach it.
      await eventually(async () => (await lab.client.create(PODS, pod)).ok, { what: name });
    }
    const findings = (await check()).filter(({ check: of }) => /workloads|capture/.test(of));
    assert.deepEqual(
      findings.map(({ check: of, state, message }) => `${of} ${state} ${message}`),
      [
        'workloads failed shop: no sidecar in old',
        'capture failed shop: an application runs as user 1337, whose traffic is not captured, in sly',
        "workloads warning shop: on the node's own network, and so outside the mesh: agent",
      ],
    );
  },
);

test('another mesh that injects the same Pods is named', only, async () => {
  const clientConfig = { url: 'https://127.0.0.1:1/inject' };
  const common = {
    clientConfig,
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
    failurePolicy: 'Ignore',
    rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
  };
  const webhook = (name: string, namespaceSelector: KubeObject): KubeObject => ({
    ...common,
    name,
    namespaceSelector,
  });
  const elsewhere = webhook('a.istio.io', { matchLabels: { 'istio-injection': 'enabled' } });
  await make(MUTATING_WEBHOOKS, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'istio-sidecar-injector' },
    webhooks: [elsewhere],
  });
  assert.ok(!failures(await check()).some((one) => one.startsWith('other-meshes')));
  const labels = { 'istio-injection': 'enabled' };
  const done = await lab.client.patch(
    NAMESPACES,
    { name: 'shop' },
    { type: 'merge', patch: { metadata: { labels } } },
  );
  assert.ok(done.ok);
  assert.match((await failureOf('other-meshes')).message, /Istio .* may inject Pods of shop too/);
});
