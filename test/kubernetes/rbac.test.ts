// With the rights of the chart and no others a control plane does all its work, and can do nothing besides.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@weft/kube/connect';
import { createKubeClient } from '@weft/kube/https-client';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import {
  AUTHORIZATION_POLICIES,
  CONFIG_MAPS,
  EVENTS,
  type KubeResource,
  LEASES,
  MUTATING_WEBHOOKS,
  SECRETS,
  TOKEN_REVIEWS,
  TRUST_BUNDLES,
  VALIDATING_ADMISSION_BINDINGS,
  VALIDATING_ADMISSION_POLICIES,
  VALIDATING_WEBHOOKS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { helmBinary } from '../support/go-tools.ts';
import { weft } from '../support/installation.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { Daemon } from '../support/lab-daemon.ts';
import { eventually } from '../support/lab-wait.ts';

const helm = helmBinary();
const only = { skip: kubelabMissing() ?? false };
const withHelm = { skip: only.skip || ('missing' in helm ? helm.missing : false) };
const ROOT = 'weft-system';
const ACCOUNT = 'weft-control-plane';

let lab: Kubelab;
before(async () => {
  if (only.skip !== false) return;
  lab = await startKubelab();
  const end = await weft(lab, ['install', '--no-wait'], { isHelm: false });
  assert.equal(end.code, 0, end.stderr);
  for (const name of ['shop', 'bank']) {
    assert.equal((await lab.kubectl(['create', 'namespace', name])).code, 0);
    await secret(name, 'of-the-app');
  }
  await secret(ROOT, 'of-somebody-else');
});
after(() => lab?.[Symbol.asyncDispose]());

async function secret(namespace: string, name: string): Promise<void> {
  const metadata = { namespace, name };
  const made = await lab.client.create(SECRETS, { apiVersion: 'v1', kind: 'Secret', metadata });
  assert.ok(made.ok, made.ok ? '' : made.message);
}

/** Of the chart's service account. */
async function kubeconfigOf(): Promise<string> {
  const token = await lab.kubectl(['create', 'token', ACCOUNT, '-n', ROOT]);
  assert.equal(token.code, 0, token.stderr);
  const path = join(lab.dir, 'control-plane.kubeconfig');
  const cluster = { server: lab.server, 'certificate-authority-data': btoa(lab.caPem) };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token: token.stdout.trim() } }],
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

const policy = (namespace: string): KubeObject => ({
  apiVersion: 'security.weft.dev/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'web', namespace },
  spec: { action: 'ALLOW', rules: [{ from: [{ source: { namespaces: [namespace] } }] }] },
});

async function controlPlane(name: string, ...more: readonly string[]): Promise<Daemon> {
  const stateDir = join(lab.dir, name);
  const free = ['xds', 'enrolment', 'admin', 'webhook'].map((port) => `--${port}=127.0.0.1:0`);
  return new Daemon(name, [
    'control-plane',
    '--kubernetes',
    ...more,
    '--kubeconfig',
    await kubeconfigOf(),
    `--state-dir=${stateDir}`,
    `--pod-name=${name}`,
    ...free,
  ]);
}

async function object(
  resource: KubeResource,
  name: string,
  namespace?: string,
): Promise<KubeObject | undefined> {
  const found = await lab.client.get(resource, { name, namespace });
  assert.ok(found.ok || found.code === 404, found.ok ? '' : found.message);
  return found.ok ? found.value : undefined;
}

/** Whatever the log says of a right that is missing. */
const complaints = (daemon: Daemon): readonly string[] =>
  daemon.stderr.split('\n').filter((line) => /forbidden|needs verb/i.test(line));

const WITHIN = 20_000;

async function soon(
  daemon: Daemon,
  what: string,
  ask: () => Promise<boolean | undefined>,
): Promise<void> {
  await eventually(ask, {
    what,
    withinMs: WITHIN,
    everyMs: 100,
    told: () => [...complaints(daemon), daemon.tail()].join('\n'),
  });
}

async function hasBundle(namespace: string): Promise<boolean> {
  return (await object(CONFIG_MAPS, 'weft-trust-bundle', namespace)) !== undefined;
}

async function hasStatus(namespace: string): Promise<boolean> {
  const found = await object(AUTHORIZATION_POLICIES, 'web', namespace);
  return objectAt(found, 'status') !== undefined;
}

async function isTrusted(resource: KubeResource, name: string): Promise<boolean> {
  return JSON.stringify(await object(resource, name)).includes('"caBundle":"LS0t');
}

const HARDENED = { namespace: 'shop', name: 'hardened' };
const RENDERED = 'shop.hardened.workloads.weft.dev';

