// WorkloadPolicies from being written to being enforced, under a real API server: by Weft's webhook, and without it by the API server itself.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Authority, openAuthority } from '@weft/ca/authority';
import { createMemoryStore } from '@weft/ca/store/memory';
import { OWN_LABEL } from '@weft/controlplane/admission/render-policies';
import { WORKLOADS } from '@weft/controlplane/admission/render-webhooks';
import { openWebhookServer, type WebhookServer } from '@weft/controlplane/admission/webhook-server';
import { workloadReviews } from '@weft/controlplane/admission/workload-reviews';
import { StatusWriter } from '@weft/controlplane/kubernetes/status-writer';
import { WorkloadPolicyKeeper } from '@weft/controlplane/kubernetes/workload-policy-keeper';
import {
  type KubernetesSource,
  openKubernetesSource,
} from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { objectAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  CLUSTER_WORKLOAD_POLICIES,
  type KubeResource,
  NAMESPACES,
  PODS,
  SERVICE_ACCOUNTS,
  VALIDATING_ADMISSION_BINDINGS,
  VALIDATING_ADMISSION_POLICIES,
  VALIDATING_WEBHOOKS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { installCrds, whyNot } from '../support/kube-objects.ts';
import { type Kubelab, type KubectlEnd, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
const log = pino({ level: 'silent' });
const context = { rootNamespace: 'weft-system', captureImage: 'weft/capture:1' };

const owned = new AsyncDisposableStack();
let lab: Kubelab;
let authority: Authority;
let source: KubernetesSource;
let keeper: WorkloadPolicyKeeper;
let server: WebhookServer | undefined;
let port = 0;
const findings: string[] = [];
const listeners = new Set<() => void>();

async function listen(): Promise<void> {
  server = await openWebhookServer({
    address: { host: '127.0.0.1', port },
    authority,
    dnsNames: ['weft-control-plane.weft-system.svc'],
    ipAddresses: ['127.0.0.1'],
    reviews: new Map(
      workloadReviews({
        snapshot: () => source.state.snapshot,
        context,
        clock: systemClock,
        onFinding: (mode, check) => findings.push(`${mode} ${check}`),
      }),
    ),
    log,
  });
  ({ port } = server.address);
}

async function hangUp(): Promise<void> {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
}

function keep(): WorkloadPolicyKeeper {
  return new WorkloadPolicyKeeper({
    client: lab.client,
    source,
    context,
    bundle: () => authority.bundle(),
    onBundleChange: (listener) => authority.onBundleChange(() => listener()),
    clientConfig: (path) => ({ url: `https://127.0.0.1:${port}${path}` }),
    onChange: () => {
      for (const listener of listeners) listener();
    },
    clock: systemClock,
    log,
  });
}

async function make(resource: KubeResource, object: PlainObject): Promise<void> {
  const whole = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
  const made = await lab.client.create(resource, whole);
  assert.ok(made.ok, whyNot(made));
}

const apply = (object: PlainObject, more: readonly string[] = []): Promise<KubectlEnd> =>
  lab.kubectl(['apply', '-f', '-', ...more], { input: JSON.stringify(object) });

const policy = (name: string, namespace: string, spec: PlainObject): PlainObject => ({
  apiVersion: apiVersionOf(WORKLOAD_POLICIES),
  kind: WORKLOAD_POLICIES.kind,
  metadata: { name, namespace },
  spec,
});

/** Written, and seen to be enforced by the API server. */
async function enforce(object: PlainObject): Promise<void> {
  const applied = await apply(object);
  assert.equal(applied.code, 0, applied.stderr);
  await untilEnforced(object);
}

async function untilEnforced(object: PlainObject, isCondition = 'True'): Promise<PlainObject> {
  const metadata = objectAt(object, 'metadata') ?? {};
  const { name, namespace } = metadata;
  const target = {
    name: typeof name === 'string' ? name : '',
    ...(typeof namespace === 'string' && { namespace }),
  };
  const isCluster = object['kind'] === CLUSTER_WORKLOAD_POLICIES.kind;
  const resource = isCluster ? CLUSTER_WORKLOAD_POLICIES : WORKLOAD_POLICIES;
  return eventually(
    async () => {
      const found = await lab.client.get(resource, target);
      assert.ok(found.ok, whyNot(found));
      const status = objectAt(found.value, 'status') ?? {};
      const { conditions } = status;
      const list: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
      const generation = objectAt(found.value, 'metadata')?.['generation'];
      const isSo =
        status['observedGeneration'] === generation &&
        list.some(
          (one) =>
            isPlainObject(one) && one['type'] === 'Enforced' && one['status'] === isCondition,
        );
      return isSo ? status : undefined;
    },
    { what: `${target.name} enforced: ${isCondition}`, withinMs: 20_000, everyMs: 50 },
  );
}

const SAFE = {
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};
const specOf = (securityContext: PlainObject, name = 'web'): PlainObject => ({
  automountServiceAccountToken: false,
  containers: [{ name, image: 'example.test/web:1', securityContext }],
});
const podOf = (
  name: string,
  namespace: string,
  spec: PlainObject,
  labels: PlainObject = {},
): PlainObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels },
  spec,
});
const PRIVILEGED = { ...SAFE, allowPrivilegeEscalation: true, privileged: true };

