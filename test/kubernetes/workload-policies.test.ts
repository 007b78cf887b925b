// A WorkloadPolicy under a real API server: its ValidatingAdmissionPolicy, the process and Kubernetes' own standards say the same of every Pod.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  type CheckContext,
  describeFinding,
  findInPod,
} from '@weft/model/admission/check-workload';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import { readWorkload } from '@weft/model/admission/workload';
import { renderPolicy } from '@weft/controlplane/admission/render-policies';
import type { KubeResult } from '@weft/kube/kube-api';
import {
  NAMESPACES,
  PODS,
  SERVICE_ACCOUNTS,
  VALIDATING_ADMISSION_BINDINGS,
  VALIDATING_ADMISSION_POLICIES,
} from '@weft/kube/resource';
import type { PlainObject } from '@weft/model/policy/reader';
import fc from 'fast-check';
import { whyNot } from '../support/kube-objects.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { podArbitrary } from '../support/pod-arbitraries.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
const CAPTURE = 'example.test/weft-capture:1';
const context = (): CheckContext => ({
  nowMs: Date.now(),
  rootNamespace: 'weft-system',
  captureImage: CAPTURE,
});

/** Each is asked about a dozen times. */
const PODS_TRIED = 250;
/** Asked one by one, so that each is met alone as well as all together. */
const POLICIES: Readonly<Record<string, PlainObject>> = {
  baseline: { preset: 'baseline' },
  restricted: { preset: 'restricted' },
  'restricted-v1-30': { preset: 'restricted', presetVersion: 'v1.30' },
  own: {
    allowWeftCapture: true,
    readOnlyRootFilesystem: true,
    runAsNonRoot: true,
    automountServiceAccountToken: false,
    resources: { requests: ['cpu'], limits: ['memory'] },
    hostPaths: { allow: [{ path: '/var/log' }] },
    hostPorts: { allow: [9090] },
    seccomp: { allow: ['RuntimeDefault'] },
    seLinux: { allowTypes: ['spc_t'] },
    appArmor: { allow: ['RuntimeDefault'] },
    procMount: { allow: ['Default'] },
    sysctls: { allow: ['kernel.msgmax'] },
    volumeTypes: ['emptyDir', 'secret', 'hostPath', 'projected'],
    capabilities: { drop: ['NET_RAW'], allowAdd: ['CHOWN'] },
  },
  single: { hostPID: false, privileged: false, allowPrivilegeEscalation: false },
};
const STANDARDS: readonly (readonly [string, string, string])[] = [
  ['baseline', 'baseline', 'latest'],
  ['restricted', 'restricted', 'latest'],
  ['restricted-v1-30', 'restricted', 'v1.30'],
];

const policyOf = (
  namespace: string,
  spec: PlainObject,
  name: string = namespace,
): WorkloadPolicy => {
  const parsed = parseWorkloadPolicy(
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'WorkloadPolicy',
      metadata: { name, namespace },
      spec,
    },
    'WorkloadPolicy',
  );
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  return parsed.value;
};

const owned = new AsyncDisposableStack();
let lab: Kubelab;

async function makeNamespace(name: string, labels: PlainObject = {}): Promise<void> {
  const made = await lab.client.create(NAMESPACES, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels },
  });
  assert.ok(made.ok, whyNot(made));
  const account = { apiVersion: 'v1', kind: 'ServiceAccount' };
  const metadata = { name: 'default', namespace: name };
  const created = await lab.client.create(SERVICE_ACCOUNTS, { ...account, metadata });
  assert.ok(created.ok, whyNot(created));
}

async function enforce(policy: WorkloadPolicy): Promise<void> {
  const rendered = renderPolicy(policy, context());
  assert.ok(rendered);
  for (const [resource, object] of [
    [VALIDATING_ADMISSION_POLICIES, rendered.policy],
    [VALIDATING_ADMISSION_BINDINGS, rendered.binding],
  ] as const) {
    const made = await lab.client.apply(resource, object, {
      fieldManager: 'test',
      isForced: true,
    });
    assert.ok(made.ok, whyNot(made));
    const { spec } = made.value;
    assert.deepEqual(spec, object['spec'], 'what is read back equals what was sent');
  }
}

const create = (pod: PlainObject, namespace: string): Promise<KubeResult<PlainObject>> =>
  lab.client.create(
    PODS,
    { ...pod, metadata: { ...Object(pod['metadata']), namespace } },
    { isDryRun: true },
  );

const BAD: PlainObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', labels: { app: 'web' } },
  spec: {
    hostPID: true,
    containers: [{ name: 'app', image: 'i', securityContext: { privileged: true } }],
  },
};

before(async () => {
  if (skip !== false) return;
  lab = owned.use(await startKubelab({ controllers: [] }));
  await makeNamespace('free');
  for (const [name, pod] of Object.entries(POLICIES)) {
    await makeNamespace(name);
    await enforce(policyOf(name, { pod }));
  }
  for (const [name, level, version] of STANDARDS) {
    await makeNamespace(`psa-${name}`, {
      'pod-security.kubernetes.io/enforce': level,
      'pod-security.kubernetes.io/enforce-version': version,
    });
  }
  for (const name of Object.keys(POLICIES)) {
    await eventually(async () => !(await create(BAD, name)).ok, {
      what: `a policy in ${name}`,
      withinMs: 20_000,
      everyMs: 100,
    });
  }
});
after(() => owned.disposeAsync());

