import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type ConnectedProxy,
  type Gate,
  nextRotationState,
  rollbackRotation,
  type RotationState,
  startRotation,
  trustedGenerations,
  waitsFor,
} from './rotation.ts';

const states: readonly RotationState[] = [
  { phase: 'stable', active: 1 },
  { phase: 'distribute', active: 1, next: 2 },
  { phase: 'sign', active: 2, previous: 1 },
  { phase: 'retire', active: 2, previous: 1 },
];

const proxy = (proxyId: string, bundle: string, issuerKeyId: string): ConnectedProxy => ({
  proxyId,
  hasBundle: (version) => version === bundle,
  issuerKeyId,
});

const gate = (changes: Partial<Gate> = {}): Gate => ({
  connected: [],
  bundleVersion: 'v2',
  issuerKeyId: 'new',
  previousInUse: 0,
  previousUntilMs: 0,
  graceLeftMs: 0,
  ...changes,
});

test('a rotation goes through distribute, sign and retire to the new root alone', () => {
  const started = startRotation({ phase: 'stable', active: 1 }, 2);
  assert.ok(started.ok);
  const path = [started.state];
  for (let step = 0; step < 3; step++) path.push(nextRotationState(path.at(-1)!));
  assert.deepEqual(path, [...states.slice(1), { phase: 'stable', active: 2 }]);
  assert.deepEqual(path.map(trustedGenerations), [[1, 2], [2, 1], [2], [2]]);
});

test('startRotation() refuses while another is under way', () => {
  assert.deepEqual(
    states.map((state) => startRotation(state, 3).ok),
    [true, false, false, false],
  );
});

test('rollbackRotation() goes back before the root is retired, and never drops a root in use', () => {
  const outcomes = states.map((state) => rollbackRotation(state));
  assert.deepEqual(
    outcomes.map((outcome) => outcome.ok && outcome.state),
    [false, { phase: 'stable', active: 1 }, { phase: 'sign', active: 1, previous: 2 }, false],
  );
});

test('waitsFor() holds distribute and retire until every connected proxy has the bundle', () => {
  for (const state of [states[1]!, states[3]!]) {
    const late = proxy('late', 'v1', 'old');
    const ready = proxy('ready', 'v2', 'old');
    assert.deepEqual(waitsFor(state, gate({ connected: [ready, late] })), [
      'late has not acknowledged bundle v2',
    ]);
    assert.deepEqual(waitsFor(state, gate({ connected: [ready] })), []);
    assert.deepEqual(waitsFor(state, gate()), []);
  }
});

test('waitsFor() holds sign until every proxy has a certificate of the new root, also those away', () => {
  const late = proxy('late', 'v2', 'old');
  const ready = proxy('ready', 'v2', 'new');
  const { [2]: sign } = states;
  assert.equal(waitsFor(sign!, gate({ connected: [ready, late] })).length, 1);
  assert.equal(waitsFor(sign!, gate({ connected: [ready], previousInUse: 2 })).length, 1);
  assert.deepEqual(waitsFor(sign!, gate({ connected: [ready] })), []);
});

test('waitsFor() names a few of many', () => {
  const connected = Array.from({ length: 100 }, (_, index) => proxy(`p${index}`, 'v1', 'old'));
  const lines = waitsFor(states[1]!, gate({ connected }));
  assert.equal(lines.length, 6);
  assert.equal(lines.at(-1), '95 more');
});

test('whatever is done in whatever order, the root that signs is trusted before and after each step', () => {
  const action = fc.constantFrom('start', 'rollback', 'advance');
  fc.assert(
    fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
      let state: RotationState = { phase: 'stable', active: 1 };
      let newest = 1;
      for (const name of actions) {
        const before: RotationState = state;
        if (name === 'start') {
          const outcome = startRotation(state, newest + 1);
          if (outcome.ok) newest++;
          if (outcome.ok) state = outcome.state;
        } else if (name === 'rollback') {
          const outcome = rollbackRotation(state);
          if (outcome.ok) state = outcome.state;
        } else state = nextRotationState(state);
        assert.ok(trustedGenerations(before).includes(state.active));
        assert.ok(trustedGenerations(state).includes(state.active));
      }
    }),
  );
});
