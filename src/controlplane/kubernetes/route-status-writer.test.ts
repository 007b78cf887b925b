// Routes are told how they stand with each Service, and what other controllers wrote stays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { numberAt, objectAt, textAt } from '@weft/kube/object-fields';
import { resource } from '@weft/kube/resource';
import { createMemoryKube } from '@weft/kube/testing/memory-kube';
import { parseTrustDomain } from '@weft/model/identity';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { pino } from 'pino';
import { compileMesh } from '../compile/compile-mesh.ts';
import { readObjects } from '../registry/read-objects.ts';
import type { ObjectOrigin } from '../registry/source.ts';
import { CONTROLLER_NAME, parentsOf } from './route-conditions.ts';
import { RouteStatusWriter } from './route-status-writer.ts';

const ROUTES = resource('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes', 'namespaced');
const KEY = 'HTTPRoute/shop/r';
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain !== undefined);
const IDENTITY = { trustDomain, rootNamespace: 'weft-system' };

const SERVICE = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.0.0.1, ports: [{ name: http, port: 80 }] }
`;
const route = (backend: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: shop }
spec:
  parentRefs:
  - { name: some-gateway }
  - { group: "", kind: Service, name: web, port: 80 }
  - { group: "", kind: Service, name: none, namespace: shop }
  rules: [{ backendRefs: [{ name: ${backend}, port: 80 }] }]
`;
const OTHERS = {
  parentRef: { name: 'some-gateway' },
  controllerName: 'example.com/gateway',
  conditions: [],
};

function createRig() {
  const clock = createTurnableClock(Date.UTC(2026, 0, 1));
  const client = createMemoryKube();
  client.put(ROUTES, {
    metadata: { name: 'r', namespace: 'shop', uid: 'u', generation: 1 },
    status: { parents: [OTHERS] },
  });
  const listeners = new Set<() => void>();
  const subscribe = (listener: () => void): Disposable => {
    listeners.add(listener);
    return { [Symbol.dispose]: () => listeners.delete(listener) };
  };
  const world = { text: SERVICE + '---' + route('web'), isGood: true };
  let snapshot: Snapshot = { revision: 0, objects: new Map() };
  const load = (): void => {
    const objects = readObjects(world.text, 'a.yaml').objects.flatMap(
      ({ key, outcome }): [string, RegistryObject][] =>
        outcome.kind === 'good' && outcome.object !== undefined ? [[key, outcome.object]] : [],
    );
    snapshot = { revision: snapshot.revision + 1, objects: new Map(objects) };
  };
  load();
  const origin = (): ObjectOrigin => {
    const found = client.peek(ROUTES, 'r', 'shop');
    return {
      resource: ROUTES,
      uid: 'u',
      generation: numberAt(found, 'metadata', 'generation') ?? 0,
      resourceVersion: textAt(found, 'metadata', 'resourceVersion') ?? '',
      isGood: world.isGood,
      problems: [{ severity: 'error', code: 'c', field: 'spec.rules', message: 'is odd' }],
      status: objectAt(found, 'status'),
    };
  };
  const writer = new RouteStatusWriter({
    client,
    source: {
      get state() {
        return { snapshot, problems: [], origins: new Map([[KEY, origin()]]) };
      },
      subscribe,
    },
    views: { snapshot: () => snapshot, mesh: () => compileMesh(snapshot, IDENTITY), subscribe },
    clock,
    log: pino({ level: 'silent' }),
  });
  return {
    client,
    world,
    load,
    async pass(): Promise<void> {
      for (const listener of listeners) listener();
      for (let step = 0; step < 10; step++) {
        clock.turn(50);
        for (let turn = 0; turn < 4; turn++) await nextTurn();
      }
    },
    writes: () => client.calls.filter(({ verb }) => verb === 'patch').length,
    /** `PARENT TYPE STATUS REASON` of the mesh's entries. */
    told: () =>
      parentsOf(origin().status).flatMap((parent) =>
        parent['controllerName'] === CONTROLLER_NAME
          ? [`${JSON.stringify(parent['parentRef'])} ${conditionsOf(parent)}`]
          : [],
      ),
    parents: () => parentsOf(origin().status),
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  };
}

function conditionsOf(parent: { readonly conditions?: unknown }): string {
  const list: readonly unknown[] = Array.isArray(parent.conditions) ? parent.conditions : [];
  return list
    .map((one) => {
      const { type, status, reason } = Object(one);
      return `${type} ${status} ${reason}`;
    })
    .join(', ');
}

const WEB = '{"group":"","kind":"Service","name":"web","port":80}';
const NONE = '{"group":"","kind":"Service","name":"none","namespace":"shop"}';

test('a route is told of each Service that it is attached to, beside what others have written', async () => {
  await using rig = createRig();
  await rig.pass();
  assert.deepEqual(rig.told(), [
    `${WEB} Accepted True Accepted, ResolvedRefs True ResolvedRefs`,
    `${NONE} Accepted False NoMatchingParent, ResolvedRefs True ResolvedRefs`,
  ]);
  assert.deepEqual(rig.parents()[0], OTHERS);
  assert.equal(rig.writes(), 1);
  await rig.pass();
  assert.equal(rig.writes(), 1);
});

test('a route is told when what it names is gone, and when the condition has turned', async () => {
  await using rig = createRig();
  await rig.pass();
  rig.world.text = SERVICE + '---' + route('gone');
  rig.load();
  await rig.pass();
  assert.match(rig.told()[0] ?? '', /ResolvedRefs False BackendNotFound$/);
});

test('a version that cannot be read is told why, whatever holds in its place', async () => {
  await using rig = createRig();
  rig.world.isGood = false;
  await rig.pass();
  assert.match(rig.told()[0] ?? '', /Accepted False UnsupportedValue/);
  assert.match(JSON.stringify(rig.parents()), /spec\.rules: is odd/);
});
