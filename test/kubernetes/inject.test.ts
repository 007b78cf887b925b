// Injection stands before a real API server: what it makes is taken, stays as it is when read back, and has no more rights than it needs.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { createTestMesh } from '@weft/ca/testing/mesh';
import { injectPod } from '@weft/controlplane/inject/inject-pod';
import { injectWorkload } from '@weft/controlplane/inject/inject-workload';
import { listAt, objectAt, textAt } from '@weft/controlplane/inject/pod-shape';
import { reviewInjection } from '@weft/controlplane/inject/review';
import { defaultInjectionSettings } from '@weft/controlplane/inject/settings';
import { uninjectPod } from '@weft/controlplane/inject/uninject-pod';
import type { KubeResult } from '@weft/kube/kube-api';
import { MUTATING_WEBHOOKS, NAMESPACES, PODS, resource } from '@weft/kube/resource';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { parseAllDocuments } from 'yaml';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { serve } from '../support/servers.ts';

const skip = kubelabMissing() ?? false;
const CASES = join(import.meta.dirname, '../golden/inject/cases');
const RESOURCES = [
  PODS,
  resource('apps/v1', 'Deployment', 'deployments', 'namespaced'),
  resource('apps/v1', 'DaemonSet', 'daemonsets', 'namespaced'),
  resource('apps/v1', 'StatefulSet', 'statefulsets', 'namespaced'),
  resource('batch/v1', 'Job', 'jobs', 'namespaced'),
  resource('batch/v1', 'CronJob', 'cronjobs', 'namespaced'),
];
/** Enforced level of PodSecurity, where one is. */
const SPACES: Readonly<Record<string, string>> = {
  shop: 'privileged',
  careful: 'baseline',
  strict: 'restricted',
};
const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain);
const settings = defaultInjectionSettings({
  version: '1.2.3',
  trustDomain,
  rootNamespace: 'weft-system',
});

let lab: Kubelab;
before(async () => {
  if (skip !== false) return;
  lab = await startKubelab();
  for (const [name, level] of Object.entries(SPACES)) {
    const labels = { 'pod-security.kubernetes.io/enforce': level };
    const metadata = { name, labels };
    valueOf(await lab.client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata }));
    // Pods are taken only when the namespace's own service account is there.
    await eventually(
      async () => (await lab.client.create(PODS, pod({ namespace: name }), DRY)).ok,
      { what: `a first Pod in ${name}`, withinMs: 20_000, everyMs: 100 },
    );
  }
});
after(() => lab?.[Symbol.asyncDispose]());

const DRY = { isDryRun: true };

function valueOf<T>(result: KubeResult<T>): T {
  assert.ok(result.ok, result.ok ? '' : result.message);
  return result.value;
}

/** One that PodSecurity `restricted` takes. */
const pod = (metadata: PlainObject, spec: PlainObject = {}): PlainObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'shop', ...metadata },
  spec: {
    containers: [
      {
        name: 'web',
        image: 'shop/web:1',
        ports: [{ name: 'http', containerPort: 8080 }],
        readinessProbe: { httpGet: { port: 'http', path: '/ready' } },
        securityContext: {
          allowPrivilegeEscalation: false,
          runAsNonRoot: true,
          capabilities: { drop: ['ALL'] },
          seccompProfile: { type: 'RuntimeDefault' },
        },
      },
    ],
    ...spec,
  },
});

const injected = (bare: PlainObject): PlainObject => {
  const outcome = injectPod(bare, settings);
  assert.equal(outcome.kind, 'injected', 'reason' in outcome ? outcome.reason : '');
  return outcome.kind === 'injected' ? outcome.pod : {};
};

const manifests = (): readonly PlainObject[] =>
  globSync(join(CASES, '*.yaml')).flatMap((file) =>
    parseAllDocuments(readFileSync(file, 'utf8')).flatMap((document) => {
      const value: unknown = document.toJS();
      if (!isPlainObject(value)) return [];
      return value['kind'] === 'List' ? listAt(value, 'items') : [value];
    }),
  );

