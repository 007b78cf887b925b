// A token of a Pod's service account gives that Pod an identity, and nobody else: judged by a real API server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Evidence } from '@weft/model/enrolment-evidence';
import { serviceAccountTokenAttestor } from '@weft/ca/attest/service-account-token';
import type { KubeObject } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import { NAMESPACES, PODS, type KubeResource, SERVICE_ACCOUNTS } from '@weft/kube/resource';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';

const skip = kubelabMissing() ?? false;
const NAMESPACE = 'shop';
const SHORTEST_TOKEN_SECONDS = 600;

let lab: Kubelab;
before(async () => {
  if (skip !== false) return;
  lab = await startKubelab();
  await made(NAMESPACES, { metadata: { name: NAMESPACE } });
  for (const name of ['web', 'admin']) {
    await made(SERVICE_ACCOUNTS, { metadata: { name, namespace: NAMESPACE } });
  }
});
after(() => lab?.[Symbol.asyncDispose]());

async function made(resource: KubeResource, object: KubeObject): Promise<KubeObject> {
  const { kind, version } = resource;
  const answer = await lab.client.create(resource, { apiVersion: version, kind, ...object });
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
  return answer.value;
}

const createPod = (name: string, serviceAccountName = 'web') =>
  made(PODS, {
    metadata: { name, namespace: NAMESPACE },
    spec: { serviceAccountName, containers: [{ name: 'app', image: 'app' }] },
  });

/** As the kubelet asks for it. */
async function tokenOf(
  pod: KubeObject | undefined,
  options: { audience?: string } = {},
): Promise<string> {
  const { audience = 'weft-ca' } = options;
  const name = textAt(pod, 'metadata', 'name');
  const uid = textAt(pod, 'metadata', 'uid');
  const answer = await lab.client.create(
    SERVICE_ACCOUNTS,
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: 'web', namespace: NAMESPACE },
      spec: {
        audiences: [audience],
        expirationSeconds: SHORTEST_TOKEN_SECONDS,
        ...(pod && { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid } }),
      },
    },
    { subresource: 'token' },
  );
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
  return textAt(answer.value, 'status', 'token') ?? '';
}

const deleted = async (name: string, gracePeriodSeconds: number) => {
  const target = { namespace: NAMESPACE, name };
  const answer = await lab.client.delete(PODS, target, { gracePeriodSeconds });
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
};

const evidence = (token: string, pod: string): Evidence => ({
  kind: 'service-account-token',
  token,
  pod,
  namespace: NAMESPACE,
});

async function reasonCode(token: string, pod: string): Promise<string> {
  const attestor = serviceAccountTokenAttestor({ client: lab.client });
  const attested = await attestor.attest(evidence(token, pod));
  if (attested.ok) return 'accepted';
  assert.equal(attested.isTemporary, false, attested.reason);
  assert.ok(!attested.reason.includes(token));
  return attested.reasonCode;
}

test('a token that is bound to the Pod gives the Pod’s identity, again and again', {
  skip,
}, async () => {
  const token = await tokenOf(await createPod('web-1'));
  const attestor = serviceAccountTokenAttestor({ client: lab.client });
  for (let count = 0; count < 2; count++) {
    const attested = await attestor.attest(evidence(token, 'web-1'));
    assert.ok(attested.ok, attested.ok ? '' : attested.reason);
    assert.deepEqual(attested.identity, { namespace: NAMESPACE, serviceAccount: 'web' });
  }
});

test('tokens of another audience, of no Pod, of another Pod, altered or bare words are refused', {
  skip,
}, async () => {
  const pod = await createPod('web-2');
  await createPod('web-3');
  const good = await tokenOf(pod);
  const [head, claims, signature = ''] = good.split('.');
  const altered = `${head}.${claims}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
  const apiAudience = 'https://kubernetes.default.svc.cluster.local';
  const cases = [
    ['token-rejected', await tokenOf(pod, { audience: apiAudience }), 'web-2'],
    ['token-rejected', await tokenOf(pod, { audience: 'other-ca' }), 'web-2'],
    ['token-not-bound', await tokenOf(undefined), 'web-2'],
    ['pod-not-claimed', good, 'web-3'],
    ['token-rejected', altered, 'web-2'],
    ['token-rejected', 'garbage', 'web-2'],
    ['accepted', good, 'web-2'],
  ] as const;
  for (const [expected, token, name] of cases) {
    assert.equal(await reasonCode(token, name), expected);
  }
});

test('the token of a Pod that is being deleted, is gone or was made anew is refused', {
  skip,
}, async () => {
  const token = await tokenOf(await createPod('web-4'));
  assert.equal(await reasonCode(token, 'web-4'), 'accepted');
  const bound = { apiVersion: 'v1', kind: 'Binding', target: { kind: 'Node', name: 'one' } };
  const metadata = { name: 'web-4', namespace: NAMESPACE };
  // Without a node the API server would delete at once.
  const answer = await lab.client.create(PODS, { ...bound, metadata }, { subresource: 'binding' });
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
  await deleted('web-4', 60);
  assert.equal(await reasonCode(token, 'web-4'), 'pod-terminating');
  // The API server may vouch for a token for some seconds more: what decides is the Pod.
  await deleted('web-4', 0);
  assert.match(await reasonCode(token, 'web-4'), /^(pod-unknown|token-rejected)$/);
  await createPod('web-4');
  assert.match(await reasonCode(token, 'web-4'), /^(pod-replaced|token-rejected)$/);
});

test('a Pod that has ended gets no identity', { skip }, async () => {
  const token = await tokenOf(await createPod('web-5'));
  const target = { namespace: NAMESPACE, name: 'web-5' };
  const patch = { status: { phase: 'Failed' } };
  const answer = await lab.client.patch(PODS, target, {
    type: 'merge',
    patch,
    subresource: 'status',
  });
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
  assert.equal(await reasonCode(token, 'web-5'), 'pod-ended');
});

test('while the API server is away the fault is said to be ours', { skip }, async () => {
  const token = await tokenOf(await createPod('web-6'));
  await lab.kill();
  const attestor = serviceAccountTokenAttestor({ client: lab.client });
  const away = await attestor.attest(evidence(token, 'web-6'));
  assert.ok(!away.ok && away.isTemporary && away.reasonCode === 'api-unreachable');
  await lab.restart();
  assert.equal(await reasonCode(token, 'web-6'), 'accepted');
});
