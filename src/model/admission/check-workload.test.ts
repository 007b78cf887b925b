// For whom a WorkloadPolicy holds, whom it leaves out, and what it finds; that the API server finds the same is tested against a real one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainObject } from '../policy/reader.ts';
import {
  type CheckContext,
  describeFinding,
  type Finding,
  findInPod,
  type WorkloadRequest,
} from './check-workload.ts';
import { parseWorkloadPolicy } from './parse-workload-policy.ts';
import type { WorkloadPolicy, WorkloadPolicyKind } from './types.ts';
import { readWorkload, type Workload } from './workload.ts';

const NOW = Date.UTC(2027, 0, 1);
const CAPTURE = 'weft/capture:1';
const context: CheckContext = {
  nowMs: NOW,
  rootNamespace: 'weft-system',
  captureImage: CAPTURE,
};

function policyOf(spec: PlainObject, kind: WorkloadPolicyKind = 'WorkloadPolicy'): WorkloadPolicy {
  const parsed = parseWorkloadPolicy(
    { apiVersion: 'security.weft.dev/v1', kind, metadata: { name: 'p', namespace: 'shop' }, spec },
    kind,
  );
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  return parsed.value;
}

function podOf(spec: PlainObject = {}, metadata: PlainObject = {}): Workload {
  const workload = readWorkload({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'shop', ...metadata },
    spec: { containers: [{ name: 'web', securityContext: { privileged: true } }], ...spec },
  });
  assert.ok(workload);
  return workload;
}

const find = (
  spec: PlainObject,
  request: Partial<WorkloadRequest> = {},
  kind?: WorkloadPolicyKind,
): readonly Finding[] =>
  findInPod(policyOf(spec, kind), { workload: podOf(), ...request }, context);

const UNPRIVILEGED = { pod: { privileged: false } };

test('a finding names container, field, value, rule and cure', () => {
  assert.deepEqual(find(UNPRIVILEGED).map(describeFinding), [
    'container "web": securityContext.privileged is true (privileged, spec.pod.privileged) — remove securityContext.privileged',
  ]);
});

const exemption = (who: PlainObject, more: PlainObject = {}): PlainObject => ({
  ...UNPRIVILEGED,
  exemptions: [{ who, reason: 'r', expires: '2027-06-01', ...more }],
});
const USER = { name: 'ci', groups: ['team'] };
const labelled = podOf({ serviceAccountName: 'sa' }, { labels: { app: 'web' } });

const HELD: readonly (readonly [string, PlainObject, Partial<WorkloadRequest>, number])[] = [
  ['another namespace', UNPRIVILEGED, { workload: podOf({}, { namespace: 'other' }) }, 0],
  ['another kind', { ...UNPRIVILEGED, match: { kinds: ['Deployment'] } }, {}, 0],
  ['a label that is not there', { ...UNPRIVILEGED, match: { labels: { app: 'web' } } }, {}, 0],
  [
    'a label that is there',
    { ...UNPRIVILEGED, match: { labels: { app: 'web' } } },
    { workload: labelled },
    1,
  ],
  ['an exempt label', exemption({ labels: { app: 'web' } }), { workload: labelled }, 0],
  ['an exempt account', exemption({ serviceAccounts: ['sa'] }), { workload: labelled }, 0],
  ['an account by default', exemption({ serviceAccounts: ['default'] }), {}, 0],
  ['an exempt user', exemption({ users: ['ci'] }), { user: USER }, 0],
  ['an exempt group', exemption({ groups: ['team'] }), { user: USER }, 0],
  ['an exempt user of whom nothing is known', exemption({ users: ['ci'] }), {}, 1],
  [
    'half of who is exempt',
    exemption({ users: ['ci'], labels: { app: 'web' } }),
    { user: USER },
    1,
  ],
  [
    'an exemption from another check',
    exemption({ users: ['ci'] }, { checks: ['seccomp'] }),
    { user: USER },
    1,
  ],
  [
    'an exemption that has ended',
    exemption({ users: ['ci'] }, { expires: '2027-01-01' }),
    { user: USER },
    1,
  ],
];
for (const [what, spec, request, count] of HELD) {
  test(`a policy ${count === 0 ? 'leaves out' : 'holds for'} ${what}`, () => {
    assert.equal(find(spec, request).length, count);
  });
}