/** What the process says of a Pod as the API server made it whole. */
function textsOf(name: string, pod: PlainObject): readonly string[] {
  const metadata = { ...Object(pod['metadata']), namespace: name };
  const workload = readWorkload({ ...pod, apiVersion: 'v1', kind: 'Pod', metadata });
  assert.ok(workload);
  const policy = policyOf(name, { pod: POLICIES[name] });
  return findInPod(policy, { workload }, context()).map(describeFinding);
}

/** The message up to what the API server or the renderer cut. */
const MESSAGE = / refuses this Pod: (.*)$/s;

test('the API server finds word for word what the process finds, in each of many Pods, and the standards are those of Kubernetes', {
  ...only,
  timeout: 240_000,
}, async () => {
  const counts = { allowed: 0, refused: 0, invalid: 0 };
  for (const pod of fc.sample(podArbitrary, { numRuns: PODS_TRIED, seed: 7 })) {
    const whole = await create(pod, 'free');
    if (!whole.ok) {
      counts.invalid++;
      continue;
    }
    for (const name of Object.keys(POLICIES)) {
      const texts = textsOf(name, whole.value);
      const answer = await create(pod, name);
      const told = JSON.stringify(pod, undefined, 1);
      assert.equal(
        answer.ok,
        texts.length === 0,
        `${name}: ${whyNot(answer)}\n${texts.join()}\n${told}`,
      );
      counts[answer.ok ? 'allowed' : 'refused']++;
      if (answer.ok) continue;
      const said = MESSAGE.exec(answer.message)?.[1];
      const all = texts.join('; ');
      assert.equal(said, all.length > 4_000 ? `${all.slice(0, 4_000)}…` : all);
    }
    for (const [name] of STANDARDS) {
      const standard: KubeResult<PlainObject> = await create(pod, `psa-${name}`);
      const isGood: boolean = textsOf(name, whole.value).length === 0;
      assert.equal(standard.ok, isGood, `${name}: ${whyNot(standard)} ${JSON.stringify(pod)}`);
    }
  }
  assert.ok(counts.allowed > 50 && counts.refused > 50, JSON.stringify(counts));
  assert.ok(counts.invalid < PODS_TRIED / 2, JSON.stringify(counts));
});

const CAPTURE_STEP: PlainObject = {
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
};
const SAFE = {
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};
const LATER = '2999-01-01';
const exempting = (who: PlainObject, more: PlainObject = {}): PlainObject => ({
  pod: { preset: 'restricted' },
  exemptions: [{ who, reason: 'r', expires: LATER, ...more }],
});
/** Of the administrator, as whom all of this is asked. */
const GROUP = 'system:masters';
const SPECS: Readonly<Record<string, PlainObject>> = {
  capture: { pod: { preset: 'restricted', allowWeftCapture: true } },
  'exempt-label': exempting({ labels: { app: 'web' } }),
  'exempt-account': exempting({ serviceAccounts: ['default'] }, { checks: ['capabilities'] }),
  'exempt-group': exempting({ groups: ['others', GROUP] }, { checks: ['runAsUser', 'seccomp'] }),
  'exempt-user': exempting({ users: ['nobody'] }),
  'exempt-some': exempting({ groups: [GROUP], labels: { app: 'web' } }),
  labelled: { match: { labels: { app: 'web' } }, pod: { preset: 'baseline' } },
};
const pods = (): readonly PlainObject[] => {
  const steps: readonly PlainObject[] = [
    {},
    { image: 'evil' },
    { command: ['sh'] },
    { args: ['exec', 'x', 'y'] },
    { env: [{ name: 'A', value: 'b' }] },
    { restartPolicy: 'Always' },
    {
      securityContext: {
        ...Object(CAPTURE_STEP['securityContext']),
        readOnlyRootFilesystem: false,
      },
    },
  ];
  return steps.flatMap((more) =>
    [{}, { app: 'web' }].map((labels) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p', labels },
      spec: {
        automountServiceAccountToken: false,
        initContainers: [{ ...CAPTURE_STEP, ...more }],
        containers: [{ name: 'app', image: 'i', securityContext: SAFE }],
      },
    })),
  );
};

test('the API server leaves out whom the process leaves out, and knows Weft by the same signs', {
  ...only,
  timeout: 120_000,
}, async () => {
  for (const [name, spec] of Object.entries(SPECS)) {
    await makeNamespace(name);
    await enforce(policyOf(name, spec));
    const worst = { ...BAD, spec: { ...Object(BAD['spec']), hostNetwork: true } };
    if (name.includes('exempt-some') || name === 'exempt-label') {
      const { labels: _, ...metadata } = Object(BAD['metadata']);
      Object.assign(worst, { metadata });
    }
    await eventually(async () => !(await create(worst, name)).ok, {
      what: `a policy in ${name}`,
      withinMs: 20_000,
      everyMs: 100,
    });
    for (const pod of pods()) {
      const whole = await create(pod, 'free');
      assert.ok(whole.ok, whyNot(whole));
      const metadata = { ...Object(pod['metadata']), namespace: name };
      const workload = readWorkload({ ...whole.value, apiVersion: 'v1', kind: 'Pod', metadata });
      assert.ok(workload);
      const user = { name: 'admin', groups: [GROUP] };
      const found = findInPod(policyOf(name, spec), { workload, user }, context());
      const answer = await create(pod, name);
      const said = answer.ok ? '' : (MESSAGE.exec(answer.message)?.[1] ?? answer.message);
      assert.equal(said, found.map(describeFinding).join('; '), JSON.stringify(pod));
    }
  }
});