async function rendersWorkloadPolicies(daemon: Daemon): Promise<void> {
  const made = await lab.client.create(WORKLOAD_POLICIES, {
    apiVersion: 'security.weft.dev/v1',
    kind: 'WorkloadPolicy',
    metadata: HARDENED,
    spec: {
      pod: { preset: 'baseline' },
      images: { allow: ['registry.example.com/*'], digests: 'resolve' },
    },
  });
  assert.ok(made.ok, made.ok ? '' : made.message);
  await soon(daemon, 'the API server having a WorkloadPolicy', async () => {
    const found = await object(WORKLOAD_POLICIES, HARDENED.name, HARDENED.namespace);
    return JSON.stringify(objectAt(found, 'status'))?.includes('"reason":"Rendered"');
  });
  await soon(daemon, 'the webhook for workloads', () =>
    isTrusted(VALIDATING_WEBHOOKS, 'weft-workloads'),
  );
  await soon(daemon, 'the webhook for images', () => isTrusted(MUTATING_WEBHOOKS, 'weft-images'));
  assert.ok(await object(VALIDATING_ADMISSION_BINDINGS, RENDERED));
  assert.ok((await lab.client.delete(WORKLOAD_POLICIES, HARDENED)).ok);
  await soon(
    daemon,
    'the API server losing it',
    async () => (await object(VALIDATING_ADMISSION_POLICIES, RENDERED)) === undefined,
  );
}

test('a control plane with the rights of the chart does all its work', only, async () => {
  const made = await lab.client.create(AUTHORIZATION_POLICIES, policy('shop'), { isDryRun: false });
  // The webhook is not there yet: nothing gets past it.
  assert.ok(!made.ok && /weft/.test(made.message));
  await using daemon = await controlPlane('cp-0');
  await daemon.ready();
  await soon(daemon, 'the CA', async () => (await object(SECRETS, 'weft-ca', ROOT)) !== undefined);
  await soon(daemon, 'the lead', async () => {
    const lease = await object(LEASES, 'weft-control-plane', ROOT);
    return textAt(lease, 'spec', 'holderIdentity') === 'cp-0';
  });
  for (const namespace of ['shop', 'bank', 'kube-system', ROOT]) {
    await soon(daemon, `the bundle in ${namespace}`, () => hasBundle(namespace));
  }
  await soon(daemon, 'the injector trusted', () => isTrusted(MUTATING_WEBHOOKS, 'weft-injector'));
  await soon(daemon, 'the validator trusted', () =>
    isTrusted(VALIDATING_WEBHOOKS, 'weft-validator'),
  );
  await soon(daemon, 'the TrustBundle', async () => {
    return objectAt(await object(TRUST_BUNDLES, 'weft'), 'status') !== undefined;
  });
  // The Service leads nowhere here: there is no Pod behind it.
  await lab.client.delete(VALIDATING_WEBHOOKS, { name: 'weft-validator' });
  await soon(daemon, 'a policy', async () => {
    return (await lab.client.create(AUTHORIZATION_POLICIES, policy('shop'))).ok;
  });
  await soon(daemon, 'the status of the policy', () => hasStatus('shop'));
  await rendersWorkloadPolicies(daemon);
  assert.deepEqual(complaints(daemon), []);
  assert.deepEqual(await daemon.stop(), { code: 0, signal: undefined });
  assert.deepEqual(complaints(daemon), []);
});

async function asAccount(): Promise<KubeClient> {
  return createKubeClient(connect({ kubeconfig: await kubeconfigOf() }));
}

test(
  'it may ask whether a token is good, write Events, and create the bundle by its name alone',
  only,
  async () => {
    using client = await asAccount();
    const review = await client.create(TOKEN_REVIEWS, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token: 'x', audiences: ['weft-ca'] },
    });
    assert.ok(review.ok, review.ok ? '' : review.message);
    const event = await client.create(EVENTS, {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: 'e', namespace: 'shop' },
      eventTime: '2026-01-01T00:00:00.000000Z',
      reportingController: 'weft.dev/control-plane',
      reportingInstance: 'cp-0',
      action: 'Check',
      reason: 'Checked',
      type: 'Normal',
      regarding: { kind: 'Namespace', name: 'shop', namespace: 'shop' },
    });
    assert.ok(event.ok, event.ok ? '' : event.message);
    for (const [name, isAllowed] of [
      ['weft-trust-bundle', true],
      ['settings-of-an-app', false],
    ] as const) {
      const configMap = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name, namespace: 'bank' },
      };
      const options = { fieldManager: 'weft-control-plane', isForced: true, isDryRun: true };
      const applied = await client.apply(CONFIG_MAPS, configMap, options);
      assert.equal(applied.ok, isAllowed, name);
    }
  },
);

