// What becomes of a Pod that has lost its identity: no certificate, no callers, and nobody lets it in as whom it was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attestor } from '@weft/ca/attest/attestor';
import type { Evidence } from '@weft/model/enrolment-evidence';
import { parseTrustDomain } from '@weft/model/identity';
import type { PodObject, RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import {
  namespaceOf,
  podOf as meshPod,
  serviceOf,
  snapshotOf as meshSnapshot,
} from '../../../test/support/mesh-objects.ts';
import { compileMesh } from '../compile/compile-mesh.ts';
import type { KubernetesSource } from '../registry/kubernetes/kubernetes-source.ts';
import { PersistentMap } from '../registry/persistent-map.ts';
import { heldBackBy, withRevocations } from './identity-gates.ts';
import type { RevokedPod } from './judge-pods.ts';
import {
  REVOKED_CALLERS,
  REVOKED_WORKLOADS,
  revocationEntries,
  SourceWithRevocations,
} from './revoked-source.ts';
import type { RunningPod } from './running-pods.ts';

const podOf = (name: string, ip: string | undefined, serviceAccount = 'web'): PodObject => ({
  kind: 'Pod',
  meta: { namespace: 'shop', name, labels: new Map([['app', 'web']]), annotations: new Map() },
  serviceAccount,
  ips: ip === undefined ? [] : [ip],
  ports: [],
  isReady: true,
  isDeleting: false,
  isFinished: false,
});
const snapshotOf = (...pods: readonly PodObject[]): Snapshot => ({
  revision: 1,
  objects: PersistentMap.from<RegistryObject>(
    pods.map((pod) => [`Pod/shop/${pod.meta.name}`, pod]),
  ),
});
const PODS = [
  podOf('web-1', '10.0.0.1'),
  podOf('web-2', '10.0.0.2'),
  podOf('cart', '10.0.0.3', 'cart'),
];
const lost = (...names: readonly string[]): ReadonlyMap<string, RevokedPod> =>
  new Map(
    names.map((name) => [`shop/${name}`, { pod: {} as RunningPod, reason: 'CVE-1 is in it' }]),
  );

const WEB = { namespace: 'shop', serviceAccount: 'web' };

test('a Pod without an identity renews nothing, and who shares its account does (threat: an identity that outlives its end)', () => {
  const held = heldBackBy(
    () => lost('web-1'),
    () => snapshotOf(...PODS),
  );
  assert.match(
    held(WEB, '10.0.0.1:4711') ?? '',
    /^Pod shop\/web-1 has lost its identity: CVE-1 is in it$/,
  );
  assert.match(held(WEB, '::ffff:10.0.0.1:4711') ?? '', /^Pod shop\/web-1/);
  assert.equal(held(WEB, '10.0.0.2:4711'), undefined);
  assert.equal(held({ namespace: 'shop', serviceAccount: 'cart' }, '10.0.0.1:4711'), undefined);
  // Another's address, and one of nobody: whose certificate it is cannot be told.
  for (const address of ['10.0.0.3', '192.0.2.1', 'nonsense']) {
    assert.match(held(WEB, `${address}:4711`) ?? '', /it is not known which Pod asks/);
  }
});

test('a Pod that no snapshot has yet holds its whole namespace back, and nobody else', () => {
  const held = heldBackBy(
    () => lost('web-9'),
    () => snapshotOf(...PODS),
  );
  assert.match(held(WEB, '192.0.2.1:1') ?? '', /shop\/web-9/);
  assert.equal(held({ namespace: 'bank', serviceAccount: 'web' }, '192.0.2.1:1'), undefined);
  const none = heldBackBy(
    () => lost(),
    () => snapshotOf(...PODS),
  );
  assert.equal(none(WEB, '192.0.2.1:1'), undefined);
});

test('a token of a Pod without an identity gives it none, for good and with the reason', async () => {
  const good: Attestor = {
    name: 'a',
    kind: 'service-account-token',
    attest: async () => ({ ok: true, identity: WEB, redeem: async () => ({ ok: true }) }),
  };
  const attestor = withRevocations(good, () => lost('web-1'));
  const evidence = (pod: string): Evidence => ({
    kind: 'service-account-token',
    token: 't',
    namespace: 'shop',
    pod,
  });
  const refused = await attestor.attest(evidence('web-1'));
  assert.ok(!refused.ok);
  assert.deepEqual([refused.reasonCode, refused.isTemporary], ['identity-revoked', false]);
  assert.ok((await attestor.attest(evidence('web-2'))).ok);
});

test('snapshots have such a Pod as unready, refusing everybody, and refused by its account from its address alone', () => {
  const { objects } = snapshotOf(...PODS);
  const entries = new Map(
    revocationEntries({ revision: 1, objects }, ['shop/web-1', 'shop/gone'], 'root'),
  );
  const pod = entries.get('Pod/shop/web-1');
  assert.ok(pod?.kind === 'Pod');
  assert.equal(pod.isReady, false);
  const callers = entries.get(`AuthorizationPolicy/root/${REVOKED_CALLERS}`);
  assert.ok(callers?.kind === 'AuthorizationPolicy');
  assert.equal(callers.policy.action, 'DENY');
  assert.equal(callers.policy.selector, undefined);
  assert.deepEqual(callers.policy.rules, [
    {
      from: [
        [
          { field: 'serviceAccounts', values: ['shop/web'], notValues: [] },
          { field: 'ipBlocks', values: ['10.0.0.1'], notValues: [] },
        ],
      ],
      to: undefined,
      when: [],
    },
  ]);
  const workloads = entries.get(`AuthorizationPolicy/root/${REVOKED_WORKLOADS}`);
  assert.ok(workloads?.kind === 'AuthorizationPolicy');
  for (const [key, value] of workloads.policy.selector ?? []) {
    assert.equal(pod.meta.labels.get(key), value);
  }
  assert.equal(entries.size, 3);
});

test('Pods of one account are one rule, whatever their number', () => {
  const { objects } = snapshotOf(...PODS);
  const lostKeys = ['shop/web-1', 'shop/web-2', 'shop/cart'];
  const entries = new Map(revocationEntries({ revision: 1, objects }, lostKeys, 'root'));
  const callers = entries.get(`AuthorizationPolicy/root/${REVOKED_CALLERS}`);
  assert.ok(callers?.kind === 'AuthorizationPolicy');
  const [web, cart, ...more] = callers.policy.rules ?? [];
  assert.deepEqual(more, []);
  assert.deepEqual(web?.from?.[0]?.[1]?.values, ['10.0.0.1', '10.0.0.2']);
  assert.deepEqual(cart?.from?.[0]?.[1]?.values, ['10.0.0.3']);
});

test('a rule without addresses would refuse the whole account, and is not made (threat: one Pod that takes all others along)', () => {
  const { objects } = snapshotOf(podOf('web-1', undefined));
  const entries = new Map(revocationEntries({ revision: 1, objects }, ['shop/web-1'], 'root'));
  assert.equal(entries.has(`AuthorizationPolicy/root/${REVOKED_CALLERS}`), false);
});

test('a source tells of each loss and each return, and of nothing else', async () => {
  let revoked = lost();
  const listeners = new Set<() => void>();
  const snapshot = snapshotOf(...PODS);
  const inner: KubernetesSource = {
    state: { snapshot, problems: [] },
    staleSinceMs: undefined,
    subscribe: () => ({ [Symbol.dispose]() {} }),
    async [Symbol.asyncDispose]() {},
  };
  const revocations = {
    get revoked() {
      return revoked;
    },
    subscribe(listener: () => void) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
  };
  await using source = new SourceWithRevocations(inner, { revocations, rootNamespace: 'root' });
  assert.equal(source.state.snapshot.objects, snapshot.objects, 'without any it is the same');
  let told = 0;
  using _ = source.subscribe(() => told++);
  const turn = (now: ReadonlyMap<string, RevokedPod>): number => {
    revoked = now;
    for (const listener of listeners) listener();
    return told;
  };
  assert.equal(turn(lost()), 0);
  assert.equal(turn(lost('web-1')), 1);
  assert.equal(source.state.snapshot.objects.size, PODS.length + 2);
  assert.equal(turn(lost('web-1')), 1);
  assert.equal(turn(lost()), 2);
  assert.equal(source.state.snapshot.objects.size, PODS.length);
});

test('the mesh is compiled with it: no endpoint, and every sidecar has its rules', () => {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const objects: readonly RegistryObject[] = [
    meshPod('web', { ips: ['10.0.0.1'] }),
    meshPod('cart', { ips: ['10.0.0.3'] }),
    serviceOf('web'),
    namespaceOf('shop'),
  ];
  const snapshot = meshSnapshot(objects);
  const entries = revocationEntries(snapshot, ['shop/web-1'], 'weft-system');
  const changed = { revision: 2, objects: new Map([...snapshot.objects, ...entries]) };
  const mesh = compileMesh(changed, { trustDomain, rootNamespace: 'weft-system' });
  // Both are so: nobody is behind the Service, and where plain text is taken nobody asks who calls.
  assert.deepEqual(mesh.problems.map(({ severity, code }) => `${severity} ${code}`).toSorted(), [
    'warning identity-on-plaintext',
    'warning no-ready-endpoints',
  ]);
  const [destination] = mesh.destinations.values();
  assert.deepEqual(destination?.endpoints.endpoints, []);
  const policiesAt = (id: string): readonly string[] =>
    (mesh.workloads.get(id)?.inbound.policies ?? []).map(({ name }) => name).toSorted();
  assert.deepEqual(policiesAt('web-1.shop'), [REVOKED_CALLERS, REVOKED_WORKLOADS]);
  assert.deepEqual(policiesAt('cart-1.shop'), [REVOKED_CALLERS]);
  assert.ok(mesh.workloads.get('web-1.shop')?.identity, 'its stream goes on: it is told of it');
});