const untilRefused = (object: PlainObject, what: string): Promise<string> =>
  eventually(
    async () => {
      const end = await apply(object, ['--dry-run=server']);
      return end.code === 0 ? undefined : end.stderr;
    },
    { what, withinMs: 30_000, everyMs: 100 },
  );

before(async () => {
  if (skip !== false) return;
  lab = owned.use(await startKubelab({ controllers: [] }));
  await installCrds(lab);
  for (const name of ['shop', 'other', 'weft-system', 'team']) {
    const metadata = { name, ...(name === 'team' && { labels: { tier: 'prod' } }) };
    await make(NAMESPACES, { metadata });
    await make(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace: name } });
  }
  await make(VALIDATING_WEBHOOKS, { metadata: { name: WORKLOADS } });
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  authority = owned.use(await openAuthority({ store: createMemoryStore(), trustDomain }));
  const { client } = lab;
  source = owned.use(await openKubernetesSource({ client, rootNamespace: 'weft-system' }));
  await listen();
  owned.defer(hangUp);
  keeper = keep();
  owned.defer(() => keeper[Symbol.asyncDispose]());
  const mesh = { policies: { authorization: [] } };
  owned.use(
    new StatusWriter({
      client,
      source,
      // Nothing of a mesh is in this test.
      views: {
        snapshot: () => source.state.snapshot,
        mesh: () => mesh as never,
        problems: () => source.state.problems,
        subscribe: (listener) => source.subscribe(listener),
      },
      policies: { reports: () => [], subscribe: () => ({ [Symbol.dispose]() {} }) },
      workloads: {
        stateOf: (one) => keeper.stateOf(one),
        subscribe(listener) {
          listeners.add(listener);
          return { [Symbol.dispose]: () => void listeners.delete(listener) };
        },
      },
      clock: systemClock,
      log,
    }),
  );
});
after(() => owned.disposeAsync());

test('without a policy nobody is asked about any Pod', only, async () => {
  const found = await lab.client.get(VALIDATING_WEBHOOKS, { name: WORKLOADS });
  assert.ok(found.ok);
  assert.equal(found.value['webhooks'], undefined);
});

