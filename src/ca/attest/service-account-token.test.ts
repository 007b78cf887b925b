import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject, KubeResult } from '@weft/kube/kube-api';
import { PODS, TOKEN_REVIEWS } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { createTurnableClock } from '../testing/turnable-clock.ts';
import type { Evidence } from '@weft/model/enrolment-evidence';
import { serviceAccountTokenAttestor } from './service-account-token.ts';

const evidence = (
  changes: { token?: string; pod?: string; namespace?: string } = {},
): Evidence => ({
  kind: 'service-account-token',
  token: 'a.b.c',
  pod: 'web-1',
  namespace: 'shop',
  ...changes,
});

const USER = 'system:serviceaccount:shop:web';
const EXTRA = {
  'authentication.kubernetes.io/pod-name': ['web-1'],
  'authentication.kubernetes.io/pod-uid': ['u-1'],
};

const review = (changes: KubeObject = {}): KubeObject => ({
  status: {
    authenticated: true,
    audiences: ['weft-ca'],
    user: { username: USER, extra: EXTRA },
    ...changes,
  },
});

const pod = (
  changes: { metadata?: KubeObject; spec?: KubeObject; status?: KubeObject } = {},
): KubeObject => ({
  metadata: { name: 'web-1', namespace: 'shop', uid: 'u-1', ...changes.metadata },
  spec: { serviceAccountName: 'web', ...changes.spec },
  status: { phase: 'Running', ...changes.status },
});

function kubeWith(reviewed: KubeResult<KubeObject>, podObject?: KubeObject): MemoryKube {
  const kube = createMemoryKube();
  if (podObject !== undefined) kube.put(PODS, podObject);
  kube.answerWith(({ resource }) => (resource === TOKEN_REVIEWS ? reviewed : undefined));
  return kube;
}

const good: KubeResult<KubeObject> = { ok: true, value: review() };

test('attest() gives the identity of the token whose Pod asks, and asks for its own audience alone', async () => {
  for (const phase of ['Pending', 'Running']) {
    const client = kubeWith(good, pod({ status: { phase } }));
    const attested = await serviceAccountTokenAttestor({ client }).attest(evidence());
    assert.ok(attested.ok);
    assert.deepEqual(attested.identity, { namespace: 'shop', serviceAccount: 'web' });
    assert.ok((await attested.redeem()).ok);
    const [asked] = client.calls;
    assert.deepEqual(asked?.object?.['spec'], { token: 'a.b.c', audiences: ['weft-ca'] });
  }
});

test('attest() takes a Pod without a service account name for one of default', async () => {
  const user = { username: 'system:serviceaccount:shop:default', extra: EXTRA };
  const client = kubeWith(
    { ok: true, value: review({ user }) },
    pod({ spec: { serviceAccountName: undefined } }),
  );
  const attested = await serviceAccountTokenAttestor({ client }).attest(evidence());
  assert.ok(attested.ok && attested.identity.serviceAccount === 'default');
});

