// `weft install`, `upgrade` and `uninstall` bring a real API server to what the chart says, say what they do, and leave what is not theirs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { CHART } from '@weft/cli/install/render';
import { textAt } from '@weft/kube/object-fields';
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  MUTATING_WEBHOOKS,
  NAMESPACES,
  resource,
  SECRETS,
} from '@weft/kube/resource';
import { helmBinary } from '../support/go-tools.ts';
import { CA_BUNDLE, readyPods, trustWebhooks, weft } from '../support/installation.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { areGone } from '../support/kinds-gone.ts';

const helm = helmBinary();
const only = { skip: kubelabMissing() ?? false };
const withHelm = { skip: only.skip || ('missing' in helm ? helm.missing : false) };
const DEPLOYMENTS = resource('apps/v1', 'Deployment', 'deployments', 'namespaced');
const BUDGETS = resource('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets', 'namespaced');
const CONTROL_PLANE = { namespace: 'weft-system', name: 'weft-control-plane' };

let lab: Kubelab;
before(async () => {
  if (only.skip === false) lab = await startKubelab();
});
after(() => lab?.[Symbol.asyncDispose]());

async function isThere(of: typeof SECRETS, name: string, namespace?: string): Promise<boolean> {
  const found = await lab.client.get(of, { name, namespace });
  assert.ok(found.ok || found.code === 404, found.ok ? '' : found.message);
  return found.ok;
}

test('install --dry-run says everything that would be made, and makes nothing', only, async () => {
  const end = await weft(lab, ['install', '--dry-run'], { isHelm: false });
  assert.equal(end.code, 0, end.stderr);
  for (const object of [
    'Namespace weft-system',
    'CustomResourceDefinition authorizationpolicies.security.weft.dev',
    'Deployment weft-system/weft-control-plane',
    'ValidatingWebhookConfiguration weft-validator',
  ]) {
    assert.ok(end.stdout.includes(`+ ${object} created\n`), `${object}\n${end.stdout}`);
  }
  assert.match(end.stdout, /would be created, 0 would be changed/);
  assert.equal(await isThere(NAMESPACES, 'weft-system'), false);
});

test('without Helm a value that is set is refused, and no cluster is touched', only, async () => {
  const end = await weft(lab, ['install', '--set', 'replicas=3'], { isHelm: false });
  assert.equal(end.code, 1);
  assert.match(end.stderr, /Cannot change values without Helm: .*--helm PATH/);
  assert.equal(await isThere(NAMESPACES, 'weft-system'), false);
});

test(
  'install waits until the control plane is ready and its webhooks are trusted',
  only,
  async () => {
    await using kubelet = readyPods(lab);
    const [end] = await Promise.all([
      weft(lab, ['install', '--timeout', '120s'], { isHelm: false }),
      trustWebhooks(lab),
    ]);
    assert.equal(end.code, 0, end.stderr);
    assert.ok(kubelet);
    assert.match(end.stderr, /the plain manifests with the defaults/);
    assert.match(end.stderr, /has no caBundle yet|waiting for the webhooks/);
    const found = await lab.client.get(DEPLOYMENTS, CONTROL_PLANE);
    assert.ok(found.ok);
    assert.equal(textAt(found.value, 'metadata', 'labels', 'app.kubernetes.io/version'), '0.1.0');
  },
);

test(
  'install once more changes nothing, with Helm and without, and leaves caBundle to its owner',
  withHelm,
  async () => {
    for (const isHelm of [false, true]) {
      const end = await weft(lab, ['install'], { isHelm });
      assert.equal(end.code, 0, end.stderr);
      assert.match(end.stdout, /^0 created, 0 changed, 0 removed, \d+ unchanged$/m, `${isHelm}`);
    }
    const found = await lab.client.get(MUTATING_WEBHOOKS, { name: 'weft-injector' });
    assert.ok(found.ok);
    const caBundle = Buffer.from(CA_BUNDLE).toString('base64');
    assert.ok(JSON.stringify(found.value).includes(caBundle));
  },
);

test(
  'upgrade --dry-run says field by field what would change, and changes nothing',
  withHelm,
  async () => {
    const set = ['replicas=3', 'trustDomain=prod.example', 'injector.enabled=false'];
    const args = ['upgrade', '--dry-run', ...set.flatMap((one) => ['--set', one])];
    const end = await weft(lab, args);
    assert.equal(end.code, 0, end.stderr);
    assert.match(end.stdout, /spec\.replicas: 1 -> 3\n/);
    assert.match(
      end.stdout,
      /containers\.control-plane\.args: - "--trust-domain=cluster\.local"\n/,
    );
    assert.match(
      end.stdout,
      /containers\.control-plane\.args: \+ "--trust-domain=prod\.example"\n/,
    );
    assert.match(end.stdout, /- MutatingWebhookConfiguration weft-injector removed\n/);
    assert.match(end.stderr, /nothing was changed/);
    const again = await weft(lab, ['upgrade', '--dry-run']);
    assert.match(again.stdout, /^0 would be created, 0 would be changed, 0 would be removed/m);
  },
);