test(
  'a Pod is refused with container, field, value, rule and cure; its status says by what',
  only,
  async () => {
    const restricted = policy('restricted', 'shop', { pod: { preset: 'restricted' } });
    await enforce(restricted);
    const status = await untilEnforced(restricted);
    assert.equal(status['rendered'], 'shop.restricted.workloads.weft.dev');
    const said = await untilRefused(podOf('p', 'shop', specOf(PRIVILEGED)), 'a privileged Pod');
    assert.match(
      said,
      /WorkloadPolicy shop\/restricted refuses (?:this Pod|Pod shop\/p): container "web": securityContext\.privileged is true \(privileged, restricted \(Pod Security Standards latest\)\) — remove securityContext\.privileged; /,
    );
    const good = await apply(podOf('good', 'shop', specOf(SAFE)));
    assert.equal(good.code, 0, good.stderr);
    const elsewhere = await apply(podOf('p', 'other', specOf(PRIVILEGED)));
    assert.equal(elsewhere.code, 0, elsewhere.stderr);
  },
);

test('what makes Pods is refused as well, init containers included', only, async () => {
  const template = {
    metadata: { labels: { app: 'a' } },
    spec: {
      ...specOf(SAFE),
      initContainers: [{ name: 'first', image: 'i', securityContext: { ...SAFE, runAsUser: 0 } }],
    },
  };
  const selector = { matchLabels: { app: 'a' } };
  const jobTemplate = { spec: { template: { ...template } } };
  const restarts = { ...template, spec: { ...template.spec, restartPolicy: 'Never' } };
  const metadata = { name: 'w', namespace: 'shop' };
  const workloads: readonly PlainObject[] = [
    { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { selector, template } },
    { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata, spec: { selector, template } },
    { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata, spec: { selector, template } },
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata, spec: { selector, template } },
    { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: { template: restarts } },
    {
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata,
      spec: {
        schedule: '0 0 * * *',
        jobTemplate: { spec: { ...jobTemplate.spec, template: restarts } },
      },
    },
    { apiVersion: 'v1', kind: 'PodTemplate', metadata, template },
    { apiVersion: 'v1', kind: 'ReplicationController', metadata, spec: { template } },
  ];
  for (const workload of workloads) {
    const end = await apply(workload, ['--dry-run=server']);
    assert.equal(end.code, 1, String(workload['kind']));
    // By the webhook or the API server itself, whichever looks first.
    assert.match(
      end.stderr,
      new RegExp(
        `refuses (?:this )?${String(workload['kind'])}(?: shop/w)?: container "first": securityContext.runAsUser is 0`,
      ),
    );
  }
});

test(
  'a container that is added to a running Pod is looked at (threat: kubectl debug past the policy)',
  only,
  async () => {
    const ephemeral = {
      name: 'debug',
      image: 'i',
      securityContext: { ...SAFE, capabilities: { drop: ['ALL'], add: ['SYS_PTRACE'] } },
    };
    const answer = await lab.client.patch(
      PODS,
      { namespace: 'shop', name: 'good' },
      {
        type: 'merge',
        subresource: 'ephemeralcontainers',
        patch: { spec: { ephemeralContainers: [ephemeral] } },
      },
    );
    assert.equal(answer.ok, false);
    assert.match(
      whyNot(answer),
      /container "debug": securityContext\.capabilities\.add is \[SYS_PTRACE\]/,
    );
  },
);

test(
  'what ran before the policy can be labelled and ended, and not come under it unseen',
  only,
  async () => {
    const made = await apply(podOf('old', 'other', specOf(PRIVILEGED), { app: 'old' }));
    assert.equal(made.code, 0, made.stderr);
    const free = await apply(podOf('free', 'other', specOf(PRIVILEGED), { app: 'free' }));
    assert.equal(free.code, 0, free.stderr);
    await enforce(
      policy('old', 'other', { match: { labels: { app: 'old' } }, pod: { privileged: false } }),
    );
    await untilRefused(podOf('p', 'other', specOf(PRIVILEGED), { app: 'old' }), 'a new one');
    const label = (name: string, text: string): Promise<KubectlEnd> =>
      lab.kubectl(['label', '--overwrite', 'pod', name, '-n', 'other', text]);
    const labelled = await label('old', 'more=x');
    assert.equal(labelled.code, 0, labelled.stderr);
    const renamed = await label('free', 'app=old');
    assert.equal(renamed.code, 1);
    assert.match(renamed.stderr, /WorkloadPolicy other\/old refuses (?:this Pod|Pod other\/free)/);
    const ended = await lab.kubectl(['delete', 'pod', 'old', '-n', 'other', '--force']);
    assert.equal(ended.code, 0, ended.stderr);
  },
);