test('attest() refuses every token that does not speak for the Pod that asks', async () => {
  const user = (username: string, extra: KubeObject = EXTRA) => ({ user: { username, extra } });
  const twice = { ...EXTRA, 'authentication.kubernetes.io/pod-name': ['web-1', 'web-2'] };
  const cases: readonly [string, KubeObject, KubeObject | undefined, Evidence][] = [
    ['token-too-long', {}, pod(), evidence({ token: 'x'.repeat(8_193) })],
    ['token-rejected', { authenticated: false, error: 'expired' }, pod(), evidence()],
    ['token-rejected', { authenticated: 'true' }, pod(), evidence()],
    ['token-rejected', { authenticated: undefined }, pod(), evidence()],
    ['token-audience', { audiences: ['https://kubernetes.default.svc'] }, pod(), evidence()],
    ['token-audience', { audiences: undefined }, pod(), evidence()],
    ['not-a-service-account', user('system:node:one'), pod(), evidence()],
    ['not-a-service-account', user('system:serviceaccount:shop:web:x'), pod(), evidence()],
    ['not-a-service-account', user('system:serviceaccount:shop:'), pod(), evidence()],
    ['not-a-service-account', { user: undefined }, pod(), evidence()],
    ['token-not-bound', user(USER, {}), pod(), evidence()],
    ['token-not-bound', user(USER, twice), pod(), evidence()],
    ['pod-not-claimed', {}, pod(), evidence({ pod: 'web-2' })],
    ['pod-not-claimed', {}, pod(), evidence({ namespace: 'bank' })],
    ['pod-unknown', {}, undefined, evidence()],
    ['pod-replaced', {}, pod({ metadata: { uid: 'u-2' } }), evidence()],
    ['pod-account', {}, pod({ spec: { serviceAccountName: 'admin' } }), evidence()],
    ['pod-account', {}, pod({ spec: { serviceAccountName: '' } }), evidence()],
    ['pod-ended', {}, pod({ status: { phase: 'Succeeded' } }), evidence()],
    ['pod-ended', {}, pod({ status: { phase: undefined } }), evidence()],
    ['pod-terminating', {}, pod({ metadata: { deletionTimestamp: 'now' } }), evidence()],
  ];
  for (const [reasonCode, status, podObject, claim] of cases) {
    const client = kubeWith({ ok: true, value: review(status) }, podObject);
    const attested = await serviceAccountTokenAttestor({ client }).attest(claim);
    assert.ok(!attested.ok, reasonCode);
    assert.equal(attested.reasonCode, reasonCode, attested.reason);
    assert.equal(attested.isTemporary, false);
    assert.ok(!attested.reason.includes('a.b.c'), 'a token is nobody’s to read');
  }
});

test('attest() refuses evidence of another kind, and a namespace outside the mesh', async () => {
  const client = kubeWith(good, pod());
  const attestor = serviceAccountTokenAttestor({ client, namespaces: new Set(['bank']) });
  const other = await attestor.attest({ kind: 'join-token', token: 'x' });
  assert.ok(!other.ok && other.reasonCode === 'evidence-kind');
  const outside = await attestor.attest(evidence());
  assert.ok(!outside.ok && outside.reasonCode === 'namespace-not-watched');
  const inside = serviceAccountTokenAttestor({ client, namespaces: new Set(['shop']) });
  assert.ok((await inside.attest(evidence())).ok);
});

test('attest() says that the fault is ours when the API server is away, overloaded or forbids', async () => {
  for (const [failure, reasonCode] of [
    [kubeFailure(0, 'Unreachable'), 'api-unreachable'],
    [kubeFailure(403, 'Forbidden'), 'api-refused'],
    [kubeFailure(429, 'TooManyRequests'), 'api-refused'],
    [kubeFailure(500, 'InternalError'), 'api-refused'],
  ] as const) {
    for (const failing of [TOKEN_REVIEWS, PODS]) {
      const client = createMemoryKube();
      client.answerWith(({ resource }) => (resource === failing ? failure : good));
      const attested = await serviceAccountTokenAttestor({ client }).attest(evidence());
      assert.ok(!attested.ok && attested.isTemporary);
      assert.equal(attested.reasonCode, reasonCode);
    }
  }
});

test('attest() gives up after its time limit, and turns away who finds too many waiting', async () => {
  const clock = createTurnableClock();
  const client = createMemoryKube();
  const asked = Promise.withResolvers<AbortSignal | undefined>();
  const hanging: typeof client.create = (_resource, _object, { signal } = {}) => {
    asked.resolve(signal);
    return new Promise((resolve) => {
      signal?.addEventListener('abort', () => resolve(kubeFailure(0, 'Unreachable')));
    });
  };
  const attestor = serviceAccountTokenAttestor({
    client: { ...client, create: hanging },
    clock,
    atOnce: 1,
    waiting: 1,
  });
  const first = attestor.attest(evidence());
  const waiting = attestor.attest(evidence());
  const tooMany = await attestor.attest(evidence());
  assert.ok(!tooMany.ok && tooMany.reasonCode === 'attestation-busy' && tooMany.isTemporary);
  await asked.promise;
  clock.turn(5_000);
  const ended = await first;
  assert.ok(!ended.ok && ended.reasonCode === 'api-unreachable' && ended.isTemporary);
  const waited = await waiting;
  assert.ok(!waited.ok && waited.reasonCode === 'attestation-busy' && waited.isTemporary);
});