const CLUSTER: readonly (readonly [string, PlainObject, string, number])[] = [
  ['a namespace', {}, 'shop', 1],
  ["Kubernetes' own namespaces", {}, 'kube-system', 0],
  ['that of Weft', {}, 'weft-system', 0],
  ["Kubernetes' own where they are named", { namespaces: ['kube-system'] }, 'kube-system', 1],
  ['a namespace that is left out', { notNamespaces: ['shop'] }, 'shop', 0],
  ['a namespace that is not named', { namespaces: ['a'] }, 'shop', 0],
  ['labels of a namespace of which nothing is known', { namespaceLabels: { a: 'b' } }, 'shop', 1],
];
for (const [what, match, namespace, count] of CLUSTER) {
  test(`a policy of the cluster ${count === 0 ? 'leaves out' : 'holds for'} ${what}`, () => {
    const workload = podOf({}, { namespace });
    const found = find({ ...UNPRIVILEGED, match }, { workload }, 'ClusterWorkloadPolicy');
    assert.equal(found.length, count);
  });
}

test('an update that changes nothing of a Pod is looked at only where the policy is new for it', () => {
  const spec = { ...UNPRIVILEGED, match: { labels: { app: 'web' } } };
  const one = podOf({}, { labels: { app: 'web', more: 'x' } });
  const same = podOf({}, { labels: { app: 'web' } });
  const other = podOf({}, { labels: {} });
  const changed = podOf({ hostPID: true }, { labels: { app: 'web' } });
  assert.equal(find(spec, { workload: one, old: same }).length, 0);
  assert.equal(find(spec, { workload: one, old: other }).length, 1);
  assert.equal(find(spec, { workload: one, old: changed }).length, 1);
  const ending = { ...one, isDeleting: true };
  assert.equal(find(spec, { workload: ending, old: other }).length, 0);
});

test('an update out of an exemption is looked at', () => {
  const spec = exemption({ labels: { app: 'legacy' } });
  const old = podOf({}, { labels: { app: 'legacy' } });
  assert.equal(find(spec, { workload: podOf(), old }).length, 1);
  assert.equal(find(spec, { workload: old, old: podOf() }).length, 0);
});

const capture = (more: PlainObject = {}): PlainObject => ({
  name: 'weft-capture',
  image: CAPTURE,
  args: ['capture', 'apply', '--proxy-uid', '1337'],
  securityContext: {
    runAsUser: 0,
    runAsNonRoot: false,
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
    seccompProfile: { type: 'RuntimeDefault' },
  },
  volumeMounts: [
    {
      name: 'weft-no-api-token',
      mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
      readOnly: true,
    },
  ],
  ...more,
});
const SAFE = {
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};
const meshed = (init: PlainObject): Workload =>
  podOf({ containers: [{ name: 'web', securityContext: SAFE }], initContainers: [init] });

test("Weft's own step passes where the policy lets it, and nothing that only looks like it (threat: a privileged container by a trusted name)", () => {
  const spec = { pod: { preset: 'restricted', allowWeftCapture: true } };
  assert.deepEqual(find(spec, { workload: meshed(capture()) }), []);
  assert.ok(find({ pod: { preset: 'restricted' } }, { workload: meshed(capture()) }).length > 0);
  const others: readonly PlainObject[] = [
    { image: 'evil/capture:1' },
    { name: 'other' },
    { command: ['sh'] },
    { args: ['exec', 'sh'] },
    { env: [{ name: 'A', value: 'b' }] },
    { volumeMounts: [{ name: 'host', mountPath: '/host' }] },
    { securityContext: { ...Object(capture()['securityContext']), privileged: true } },
    { lifecycle: { postStart: { exec: { command: ['sh'] } } } },
  ];
  for (const more of others) {
    const found = find(spec, { workload: meshed(capture(more)) });
    assert.ok(found.length > 0, JSON.stringify(more));
  }
  const main = podOf({ containers: [capture()] });
  assert.ok(find(spec, { workload: main }).length > 0, 'it is no main container');
});

test('what is no boolean where one belongs does not pass', () => {
  const workload = podOf({
    containers: [
      { name: 'web', securityContext: { privileged: 'yes', allowPrivilegeEscalation: 'false' } },
    ],
  });
  const found = find({ pod: { privileged: false, allowPrivilegeEscalation: false } }, { workload });
  assert.equal(found.length, 2);
});
