// What the webhook answers about workloads: refused with all that is needed to cure it, warned of, noted, or left alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import type { PlainObject } from '@weft/model/policy/reader';
import { renderImageWebhooks, renderWebhooks } from './render-webhooks.ts';
import { renderedName, renderPolicy } from './render-policies.ts';
import { reviewPolicy } from './review-policy.ts';
import { reviewWorkload, type WorkloadReviewOptions } from './review-workload.ts';

const context = { nowMs: Date.UTC(2027, 0, 1), rootNamespace: 'weft-system' };

function policyOf(
  spec: PlainObject,
  name = 'p',
  kind: WorkloadPolicy['kind'] = 'WorkloadPolicy',
): WorkloadPolicy {
  const metadata = { name, namespace: 'shop' };
  const parsed = parseWorkloadPolicy(
    { apiVersion: 'security.weft.dev/v1', kind, metadata, spec },
    kind,
  );
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  return parsed.value;
}

const ENFORCE = policyOf({ pod: { privileged: false, hostPID: false } }, 'enforce');
const WARN = policyOf({ mode: 'warn', pod: { privileged: false } }, 'warn');
const AUDIT = policyOf({ mode: 'audit', pod: { privileged: false } }, 'audit');

const optionsOf = (...policies: readonly WorkloadPolicy[]): WorkloadReviewOptions => ({
  policies: () => policies,
  namespaceLabels: () => new Map(),
  context: () => context,
});

const POD: PlainObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  // Of a Pod that a controller makes the API server knows neither name nor namespace yet.
  metadata: { generateName: 'web-' },
  spec: { hostPID: true, containers: [{ name: 'web', securityContext: { privileged: true } }] },
};
const asked = (more: PlainObject = {}): PlainObject => ({
  uid: 'u',
  operation: 'CREATE',
  namespace: 'shop',
  userInfo: { username: 'ci', groups: ['team'] },
  object: POD,
  ...more,
});

test('a refusal names policy, workload, container, field, value, rule and cure', async () => {
  const { allowed, code, message } = await reviewWorkload(asked(), optionsOf(ENFORCE));
  assert.equal(allowed, false);
  assert.equal(code, 422);
  assert.equal(
    message,
    'WorkloadPolicy shop/enforce refuses Pod shop/web-…: container "web": securityContext.privileged is true (privileged, spec.pod.privileged) — remove securityContext.privileged; pod: hostPID is true (hostNamespaces, spec.pod.hostPID) — remove hostNetwork, hostPID and hostIPC',
  );
});

test('warn warns and audit notes, and both let by', async () => {
  const counted: string[] = [];
  const options = {
    ...optionsOf(WARN, AUDIT),
    onFinding: (mode: string, check: string) => counted.push(`${mode} ${check}`),
  };
  const { allowed, warnings, auditAnnotations } = await reviewWorkload(asked(), options);
  assert.equal(allowed, true);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /^WorkloadPolicy shop\/warn: container "web": .* is true/);
  assert.match(auditAnnotations['noted'] ?? '', /^WorkloadPolicy shop\/audit: container "web"/);
  assert.deepEqual(counted, ['warn privileged', 'audit privileged']);
});

const LEFT: readonly (readonly [string, PlainObject])[] = [
  ['a change of status', { operation: 'UPDATE', subResource: 'status' }],
  ['what goes', { operation: 'DELETE', object: undefined, oldObject: POD }],
  ['what makes no Pods', { object: { apiVersion: 'v1', kind: 'Service' } }],
  ['a kind of the same name elsewhere', { object: { ...POD, apiVersion: 'example.test/v1' } }],
  ['another namespace', { namespace: 'other' }],
];
for (const [what, more] of LEFT) {
  test(`${what} is let by`, async () => {
    assert.equal((await reviewWorkload(asked(more), optionsOf(ENFORCE))).allowed, true);
  });
}

test('a container that is added to a running Pod is looked at', async () => {
  const request = asked({ operation: 'UPDATE', subResource: 'ephemeralcontainers' });
  assert.equal((await reviewWorkload(request, optionsOf(ENFORCE))).allowed, false);
});

test('a way to look that fails refuses (threat: a check that fails open)', async () => {
  const looks = [() => Promise.reject(new Error('no registry'))];
  await assert.rejects(
    async () => reviewWorkload(asked(), { ...optionsOf(ENFORCE), looks }),
    /no registry/,
  );
});

test('a policy that asks for nothing that there is is refused before it is in force', () => {
  const object = {
    apiVersion: 'security.weft.dev/v1',
    kind: 'WorkloadPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { pod: { priviledged: false } },
  };
  const { allowed, message } = reviewPolicy(
    { operation: 'CREATE', object },
    { rootNamespace: 'weft-system' },
  );
  assert.equal(allowed, false);
  assert.match(
    message ?? '',
    /^WorkloadPolicy shop\/p cannot be in force as written: spec\.pod\.priviledged: unknown field/,
  );
});