test(
  'upgrade makes what new values ask for, and removes what they no longer do',
  withHelm,
  async () => {
    const ha = ['--no-wait', '--values', join(CHART, 'values-ha.yaml')];
    const up = await weft(lab, ['upgrade', ...ha]);
    assert.equal(up.code, 0, up.stderr);
    assert.ok(await isThere(BUDGETS, CONTROL_PLANE.name, CONTROL_PLANE.namespace));
    const down = await weft(lab, ['upgrade', '--no-wait']);
    assert.equal(down.code, 0, down.stderr);
    assert.match(down.stdout, /- PodDisruptionBudget weft-system\/weft-control-plane removed/);
    assert.equal(await isThere(BUDGETS, CONTROL_PLANE.name, CONTROL_PLANE.namespace), false);
  },
);

test(
  'what keeps the control plane from being ready is said when the time is over',
  withHelm,
  async () => {
    const end = await weft(lab, ['upgrade', '--set', 'podLabels.x=y', '--timeout', '2s']);
    assert.equal(end.code, 1);
    assert.match(end.stderr, /Cannot wait longer than 2 s for the control plane: /);
  },
);

/** A kubeconfig of somebody who may only look. */
async function viewer(): Promise<string> {
  const steps = [
    ['create', 'serviceaccount', 'looker', '-n', 'default'],
    [
      'create',
      'clusterrolebinding',
      'looker',
      '--clusterrole=view',
      '--serviceaccount=default:looker',
    ],
  ];
  for (const step of steps) assert.equal((await lab.kubectl(step)).code, 0);
  const token = await lab.kubectl(['create', 'token', 'looker', '-n', 'default']);
  const path = join(lab.dir, 'looker.kubeconfig');
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

test('who may not install is told which verb on which resource is missing', only, async () => {
  const kubeconfig = await viewer();
  const end = await weft(lab, ['upgrade', '--no-wait'], { kubeconfig, isHelm: false });
  assert.equal(end.code, 1);
  assert.match(end.stderr, /needs verb "\w+" on "[a-z0-9.]+"/);
  const pre = await weft(lab, ['check', '--pre'], { kubeconfig });
  assert.equal(pre.code, 1);
  assert.match(pre.stdout, /you may not .*create clusterroles\.rbac\.authorization\.k8s\.io/);
  assert.match(pre.stdout, /cure: install as a cluster administrator/);
});

test(
  'uninstall takes webhooks first, keeps kinds and the CA, and says which Pods still have a sidecar',
  only,
  async () => {
    const made = await lab.client.create(SECRETS, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'weft-ca', namespace: 'weft-system' },
    });
    assert.ok(made.ok);
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web', annotations: { 'weft.dev/injected': '{}' } },
      spec: { containers: [{ name: 'web', image: 'web' }] },
    };
    const input = JSON.stringify(pod);
    assert.equal((await lab.kubectl(['apply', '-f', '-'], { input })).code, 0);
    const end = await weft(lab, ['uninstall']);
    assert.equal(end.code, 0, end.stderr);
    const [first = ''] = end.stdout.split('\n');
    assert.match(first, /WebhookConfiguration/);
    assert.ok(end.stdout.indexOf('Webhook') < end.stdout.indexOf('Deployment'));
    assert.match(end.stderr, /1 Pods still have a sidecar/);
    assert.match(end.stderr, /kubectl -n default rollout restart/);
    assert.equal(await isThere(DEPLOYMENTS, CONTROL_PLANE.name, CONTROL_PLANE.namespace), false);
    assert.ok(await isThere(SECRETS, 'weft-ca', 'weft-system'));
    assert.ok(await isThere(CUSTOM_RESOURCE_DEFINITIONS, 'meshconfigs.mesh.weft.dev'));
  },
);

const isNoKindLeft = (): Promise<boolean> =>
  areGone(
    (...args) => lab.kubectl(args),
    (name) => name.endsWith('weft.dev'),
  );

test('uninstall --purge leaves nothing of Weft', only, async () => {
  const end = await weft(lab, ['uninstall', '--purge']);
  assert.equal(end.code, 0, end.stderr);
  await eventually(async () => !(await isThere(NAMESPACES, 'weft-system')), {
    what: 'the namespace gone',
    withinMs: 30_000,
  });
  await eventually(isNoKindLeft, { what: 'every kind gone', withinMs: 30_000 });
  const kinds = [
    'clusterrole',
    'clusterrolebinding',
    'mutatingwebhookconfiguration',
    'validatingwebhookconfiguration',
  ];
  const left = await lab.kubectl(['get', kinds.join(','), '-o', 'name']);
  assert.equal(left.code, 0, left.stderr);
  assert.ok(!left.stdout.includes('weft'), left.stdout);
});

test('what Helm installed is left to Helm, which is named', withHelm, async () => {
  assert.ok('path' in helm);
  const end = await lab.kubectl(['create', 'namespace', 'weft-system']);
  assert.equal(end.code, 0, end.stderr);
  await promisify(execFile)(helm.path, [
    'install',
    'mesh',
    CHART,
    '-n',
    'weft-system',
    '--kubeconfig',
    lab.kubeconfig,
  ]);
  for (const [command, cure] of [
    ['install', 'helm upgrade mesh -n weft-system'],
    ['upgrade', 'helm upgrade mesh -n weft-system'],
    ['uninstall', 'helm uninstall mesh -n weft-system'],
  ] as const) {
    const refused = await weft(lab, [command]);
    assert.equal(refused.code, 1);
    assert.ok(refused.stderr.includes(cure), refused.stderr);
  }
});
