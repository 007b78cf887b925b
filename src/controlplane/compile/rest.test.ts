// What must hold: while a large mesh churns, what takes something from somebody is compiled at once, and only additions wait.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { parseTrustDomain } from '@weft/model/identity';
import type { RegistryObject } from '@weft/model/mesh/objects';
import {
  authorizationOf,
  podOf,
  serviceOf,
  sliceOf,
  snapshotOf,
} from '../../../test/support/mesh-objects.ts';
import { createMeshViews } from './mesh-views.ts';

const COMPILING_MS = 200;
const COALESCE_MS = 5;

const BASE: readonly RegistryObject[] = [
  podOf('web'),
  serviceOf('web'),
  authorizationOf({ rules: [{}] }, 'allow'),
];

/** Views whose every compile takes the same time; the first one has just ended. */
function createRig() {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const clock = createTurnableClock();
  let state = { snapshot: snapshotOf(BASE), problems: [] };
  let tell = (): void => undefined;
  let elapsedMs = 0;
  const views = createMeshViews({
    source: {
      get state() {
        return state;
      },
      subscribe(listener) {
        tell = listener;
        return { [Symbol.dispose]: () => undefined };
      },
    },
    trustDomain,
    rootNamespace: 'weft-system',
    bundle: () => ({ pem: '', version: '1' }),
    onBundleChange: () => ({ [Symbol.dispose]: () => undefined }),
    clock,
    coalesceMs: COALESCE_MS,
    elapsedMs: () => (elapsedMs += COMPILING_MS),
  });
  const change = (objects: readonly RegistryObject[]): void => {
    state = { ...state, snapshot: snapshotOf(objects, state.snapshot.revision + 1) };
    tell();
  };
  return { views, clock, change };
}

const added = podOf('new', { ips: ['10.0.0.7'] });

const NARROWING: readonly (readonly [string, readonly RegistryObject[]])[] = [
  ['a policy', [...BASE, authorizationOf({ action: 'DENY', rules: [{}] }, 'deny')]],
  ['the end of an ALLOW', BASE.slice(0, 2)],
  ['another rule of a policy', [...BASE.slice(0, 2), authorizationOf({}, 'allow')]],
  ['the end of a Pod', BASE.slice(1)],
  ['an endpoint that is another now', [podOf('web', { ips: ['10.0.0.9'] }), ...BASE.slice(1)]],
];

for (const [what, objects] of NARROWING) {
  test(`${what} does not wait behind churn`, () => {
    const { views, clock, change } = createRig();
    change([...BASE, added]);
    // Resting: the addition waits.
    clock.turn(COALESCE_MS);
    assert.equal(views.revision, 1);
    change([...objects, added]);
    clock.turn(50);
    assert.equal(views.revision, 2);
  });
}

const ADDING: readonly (readonly [string, RegistryObject])[] = [
  ['a new Pod', added],
  ['a new Service', serviceOf('new', { clusterIps: [] })],
  ['a new slice', sliceOf('web')],
];

for (const [what, object] of ADDING) {
  test(`${what} waits until others were served, and no longer`, () => {
    const { views, clock, change } = createRig();
    change([...BASE, object]);
    clock.turn(2 * COMPILING_MS - 1);
    assert.equal(views.revision, 1);
    clock.turn(1);
    assert.equal(views.revision, 2);
  });
}

test('revocations that never end leave time for telling of them', () => {
  const { views, clock, change } = createRig();
  change(BASE.slice(1));
  clock.turn(49);
  assert.equal(views.revision, 1);
  clock.turn(1);
  assert.equal(views.revision, 2);
});