test('every manifest that injection makes is taken by the API server, and is done when it is read back', {
  skip,
}, async () => {
  let taken = 0;
  for (const manifest of manifests()) {
    const outcome = injectWorkload(manifest, settings);
    if (outcome.kind !== 'changed') continue;
    const { kind } = manifest;
    const target = RESOURCES.find((one) => one.kind === kind);
    assert.ok(target, String(kind));
    const read = valueOf(await lab.client.create(target, outcome.manifest, DRY));
    const again = injectWorkload(read, settings);
    assert.equal(
      again.kind,
      'left',
      `${String(kind)} ${textAt(objectAt(read, 'metadata'), 'name')}`,
    );
    taken++;
  }
  assert.ok(taken >= 10, `${taken}`);
});

test('an injected Pod that was read back and uninjected is the Pod as it would have been read back', {
  skip,
}, async () => {
  // The volume of the API's token has a random name.
  const bare = pod({}, { automountServiceAccountToken: false });
  const read = valueOf(await lab.client.create(PODS, injected(bare), DRY));
  const undone = uninjectPod(read);
  assert.equal(undone.kind, 'uninjected');
  const after = valueOf(
    await lab.client.create(
      PODS,
      pod({}, specOf(undone.kind === 'uninjected' ? undone.pod : {})),
      DRY,
    ),
  );
  const before = valueOf(await lab.client.create(PODS, bare, DRY));
  assert.deepEqual(after['spec'], before['spec']);
});

const specOf = (object: PlainObject): PlainObject => objectAt(object, 'spec');

const named = (object: PlainObject, name: string): PlainObject =>
  [...listAt(specOf(object), 'initContainers'), ...listAt(specOf(object), 'containers')].find(
    (container) => container['name'] === name,
  ) ?? {};

const mountsOf = (object: PlainObject, name: string): readonly string[] =>
  listAt(named(object, name), 'volumeMounts').map((mount) => textAt(mount, 'name') ?? '');

test('the API server gives its token to the application, and to nothing of the mesh', {
  skip,
}, async () => {
  const read = valueOf(await lab.client.create(PODS, injected(pod({})), DRY));
  const hasToken = (name: string): boolean =>
    mountsOf(read, name).some((mount) => mount.startsWith('kube-api-access-'));
  assert.deepEqual(['web', 'weft-sidecar', 'weft-capture'].map(hasToken), [true, false, false]);
});

test('PodSecurity baseline has one thing against an injected Pod: NET_ADMIN of the capture step', {
  skip,
}, async () => {
  const answer = await lab.client.create(PODS, injected(pod({ namespace: 'careful' })), DRY);
  assert.ok(!answer.ok);
  assert.match(
    answer.message,
    /violates PodSecurity "baseline:latest": non-default capabilities \(container "weft-capture" must not include "NET_ADMIN" in securityContext.capabilities.add\)/,
  );
});

test('without a capture step of its own an injected Pod passes PodSecurity restricted', {
  skip,
}, async () => {
  const annotations = { 'weft.dev/capture': 'none' };
  for (const mode of ['native', 'classic']) {
    const more = { ...annotations, 'weft.dev/sidecar-mode': mode };
    const bare = pod({ namespace: 'strict', annotations: more });
    valueOf(await lab.client.create(PODS, injected(bare), DRY));
  }
});

interface Reviews extends AsyncDisposable {
  readonly asked: readonly PlainObject[];
}