/** Verb, resource, namespace, name: what a control plane that was taken over could not do. */
const FORBIDDEN: readonly (readonly string[])[] = [
  ['get', 'secrets/of-the-app', '-n', 'shop'],
  ['get', 'secrets/weft-ca', '-n', 'shop'],
  ['get', 'secrets/of-somebody-else', '-n', ROOT],
  ['list', 'secrets', '-n', ROOT],
  ['list', 'secrets', '-A'],
  ['delete', 'secrets/weft-ca', '-n', ROOT],
  ['get', 'configmaps/settings', '-n', 'shop'],
  ['list', 'configmaps', '-A'],
  ['delete', 'configmaps/weft-trust-bundle', '-n', 'shop'],
  ['create', 'pods', '-n', 'shop'],
  ['delete', 'pods', '-n', 'shop'],
  ['create', 'pods/exec', '-n', 'shop'],
  ['create', 'serviceaccounts/token', '-n', 'shop'],
  ['create', 'serviceaccounts', '-n', 'shop'],
  ['update', 'services', '-n', 'shop'],
  ['update', 'namespaces/shop'],
  ['create', 'authorizationpolicies.security.weft.dev', '-n', 'shop'],
  ['patch', 'authorizationpolicies.security.weft.dev/web', '-n', 'shop'],
  ['delete', 'authorizationpolicies.security.weft.dev/web', '-n', 'shop'],
  ['create', 'credentialbindings.security.weft.dev', '-n', 'shop'],
  ['patch', 'credentialbindings.security.weft.dev/web', '-n', 'shop'],
  ['delete', 'credentialbindings.security.weft.dev/web', '-n', 'shop'],
  ['watch', 'secrets/of-the-app', '-n', 'shop'],
  ['patch', 'authorizationpolicies.security.istio.io/web', '-n', 'shop', '--subresource=status'],
  ['patch', 'meshconfigs.mesh.weft.dev/weft', '-n', ROOT],
  ['delete', 'trustbundles.mesh.weft.dev/weft'],
  ['create', 'validatingwebhookconfigurations.admissionregistration.k8s.io'],
  ['create', 'workloadpolicies.security.weft.dev', '-n', 'shop'],
  ['delete', 'clusterworkloadpolicies.security.weft.dev/any'],
  ['create', 'mutatingadmissionpolicies.admissionregistration.k8s.io'],
  ['create', 'mutatingwebhookconfigurations.admissionregistration.k8s.io'],
  ['patch', 'mutatingwebhookconfigurations.admissionregistration.k8s.io/another'],
  ['delete', 'mutatingwebhookconfigurations.admissionregistration.k8s.io/weft-injector'],
  ['delete', 'mutatingwebhookconfigurations.admissionregistration.k8s.io/weft-images'],
  ['patch', 'customresourcedefinitions.apiextensions.k8s.io/meshconfigs.mesh.weft.dev'],
  ['create', 'clusterrolebindings.rbac.authorization.k8s.io'],
  ['bind', 'clusterroles.rbac.authorization.k8s.io/cluster-admin'],
  ['escalate', 'clusterroles.rbac.authorization.k8s.io/weft-control-plane'],
  ['impersonate', 'users'],
  ['get', 'leases.coordination.k8s.io/weft-control-plane', '-n', 'kube-system'],
  ['list', 'nodes'],
  ['create', 'deployments.apps', '-n', ROOT],
];

async function canI(question: readonly string[]): Promise<string> {
  const as = `--as=system:serviceaccount:${ROOT}:${ACCOUNT}`;
  return (await lab.kubectl(['auth', 'can-i', ...question, as])).stdout.trim();
}

test(
  'it may do nothing besides: no Secret of others, no Pod, no policy, no right of its own',
  only,
  async () => {
    assert.equal(await canI(['get', 'secrets/weft-ca', '-n', ROOT]), 'yes');
    for (const question of FORBIDDEN) {
      assert.equal(await canI(question), 'no', question.join(' '));
    }
  },
);

test(
  'with watchNamespaces it does its work there, and may look into no other namespace',
  withHelm,
  async () => {
    const set = ['--set', 'watchNamespaces={shop}', '--set', 'validator.enabled=false'];
    const end = await weft(lab, ['upgrade', '--no-wait', ...set]);
    assert.equal(end.code, 0, end.stderr);
    await lab.client.delete(CONFIG_MAPS, { name: 'weft-trust-bundle', namespace: 'shop' });
    await using daemon = await controlPlane('cp-1', '--watch-namespace', 'shop');
    await daemon.ready();
    await soon(daemon, 'the bundle in shop', () => hasBundle('shop'));
    assert.equal(
      (await lab.kubectl(['-n', 'shop', 'delete', 'authorizationpolicies', '--all'])).code,
      0,
    );
    await soon(daemon, 'a policy', async () => {
      return (await lab.client.create(AUTHORIZATION_POLICIES, policy('shop'))).ok;
    });
    await soon(daemon, 'the status of the policy', () => hasStatus('shop'));
    assert.deepEqual(complaints(daemon), []);
    const told = await weft(lab, ['check']);
    assert.match(told.stdout, /ok +rights: /);
    for (const [verb, what] of [
      ['list', 'pods'],
      ['get', 'pods'],
      ['list', 'services'],
      ['list', 'authorizationpolicies.security.weft.dev'],
      ['patch', 'authorizationpolicies.security.weft.dev/web'],
      ['get', 'configmaps/weft-trust-bundle'],
      ['create', 'events.events.k8s.io'],
    ] as const) {
      assert.equal(await canI([verb, what, '-n', 'bank']), 'no', `${verb} ${what}`);
    }
    assert.equal(await canI(['list', 'namespaces']), 'no');
  },
);
