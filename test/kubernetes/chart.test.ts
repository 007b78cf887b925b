// The chart is what its source says, refuses what it does not know, and the API server takes every object of it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { chartFiles } from '@weft/cli/install/chart-files';
import { CHART_VALUES, isGroup, type ValueTree } from '@weft/cli/install/chart-values';
import {
  CHART,
  DEFAULT_NAMESPACE,
  PLAIN_MANIFESTS,
  renderManifests,
} from '@weft/cli/install/render';
import { helmBinary } from '../support/go-tools.ts';
import { installCrds } from '../support/kube-objects.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { runWeft } from '../support/lab-daemon.ts';

const run = promisify(execFile);
const helm = helmBinary();
const needsHelm = { skip: 'missing' in helm ? helm.missing : false };
const needsBoth = { skip: kubelabMissing() ?? needsHelm.skip };
const path = 'path' in helm ? helm.path : '';

const HA = join(CHART, 'values-ha.yaml');
/** Everything that is off by default, on; and every text that may be empty, filled. */
const EVERYTHING = [
  'watchNamespaces={shop,bank}',
  'imagePullSecrets[0].name=pull',
  `image.digest=sha256:${'a'.repeat(64)}`,
  'ca.secretName=own-ca',
  'federation.endpoint.enabled=true',
  'federation.endpoint.tlsSecret=bundle-web',
  'credentials.secrets.shop={shop-db}',
  'credentials.sources[0].name=files',
  'credentials.sources[0].namespaces={shop}',
  'credentials.sources[0].folder.path=/etc/weft/credentials',
  'credentials.vaultAudience=vault',
  'credentials.volumes[0].name=own',
  'credentials.volumes[0].secret.secretName=own',
  'credentials.volumeMounts[0].name=own',
  'credentials.volumeMounts[0].mountPath=/etc/weft/credentials',
  'sidecar.cpuLimit=1',
  'injector.excludedNamespaces={backup}',
  'podDisruptionBudget.enabled=true',
  'topologySpread.enabled=true',
  'antiAffinity=required',
  'nodeSelector.pool=system',
  'tolerations[0].operator=Exists',
  'podAnnotations.a=b',
  'podLabels.c=d',
  'priorityClass.create=true',
  'networkPolicy.enabled=true',
  'networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.x=y',
  'serviceMonitor.enabled=true',
  'serviceMonitor.labels.team=ops',
];
const asArgs = (set: readonly string[]): readonly string[] => set.flatMap((one) => ['--set', one]);

async function template(...args: readonly string[]): Promise<string> {
  const all = ['template', 'weft', CHART, '--namespace', DEFAULT_NAMESPACE, ...args];
  return (await run(path, all, { maxBuffer: 16_777_216 })).stdout;
}

test('the made files of the chart are what `npm run gen` writes', () => {
  for (const [file, text] of chartFiles()) {
    assert.equal(readFileSync(join(CHART, file), 'utf8'), text, file);
  }
});

test('deploy/manifests is the chart with its defaults', needsHelm, async () => {
  const asked = { helm: path, namespace: DEFAULT_NAMESPACE, values: [], set: [] };
  const { text } = await renderManifests(asked);
  const [, ...kept] = readFileSync(PLAIN_MANIFESTS, 'utf8').split('\n');
  assert.equal(kept.join('\n'), text);
});

for (const [name, args] of [
  ['its defaults', []],
  ['values-ha.yaml', ['--values', HA]],
  ['everything on', asArgs(EVERYTHING)],
] as const) {
  test(`helm lint finds nothing in the chart with ${name}`, needsHelm, async () => {
    const { stdout } = await run(path, ['lint', '--strict', CHART, ...args]);
    assert.match(stdout, /0 chart\(s\) failed/);
  });
}

test(
  'a value that is misspelt, or not one of those there are, is refused by name',
  needsHelm,
  async () => {
    for (const [set, named] of [
      ['replica=3', /replica/],
      ['injector.enable=false', /injector.*enable/s],
      ['replicas=0', /replicas/],
      ['antiAffinity=some', /antiAffinity.*preferred/s],
      ['trustDomain=Not A Name', /trustDomain/],
      ['ca.svidTtl=1 hour', /svidTtl/],
      ['sidecar.memory=', /sidecar.*memory/s],
      ['image.digest=sha256:0', /digest/],
    ] as const) {
      await assert.rejects(template('--set', set), (error: unknown) => {
        assert.ok(error instanceof Error && 'stderr' in error);
        assert.match(String(error.stderr), named, set);
        return true;
      });
    }
  },
);