test(
  'warn tells whoever asks, audit only counts; neither refuses nor is called enforced',
  only,
  async () => {
    const spec = { match: { kinds: ['Pod'] }, pod: { readOnlyRootFilesystem: true } };
    for (const mode of ['warn', 'audit']) {
      const object = policy(mode, 'shop', { mode, ...spec });
      assert.equal((await apply(object)).code, 0);
      const status = await untilEnforced(object, 'False');
      assert.match(JSON.stringify(status), /"NotEnforcing"/);
    }
    const pod = podOf('p', 'shop', specOf(SAFE));
    const warned = await eventually(
      async () => {
        const { stderr, code } = await apply(pod, ['--dry-run=server']);
        assert.equal(code, 0, stderr);
        return stderr.includes('Warning') ? stderr : undefined;
      },
      { what: 'a warning', withinMs: 20_000, everyMs: 100 },
    );
    assert.match(
      warned,
      /Warning: WorkloadPolicy shop\/warn: container "web": securityContext\.readOnlyRootFilesystem is not set \(readOnlyRootFilesystem, spec\.pod\.readOnlyRootFilesystem\) — set/,
    );
    assert.doesNotMatch(warned, /shop\/audit/);
    assert.ok(findings.includes('audit readOnlyRootFilesystem'), findings.join());
  },
);

test(
  'with Weft down the API server refuses all the same, and lets by what complies (threat: admission that fails open)',
  only,
  async () => {
    await hangUp();
    const refused = await apply(podOf('p', 'shop', specOf(PRIVILEGED)), ['--dry-run=server']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /WorkloadPolicy shop\/restricted refuses this Pod/);
    const good = await apply(podOf('p', 'shop', specOf(SAFE)), ['--dry-run=server']);
    assert.equal(good.code, 0, good.stderr);
    await listen();
  },
);

test('what somebody else changes or takes away of it is put back', only, async () => {
  const name = 'shop.restricted.workloads.weft.dev';
  const merge = (patch: PlainObject) => ({ type: 'merge' as const, patch });
  const loosened = await lab.client.patch(
    VALIDATING_ADMISSION_BINDINGS,
    { name },
    merge({ spec: { validationActions: ['Audit'] } }),
  );
  assert.ok(loosened.ok, whyNot(loosened));
  const more = await lab.client.patch(
    VALIDATING_ADMISSION_POLICIES,
    { name },
    merge({ spec: { matchConditions: [{ name: 'never', expression: 'false' }] } }),
  );
  assert.ok(more.ok, whyNot(more));
  await eventually(
    async () => {
      const binding = await lab.client.get(VALIDATING_ADMISSION_BINDINGS, { name });
      const found = await lab.client.get(VALIDATING_ADMISSION_POLICIES, { name });
      return (
        binding.ok &&
        JSON.stringify(objectAt(binding.value, 'spec')?.['validationActions']) === '["Deny"]' &&
        found.ok &&
        objectAt(found.value, 'spec')?.['matchConditions'] === undefined
      );
    },
    { what: 'both put back', withinMs: 20_000, everyMs: 50 },
  );
  const deleted = await lab.client.delete(VALIDATING_ADMISSION_POLICIES, { name });
  assert.ok(deleted.ok, whyNot(deleted));
  await eventually(async () => (await lab.client.get(VALIDATING_ADMISSION_POLICIES, { name })).ok, {
    what: 'the policy made again',
    withinMs: 20_000,
    everyMs: 50,
  });
});

