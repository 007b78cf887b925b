// WorkloadPolicies from being written to being enforced, under a real API server: by Weft's webhook, and without it by the API server itself.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OWN_LABEL } from '@weft/controlplane/admission/render-policies';
import { WORKLOADS } from '@weft/controlplane/admission/render-webhooks';
import { objectAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  CLUSTER_WORKLOAD_POLICIES,
  PODS,
  VALIDATING_ADMISSION_BINDINGS,
  VALIDATING_ADMISSION_POLICIES,
  VALIDATING_WEBHOOKS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import type { PlainObject } from '@weft/model/policy/reader';
import { whyNot } from '../support/kube-objects.ts';
import { type Kubelab, type KubectlEnd, kubelabMissing } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { openWorkloadRig, type WorkloadRig, workloadPolicy } from '../support/workload-rig.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
let rig: WorkloadRig;
let lab: Kubelab;

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

before(async () => {
  if (skip !== false) return;
  rig = await openWorkloadRig({ namespaces: { shop: {}, other: {}, team: { tier: 'prod' } } });
  ({ lab } = rig);
});
after(() => rig?.[Symbol.asyncDispose]());

test('without a policy nobody is asked about any Pod', only, async () => {
  const found = await lab.client.get(VALIDATING_WEBHOOKS, { name: WORKLOADS });
  assert.ok(found.ok);
  assert.equal(found.value['webhooks'], undefined);
});

test(
  'a Pod is refused with container, field, value, rule and cure; its status says by what',
  only,
  async () => {
    const restricted = workloadPolicy('restricted', 'shop', { pod: { preset: 'restricted' } });
    await rig.enforce(restricted);
    const status = await rig.untilEnforced(restricted);
    assert.equal(status['rendered'], 'shop.restricted.workloads.weft.dev');
    const said = await rig.untilRefused(podOf('p', 'shop', specOf(PRIVILEGED)), 'a privileged Pod');
    assert.match(
      said,
      /WorkloadPolicy shop\/restricted refuses (?:this Pod|Pod shop\/p): container "web": securityContext\.privileged is true \(privileged, restricted \(Pod Security Standards latest\)\) — remove securityContext\.privileged; /,
    );
    const good = await rig.apply(podOf('good', 'shop', specOf(SAFE)));
    assert.equal(good.code, 0, good.stderr);
    const elsewhere = await rig.apply(podOf('p', 'other', specOf(PRIVILEGED)));
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
    const end = await rig.tryOut(workload);
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
    const made = await rig.apply(podOf('old', 'other', specOf(PRIVILEGED), { app: 'old' }));
    assert.equal(made.code, 0, made.stderr);
    const free = await rig.apply(podOf('free', 'other', specOf(PRIVILEGED), { app: 'free' }));
    assert.equal(free.code, 0, free.stderr);
    await rig.enforce(
      workloadPolicy('old', 'other', {
        match: { labels: { app: 'old' } },
        pod: { privileged: false },
      }),
    );
    await rig.untilRefused(podOf('p', 'other', specOf(PRIVILEGED), { app: 'old' }), 'a new one');
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
      const object = workloadPolicy(mode, 'shop', { mode, ...spec });
      assert.equal((await rig.apply(object)).code, 0);
      const status = await rig.untilEnforced(object, 'False');
      assert.match(JSON.stringify(status), /"NotEnforcing"/);
    }
    const pod = podOf('p', 'shop', specOf(SAFE));
    const warned = await eventually(
      async () => {
        const { stderr, code } = await rig.tryOut(pod);
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
    assert.ok(rig.findings.includes('audit readOnlyRootFilesystem'), rig.findings.join());
  },
);

test(
  'with Weft down the API server refuses all the same, and lets by what complies (threat: admission that fails open)',
  only,
  async () => {
    await rig.hangUp();
    const refused = await rig.tryOut(podOf('p', 'shop', specOf(PRIVILEGED)));
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /WorkloadPolicy shop\/restricted refuses this Pod/);
    const good = await rig.tryOut(podOf('p', 'shop', specOf(SAFE)));
    assert.equal(good.code, 0, good.stderr);
    await rig.listen();
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
    const until = (expires: string): Readonly<Record<string, unknown>> => {
      const exemption = {
        who: { labels: { app: 'legacy' } },
        checks: ['privileged', 'allowPrivilegeEscalation'],
        reason: 'moved by then, says the team',
        expires,
      };
      return { pod: { preset: 'restricted' }, exemptions: [exemption] };
    };
    await rig.enforce(workloadPolicy('exempt', 'team', until('2999-01-01T00:00:00Z')));
    const pod = podOf('p', 'team', specOf(PRIVILEGED), { app: 'legacy' });
    await rig.untilRefused(podOf('p', 'team', specOf(PRIVILEGED)), 'one that is not exempt');
    const exempt = await rig.tryOut(pod);
    assert.equal(exempt.code, 0, exempt.stderr);
    const rooted = podOf('p', 'team', specOf({ ...PRIVILEGED, runAsUser: 0 }), { app: 'legacy' });
    const other = await rig.tryOut(rooted);
    assert.equal(other.code, 1, 'what it does not name is still asked');
    const soon = new Date(Date.now() + 6_000).toISOString();
    await rig.enforce(workloadPolicy('exempt', 'team', until(soon)));
    await rig.hangUp();
    await rig.stopKeeping();
    assert.match(
      await rig.untilRefused(pod, 'the exempt one'),
      /securityContext\.privileged is true/,
    );
    rig.keep();
    await rig.listen();
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
  await rig.enforce(object);
  const spec = { ...specOf(SAFE), hostPID: true };
  const said = await rig.untilRefused(podOf('p', 'team', spec), 'hostPID');
  assert.match(said, /ClusterWorkloadPolicy no-host-pid refuses this Pod|exempt refuses this Pod/);
  for (const namespace of ['weft-system']) {
    const end = await rig.tryOut(podOf('p', namespace, spec));
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
    async () => (await rig.tryOut(podOf('p', 'shop', specOf(PRIVILEGED)))).code === 0,
    { what: 'a Pod that is made', withinMs: 20_000, everyMs: 100 },
  );
  assert.deepEqual(rig.keeper?.problems, []);
});