const webhooksOf = (policies: readonly WorkloadPolicy[], isNative = true): readonly PlainObject[] =>
  renderWebhooks(policies, {
    rootNamespace: 'weft-system',
    caBundle: 'Q0E=',
    isNative: () => isNative,
  });

test('without policies no webhook is asked; with them those namespaces alone', () => {
  assert.deepEqual(webhooksOf([]), []);
  const [one, ...more] = webhooksOf([ENFORCE, WARN]);
  assert.deepEqual(more, []);
  assert.equal(one?.['failurePolicy'], 'Ignore');
  assert.deepEqual(one['namespaceSelector'], {
    matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In', values: ['shop'] }],
  });
});

test('where the API server cannot enforce by itself the webhook is waited for (threat: fail open)', () => {
  const paths = webhooksOf([ENFORCE, WARN], false).map(({ name, failurePolicy }) => [
    name,
    failurePolicy,
  ]);
  assert.deepEqual(paths, [
    ['checked.workloads.weft.dev', 'Ignore'],
    ['required.workloads.weft.dev', 'Fail'],
  ]);
});

test('a webhook for two policies is asked about the namespaces of both, and never about what both leave out', () => {
  const wide = policyOf({ pod: { privileged: false } }, 'wide', 'ClusterWorkloadPolicy');
  const match = { namespaces: ['kube-system'] };
  const named = policyOf({ match, pod: { privileged: false } }, 'named', 'ClusterWorkloadPolicy');
  const selectorOf = (...policies: readonly WorkloadPolicy[]): unknown =>
    webhooksOf(policies)[0]?.['namespaceSelector'];
  const key = 'kubernetes.io/metadata.name';
  assert.deepEqual(selectorOf(wide, named), {
    matchExpressions: [
      { key, operator: 'NotIn', values: ['kube-node-lease', 'kube-public', 'weft-system'] },
    ],
  });
  assert.deepEqual(selectorOf(ENFORCE, named), {
    matchExpressions: [{ key, operator: 'In', values: ['kube-system', 'shop'] }],
  });
});

test('Pods get digests where a policy that refuses asks for it, and nobody waits for that', () => {
  const images = { allow: ['a.test/*'], digests: 'resolve' };
  const rendering = { rootNamespace: 'weft-system', caBundle: 'Q0E=', isNative: () => true };
  const left = [ENFORCE, policyOf({ mode: 'warn', images }), policyOf({ mode: 'audit', images })];
  assert.deepEqual(renderImageWebhooks(left, rendering), []);
  const cluster = policyOf({ images }, 'all', 'ClusterWorkloadPolicy');
  const [one, ...more] = renderImageWebhooks([...left, policyOf({ images })], rendering);
  assert.deepEqual(more, []);
  assert.equal(one?.['failurePolicy'], 'Ignore');
  assert.equal(one['reinvocationPolicy'], 'IfNeeded');
  assert.equal(one['sideEffects'], 'None');
  assert.deepEqual(one['rules'], [
    {
      apiGroups: [''],
      apiVersions: ['v1'],
      operations: ['CREATE', 'UPDATE'],
      resources: ['pods', 'pods/ephemeralcontainers'],
      scope: 'Namespaced',
    },
  ]);
  const key = 'kubernetes.io/metadata.name';
  assert.deepEqual(one['namespaceSelector'], {
    matchExpressions: [{ key, operator: 'In', values: ['shop'] }],
  });
  const [wide] = renderImageWebhooks([cluster], rendering);
  assert.match(JSON.stringify(wide?.['namespaceSelector']), /NotIn.*kube-system.*weft-system/);
});

test('no two policies are rendered under one name, however long theirs are', () => {
  const long = 'x'.repeat(253);
  const names = [
    policyOf({ pod: { privileged: false } }, 'a.b'),
    policyOf({ pod: { privileged: false } }, long),
    policyOf({ pod: { privileged: false } }, long, 'ClusterWorkloadPolicy'),
    policyOf({ pod: { privileged: false } }, 'shop.a.b', 'ClusterWorkloadPolicy'),
  ].map(renderedName);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.every((name) => name.length <= 253));
});

test('a policy that cannot be read is rendered as one that refuses all', () => {
  const broken = { ...ENFORCE, pod: undefined, broken: 'it cannot be read' };
  const spec = JSON.stringify(renderPolicy(broken, context)?.policy['spec']);
  assert.match(spec, /it cannot be read \(policy, spec\) — correct or delete/);
  assert.match(spec, /"failurePolicy":"Fail"/);
});