test('every value is of some use in a template', () => {
  const templates = ['_helpers.tpl', 'deployment.yaml', 'role.yaml', 'cluster-role.yaml']
    .concat(['webhooks.yaml', 'crds.yaml', 'availability.yaml', 'network-policy.yaml'])
    .concat([
      'service-monitor.yaml',
      'service-account.yaml',
      'aggregated-roles.yaml',
      'credentials.yaml',
    ])
    .map((name) => readFileSync(join(CHART, 'templates', name), 'utf8'))
    .join('\n');
  const check = (tree: ValueTree, above: string): void => {
    for (const [key, node] of Object.entries(tree)) {
      const name = `${above}.${key}`;
      // An image is given to a helper whole.
      if (templates.includes(`"image" .Values${name} `)) continue;
      if (isGroup(node)) check(node.values, name);
      else assert.ok(templates.includes(`.Values${name}`), name);
    }
  };
  check(CHART_VALUES, '');
});

let lab: Kubelab;
before(async () => {
  if (needsBoth.skip !== false) return;
  lab = await startKubelab({ controllers: [] });
  await installCrds(lab);
  for (const name of [DEFAULT_NAMESPACE, 'shop', 'bank']) {
    const made = await lab.kubectl(['create', 'namespace', name]);
    assert.equal(made.code, 0, made.stderr);
  }
});
after(() => lab?.[Symbol.asyncDispose]());

/** As `kubectl apply`, with fields that the server does not know being an error. */
async function dryRun(input: string): Promise<readonly string[]> {
  const args = ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '-f', '-'];
  const end = await lab.kubectl([...args, '--validate=strict'], { input });
  assert.equal(end.code, 0, end.stderr);
  return end.stdout.trim().split('\n');
}

test('the API server takes every object of the plain manifests', needsBoth, async () => {
  const taken = await dryRun(readFileSync(PLAIN_MANIFESTS, 'utf8'));
  assert.ok(taken.length >= 17, taken.join('\n'));
});

test('the API server takes every object of the chart with values-ha.yaml', needsBoth, async () => {
  const taken = (await dryRun(await template('--values', HA))).join('\n');
  for (const kind of ['poddisruptionbudget', 'priorityclass', 'networkpolicy', 'deployment']) {
    assert.ok(taken.includes(kind), `${kind}: ${taken}`);
  }
});

test(
  'the API server takes every object of the chart with everything on but the kind of the Prometheus operator',
  needsBoth,
  async () => {
    const set = EVERYTHING.filter((one) => !one.startsWith('serviceMonitor'));
    const taken = (await dryRun(await template(...asArgs(set)))).join('\n');
    assert.ok(taken.includes('role.rbac.authorization.k8s.io/weft-mesh'), taken);
  },
);

test(
  'a Pod of the control plane is let in where Pods must be `restricted`',
  needsBoth,
  async () => {
    const label = 'pod-security.kubernetes.io/enforce=restricted';
    const labelled = await lab.kubectl(['label', 'namespace', DEFAULT_NAMESPACE, label]);
    assert.equal(labelled.code, 0, labelled.stderr);
    const end = await lab.kubectl(
      ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '-f', '-'],
      { input: await template('--values', HA) },
    );
    assert.equal(end.code, 0, end.stderr);
    assert.ok(!end.stderr.includes('PodSecurity'), end.stderr);
  },
);

test(
  'every argument of the control plane is one that `weft control-plane` takes',
  needsHelm,
  async () => {
    const text = await template(...asArgs(EVERYTHING));
    const flags = new Set(text.match(/^ +- --[a-z][a-z-]*/gm)?.map((line) => line.trim().slice(2)));
    assert.ok(flags.size > 15);
    const { stdout } = await runWeft(['control-plane', '--help']);
    for (const flag of flags)
      assert.ok(stdout.includes(`  ${flag} `) || stdout.includes(`  ${flag}\n`), flag);
  },
);

test('the API server takes every object of the example', needsBoth, async () => {
  const folder = join(CHART, '../../examples/kubernetes');
  for (const file of ['shop.yaml', 'policies.yaml']) {
    const taken = await dryRun(readFileSync(join(folder, file), 'utf8'));
    assert.ok(taken.length >= 5, taken.join('\n'));
  }
});
