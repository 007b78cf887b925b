// WorkloadPolicies that cannot be read close; what runs is reported; and uninstalling leaves nothing behind that refuses.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OWN_LABEL } from '@weft/controlplane/admission/render-policies';
import { CHECK_NAMES, parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import { WORKLOAD_KINDS } from '@weft/model/admission/types';
import { VALIDATING_ADMISSION_BINDINGS, VALIDATING_ADMISSION_POLICIES } from '@weft/kube/resource';
import type { PlainObject } from '@weft/model/policy/reader';
import { weft } from '../support/installation.ts';
import { kubelabMissing, type KubectlEnd } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { openWorkloadRig, type WorkloadRig, workloadPolicy } from '../support/workload-rig.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
let rig: WorkloadRig;
before(async () => {
  if (skip === false) rig = await openWorkloadRig({ namespaces: { shop: {}, bank: {} } });
});
after(() => rig?.[Symbol.asyncDispose]());

const podOf = (name: string, namespace: string, securityContext: PlainObject): PlainObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace },
  spec: {
    automountServiceAccountToken: false,
    containers: [{ name: 'web', image: 'example.test/web:1', securityContext }],
  },
});

const report = (...args: readonly string[]): Promise<KubectlEnd> =>
  weft(rig.lab, ['admission', 'report', ...args], { isHelm: false });

test('report says what the Pods that run would be refused for', only, async () => {
  for (const [name, privileged] of [
    ['good', false],
    ['bad', true],
  ] as const) {
    const made = await rig.apply(podOf(name, 'shop', { privileged }));
    assert.equal(made.code, 0, made.stderr);
  }
  const noting = workloadPolicy('p', 'shop', { mode: 'audit', pod: { privileged: false } });
  assert.equal((await rig.apply(noting)).code, 0);
  const noted = await report('--in', 'shop', '--all');
  assert.equal(noted.code, 0, noted.stderr);
  assert.match(
    noted.stdout,
    /^noted {4}Pod shop\/bad: WorkloadPolicy shop\/p: container "web": securityContext\.privileged is true \(privileged, spec\.pod\.privileged\) — /m,
  );
  assert.match(noted.stdout, /^ok {7}Pod shop\/good$/m);
  assert.equal((await rig.apply({ ...noting, spec: { pod: { privileged: false } } })).code, 0);
  const refused = await report('--json');
  assert.equal(refused.code, 1);
  const { isGood, workloads } = JSON.parse(refused.stdout);
  assert.equal(isGood, false);
  const bad = workloads.find(({ name }: { readonly name: string }) => name === 'Pod shop/bad');
  assert.equal(bad.findings[0].container, 'web');
  assert.equal(bad.findings[0].mode, 'enforce');
});

test(
  'a policy that cannot be read refuses all that it selects, until it can be (threat: fail open)',
  only,
  async () => {
    const spec = { pod: { privileged: false, hostPaths: { allow: [{ path: '/a/../b' }] } } };
    const broken = workloadPolicy('broken', 'bank', spec);
    const applied = await rig.apply(broken);
    assert.equal(applied.code, 0, applied.stderr);
    const good = podOf('p', 'bank', {});
    const said = await rig.untilRefused(good, 'a Pod under a broken policy');
    assert.match(said, /the policy cannot be read.*correct or delete WorkloadPolicy bank\/broken/);
    const status = await rig.untilEnforced(broken, 'False');
    assert.match(JSON.stringify(status), /is no whole path/);
    const told = await report('--in', 'bank');
    assert.equal(told.code, 1);
    assert.match(told.stderr, /WorkloadPolicy bank\/broken .*is no whole path/);
    await rig.enforce(workloadPolicy('broken', 'bank', { pod: { privileged: false } }));
    await eventually(async () => (await rig.tryOut(good)).code === 0, {
      what: 'a Pod that is made again',
      withinMs: 20_000,
      everyMs: 100,
    });
  },
);

test('a broken version leaves the last good one in force', only, async () => {
  const next = workloadPolicy('broken', 'bank', {
    pod: { preset: 'baseline', presetVersion: 'v9' },
  });
  assert.equal((await rig.apply(next)).code, 0);
  await rig.untilEnforced(next, 'False');
  const refused = await rig.tryOut(podOf('p', 'bank', { privileged: true }));
  assert.match(refused.stderr, /securityContext\.privileged is true/);
  const good = await rig.tryOut(podOf('p', 'bank', {}));
  assert.equal(good.code, 0, good.stderr);
});

const EVERYTHING: PlainObject = {
  mode: 'audit',
  match: { kinds: [...WORKLOAD_KINDS], labels: { app: 'web' } },
  exemptions: [
    {
      who: { labels: { a: 'b' }, serviceAccounts: ['s'], users: ['u'], groups: ['g'] },
      checks: [...CHECK_NAMES],
      reason: 'r',
      expires: '2027-01-01T00:00:00+01:00',
    },
  ],
  pod: {
    preset: 'baseline',
    presetVersion: 'v1.30',
    allowWeftCapture: true,
    runAsNonRoot: true,
    readOnlyRootFilesystem: true,
    privileged: false,
    allowPrivilegeEscalation: false,
    automountServiceAccountToken: false,
    hostNetwork: false,
    hostPID: false,
    hostIPC: false,
    capabilities: { drop: ['ALL'], allowAdd: ['CHOWN'] },
    hostPorts: { allow: [9100] },
    hostPaths: { allow: [{ path: '/var/log', readOnly: false }] },
    volumeTypes: ['emptyDir'],
    seccomp: { allow: ['RuntimeDefault'] },
    appArmor: { allow: ['RuntimeDefault'] },
    seLinux: { allowTypes: ['container_t'] },
    procMount: { allow: ['Default'] },
    sysctls: { allow: ['kernel.msgmax'] },
    resources: { requests: ['cpu'], limits: ['memory'] },
  },
};

test(
  'all that a policy can say is taken by parser, schema and API server alike',
  only,
  async () => {
    const object = workloadPolicy('everything', 'shop', EVERYTHING);
    const parsed = parseWorkloadPolicy(object, 'WorkloadPolicy');
    assert.deepEqual(parsed.problems, []);
    const applied = await rig.apply(object, ['--validate=strict']);
    assert.equal(applied.code, 0, applied.stderr);
    const status = await rig.untilEnforced(object, 'False');
    assert.match(JSON.stringify(status), /"NotEnforcing"/);
    assert.deepEqual(rig.keeper?.problems, []);
    const misspelt = workloadPolicy('misspelt', 'shop', { pod: { priviledged: false } });
    const kept = await rig.apply(misspelt, ['--validate=false', '-o', 'json', '--dry-run=server']);
    assert.match(kept.stdout, /priviledged/, 'what is misspelt stays to be refused');
  },
);

test('uninstall takes away what refuses', only, async () => {
  await rig.stopKeeping();
  const ended = await weft(rig.lab, ['uninstall'], { isHelm: false });
  assert.equal(ended.code, 0, ended.stderr);
  for (const resource of [VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_BINDINGS]) {
    const left = await rig.lab.client.list(resource, { labelSelector: OWN_LABEL });
    assert.ok(left.ok);
    assert.deepEqual(left.value.items, []);
  }
});