test(
  'an exemption ends by the clock of the API server, also while nobody keeps it (threat: an exemption for ever)',
  only,
  async () => {
    const expires = new Date(Date.now() + 6_000).toISOString();
    const exemption = {
      who: { labels: { app: 'legacy' } },
      checks: ['privileged', 'allowPrivilegeEscalation'],
      reason: 'moved by then, says the team',
      expires,
    };
    await enforce(
      policy('exempt', 'team', { pod: { preset: 'restricted' }, exemptions: [exemption] }),
    );
    const pod = podOf('p', 'team', specOf(PRIVILEGED), { app: 'legacy' });
    await untilRefused(podOf('p', 'team', specOf(PRIVILEGED)), 'one that is not exempt');
    const exempt = await apply(pod, ['--dry-run=server']);
    assert.equal(exempt.code, 0, exempt.stderr);
    const rooted = podOf('p', 'team', specOf({ ...PRIVILEGED, runAsUser: 0 }), { app: 'legacy' });
    const other = await apply(rooted, ['--dry-run=server']);
    assert.equal(other.code, 1, 'what it does not name is still asked');
    await hangUp();
    await keeper[Symbol.asyncDispose]();
    assert.match(await untilRefused(pod, 'the exempt one'), /securityContext\.privileged is true/);
    keeper = keep();
    await listen();
    await eventually(
      async () => {
        const found = await lab.client.get(WORKLOAD_POLICIES, {
          namespace: 'team',
          name: 'exempt',
        });
        return found.ok && JSON.stringify(found.value).includes('spec.exemptions[0] ended');
      },
      { what: 'a status that names the ended one', withinMs: 20_000, everyMs: 100 },
    );
  },
);

test('a policy of the cluster holds by label of namespace, and not for Weft', only, async () => {
  const object = {
    apiVersion: apiVersionOf(CLUSTER_WORKLOAD_POLICIES),
    kind: CLUSTER_WORKLOAD_POLICIES.kind,
    metadata: { name: 'no-host-pid' },
    spec: { match: { namespaceLabels: { tier: 'prod' } }, pod: { hostPID: false } },
  };
  await enforce(object);
  const spec = { ...specOf(SAFE), hostPID: true };
  const said = await untilRefused(podOf('p', 'team', spec), 'hostPID');
  assert.match(said, /ClusterWorkloadPolicy no-host-pid refuses this Pod|exempt refuses this Pod/);
  for (const namespace of ['weft-system']) {
    const end = await apply(podOf('p', namespace, spec), ['--dry-run=server']);
    assert.equal(end.code, 0, end.stderr);
  }
});

test('what goes takes its rendering with it', only, async () => {
  for (const [resource, args] of [
    ['workloadpolicies.security.weft.dev', ['--all-namespaces']],
    ['clusterworkloadpolicies.security.weft.dev', []],
  ] as const) {
    const end = await lab.kubectl(['delete', resource, '--all', ...args]);
    assert.equal(end.code, 0, end.stderr);
  }
  await eventually(
    async () => {
      const lists = await Promise.all(
        [VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_BINDINGS].map((resource) =>
          lab.client.list(resource, { labelSelector: OWN_LABEL }),
        ),
      );
      const webhook = await lab.client.get(VALIDATING_WEBHOOKS, { name: WORKLOADS });
      const isBare = webhook.ok && JSON.stringify(webhook.value['webhooks'] ?? []) === '[]';
      return isBare && lists.every((list) => list.ok && list.value.items.length === 0);
    },
    { what: 'nothing left', withinMs: 20_000, everyMs: 50 },
  );
  await eventually(
    async () =>
      (await apply(podOf('p', 'shop', specOf(PRIVILEGED)), ['--dry-run=server'])).code === 0,
    { what: 'a Pod that is made', withinMs: 20_000, everyMs: 100 },
  );
  assert.deepEqual(keeper.problems, []);
});
