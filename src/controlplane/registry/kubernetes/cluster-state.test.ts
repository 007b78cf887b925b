import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KubeObject } from '@weft/kube/kube-api';
import { AUTHORIZATION_POLICIES, MESH_CONFIGS } from '@weft/kube/resource';
import { createScriptedApi } from '@weft/kube/testing/scripted-api';
import type { SourceState } from '../source.ts';
import { ClusterState, emptyShelf } from './cluster-state.ts';
import { FOLLOWED_KINDS } from './followed-kinds.ts';
import { nameClusterObject, readClusterObject } from './read-cluster-object.ts';
import {
  ISTIO,
  P,
  ALLOW,
  DENY,
  BROKEN,
  policy,
  allWatched,
  open,
} from './kubernetes-source-rig.ts';

const ages: readonly (readonly [string, object, object, string])[] = [
  [
    'the older one of two that differ',
    { creationTimestamp: '2026-01-02T00:00:00Z' },
    { creationTimestamp: '2026-01-01T00:00:00Z' },
    'DENY',
  ],
  [
    'the one of Weft when it is the older',
    { creationTimestamp: '2026-01-01T00:00:00Z' },
    { creationTimestamp: '2026-01-02T00:00:00Z' },
    'ALLOW',
  ],
  ['DENY and the closed other when both are of one age', {}, {}, 'BrokenPolicy'],
];
for (const [name, own, istio, expected] of ages) {
  test(`a cluster as a source puts in force, of one name in two groups, ${name}`, async (t) => {
    const api = createScriptedApi();
    api.put(AUTHORIZATION_POLICIES, policy(ALLOW, own));
    api.put(ISTIO, policy(DENY, istio));
    const { show, codes, source } = await open(t, api);
    const both = [show(), show(`${P}#2`)];
    assert.ok(both.includes(expected), both.join());
    assert.equal(both.includes('none'), expected !== 'BrokenPolicy');
    assert.ok(codes().includes('error duplicate-object'));
    assert.equal(source.state.origins?.get(P)?.resource.group, 'security.weft.dev');
  });
}

test('a cluster as a source takes a copy of a policy in the other group for the same one', async (t) => {
  const api = createScriptedApi();
  api.put(AUTHORIZATION_POLICIES, policy(ALLOW, { creationTimestamp: '2026-01-02T00:00:00Z' }));
  api.put(ISTIO, policy(ALLOW, { creationTimestamp: '2026-01-01T00:00:00Z' }));
  const { show, codes } = await open(t, api);
  assert.equal(show(), 'ALLOW');
  assert.deepEqual(codes(), ['warning duplicate-object']);
});

test('a cluster as a source gives the origin of each policy, with its status', async (t) => {
  const api = createScriptedApi();
  const rig = await open(t, api);
  await allWatched(rig);
  const origin = () => rig.source.state.origins?.get(P);
  const made = api.put(AUTHORIZATION_POLICIES, policy(ALLOW));
  await rig.until('it is there', () => origin() !== undefined);
  const { uid, resourceVersion } = made['metadata'] as { uid: string; resourceVersion: string };
  assert.deepEqual(origin(), {
    resource: AUTHORIZATION_POLICIES,
    uid,
    generation: 1,
    resourceVersion,
    isGood: true,
    problems: [],
    status: undefined,
  });
  const { snapshot } = rig.source.state;
  const status = { selected: 3 };
  api.put(AUTHORIZATION_POLICIES, { ...policy(ALLOW), status });
  await rig.until('its status is there', () => origin()?.status !== undefined);
  assert.equal(rig.source.state.snapshot, snapshot);
  api.put(AUTHORIZATION_POLICIES, { ...policy(BROKEN, { generation: 2 }), status });
  await rig.until('it is bad', () => origin()?.isGood === false);
  assert.equal(origin()?.generation, 2);
  assert.deepEqual(
    origin()?.problems.map(({ code }) => code),
    ['last-good-version', 'unknown-field'],
  );
  assert.equal(rig.show(), 'ALLOW');
  api.remove(AUTHORIZATION_POLICIES, { namespace: 'shop', name: 'p' });
  await rig.until('it is gone', () => origin() === undefined);
});