/** The webhook as it is configured in a cluster, but for where it listens. */
async function serveReviews(): Promise<Reviews> {
  await using owned = new AsyncDisposableStack();
  const { authority } = owned.use(await createTestMesh());
  const names = { dnsNames: [], ipAddresses: ['127.0.0.1'] };
  const { keyPem, chainPem } = authority.serverCertificate(names);
  const asked: PlainObject[] = [];
  const server = createServer({ key: keyPem, cert: chainPem }, (message, answer) => {
    void json(message).then((review) => {
      const request = isPlainObject(review) ? objectAt(review, 'request') : {};
      asked.push(request);
      answer.end(JSON.stringify(answerOf(request)));
    });
  });
  const { port } = owned.use(await serve(server));
  const caBundle = Buffer.from(authority.bundle().pem).toString('base64');
  const webhook = (name: string, selectors: PlainObject): PlainObject => ({
    name,
    clientConfig: { url: `https://127.0.0.1:${port}/inject`, caBundle },
    rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    reinvocationPolicy: 'IfNeeded',
    ...selectors,
  });
  const label = (key: string, value: string): PlainObject => ({ matchLabels: { [key]: value } });
  const metadata = { name: 'weft-injector' };
  const configuration = {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata,
    webhooks: [
      webhook('namespace.inject.weft.dev', {
        namespaceSelector: label('weft.dev/injection', 'enabled'),
      }),
      webhook('pod.inject.weft.dev', { objectSelector: label('weft.dev/inject', 'true') }),
    ],
  };
  valueOf(await lab.client.create(MUTATING_WEBHOOKS, configuration));
  owned.defer(async () => {
    await lab.client.delete(MUTATING_WEBHOOKS, metadata);
  });
  const kept = owned.move();
  return { asked, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function answerOf(request: PlainObject): PlainObject {
  const { allowed, patch, message, warnings, auditAnnotations } = reviewInjection(
    request,
    settings,
    undefined,
  );
  const response = {
    uid: request['uid'],
    allowed,
    warnings,
    auditAnnotations,
    ...(message === undefined ? {} : { status: { message, code: 422 } }),
    ...(patch === undefined
      ? {}
      : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
  };
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response };
}

test('as a webhook: label of the namespace and word of the Pod decide, the patch is applied once, a refusal says why', {
  skip,
  timeout: 60_000,
}, async () => {
  await using reviews = await serveReviews();
  const metadata = { name: 'labelled', labels: { 'weft.dev/injection': 'enabled' } };
  valueOf(await lab.client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata }));
  const create = (meta: PlainObject, spec: PlainObject = {}): Promise<KubeResult<PlainObject>> =>
    lab.client.create(PODS, pod({ namespace: 'labelled', ...meta }, spec), DRY);
  const made = await eventually(
    async () => {
      const answer = await create({});
      return answer.ok && named(answer.value, 'weft-sidecar')['image'] ? answer.value : undefined;
    },
    { what: 'an injected Pod', withinMs: 20_000, everyMs: 100 },
  );
  assert.deepEqual(
    listAt(specOf(made), 'initContainers').map((container) => container['name']),
    ['weft-capture', 'weft-sidecar'],
  );
  assert.equal(
    objectAt(objectAt(named(made, 'web'), 'readinessProbe'), 'httpGet')['path'],
    '/app-probe/web/readiness',
  );
  // The service account's token came before the webhook, and did not come again after it.
  assert.ok(!mountsOf(made, 'weft-sidecar').some((mount) => mount.startsWith('kube-api-access')));
  const isInjected = async (answer: Promise<KubeResult<PlainObject>>): Promise<boolean> =>
    named(valueOf(await answer), 'weft-sidecar')['name'] !== undefined;
  const [yes, no] = [{ 'weft.dev/inject': 'true' }, { 'weft.dev/inject': 'false' }];
  assert.equal(await isInjected(create({ annotations: no })), false);
  assert.equal(await isInjected(create({ labels: no })), false);
  assert.equal(await isInjected(create({}, { hostNetwork: true })), false);
  assert.equal(await isInjected(create({ namespace: 'shop', labels: yes })), true);
  assert.equal(await isInjected(create({ namespace: 'shop' })), false);
  assert.equal(await isInjected(create({ namespace: 'kube-system', labels: yes })), false);
  const answer = await create({ annotations: { 'weft.dev/drain-time': 'soon' } });
  assert.ok(!answer.ok);
  assert.match(
    answer.message,
    /metadata\.annotations\.weft\.dev\/drain-time: "soon" is no value .* write a number and a unit/,
  );
  assert.ok(reviews.asked.length > 0);
});