test('a cluster as a source does not fall back on a policy that was deleted and made anew', async (t) => {
  const api = createScriptedApi();
  api.put(AUTHORIZATION_POLICIES, policy(ALLOW, { uid: 'first' }));
  const rig = await open(t, api);
  await allWatched(rig);
  api.put(AUTHORIZATION_POLICIES, policy(BROKEN, { uid: 'second' }));
  await rig.until('it is closed', () => rig.show() === 'BrokenPolicy');
});

test('a cluster as a source closes all settings when there are two MeshConfigs of one age', async (t) => {
  const api = createScriptedApi();
  const config = (name: string, spec: object): KubeObject => ({
    metadata: { name, namespace: 'weft-system' },
    spec,
  });
  api.put(MESH_CONFIGS, config('a', {}));
  api.put(MESH_CONFIGS, config('b', { trustedHops: 1 }));
  const { source, codes } = await open(t, api);
  const found = source.state.snapshot.objects.get('MeshConfig');
  assert.equal(found?.kind === 'MeshConfig' && found.config.outboundTrafficPolicy, 'REGISTRY_ONLY');
  assert.deepEqual(codes(), ['error duplicate-object', 'error duplicate-object']);
  assert.deepEqual(
    [...(source.state.origins?.keys() ?? [])],
    ['MeshConfig/weft-system/a', 'MeshConfig/weft-system/b'],
  );
});

interface Event {
  readonly isIstio: boolean;
  readonly name: string;
  /** Absent: it is removed. */
  readonly spec: object | undefined;
  /** What came so far is put in force together. */
  readonly isLast: boolean;
}

const events: fc.Arbitrary<readonly Event[]> = fc.array(
  fc.record({
    isIstio: fc.boolean(),
    name: fc.constantFrom('p', 'q'),
    spec: fc.constantFrom<object | undefined>(undefined, ALLOW, DENY, { rules: [{}, {}] }),
    isLast: fc.boolean(),
  }),
  { maxLength: 30 },
);

test('ClusterState comes from events to what a replica finds that starts then', () => {
  const share = <T>(object: T): T => object;
  const kindOf = (isIstio: boolean) => {
    const group = isIstio ? ISTIO.group : AUTHORIZATION_POLICIES.group;
    const found = FOLLOWED_KINDS.find(
      ({ kind, resources: [first] }) =>
        kind.kind === 'AuthorizationPolicy' && first.group === group,
    );
    assert.ok(found);
    return { kind: found.kind, resource: found.resources[0] };
  };
  fc.assert(
    fc.property(events, (all) => {
      const state = new ClusterState();
      const shelves = new Map([true, false].map((isIstio) => [isIstio, emptyShelf()]));
      const there = new Map<string, readonly [boolean, KubeObject]>();
      all.forEach(({ isIstio, name, spec, isLast }, index) => {
        const { kind, resource } = kindOf(isIstio);
        const shelf = shelves.get(isIstio);
        assert.ok(shelf);
        const id = `${isIstio} ${name}`;
        const old = there.get(id)?.[1]['metadata'] as object | undefined;
        const creationTimestamp = new Date(Date.UTC(2026, 0, 1, 0, 0, index)).toISOString();
        const metadata = old ?? { name, namespace: 'shop', uid: `uid-${index}`, creationTimestamp };
        const object: KubeObject = { metadata, spec };
        if (spec === undefined) {
          state.remove(shelf, nameClusterObject(kind, object, resource));
          there.delete(id);
        } else {
          state.put(shelf, readClusterObject({ kind, share }, object, resource));
          there.set(id, [isIstio, object]);
        }
        if (isLast) state.advance([]);
      });
      const fresh = new ClusterState();
      for (const isIstio of [true, false]) {
        const { kind, resource } = kindOf(isIstio);
        const items = [...there.values()]
          .filter(([is]) => is === isIstio)
          .map(([, object]) => readClusterObject({ kind, share }, object, resource));
        fresh.replace(emptyShelf(), items);
      }
      const found = ({ snapshot, problems, origins }: SourceState) => ({
        objects: snapshot.objects,
        problems,
        origins,
      });
      assert.deepEqual(found(state.advance([])), found(fresh.advance([])));
    }),
  );
});
