import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KubeFailure } from './kube-api.ts';
import { FIRST_STEP, nextStep, type ListWatchState, type StepOutcome } from './list-watch-steps.ts';

const failure = (code: number, more: Partial<KubeFailure> = {}): KubeFailure => ({
  ok: false,
  kind: code === 0 ? 'unreachable' : 'status',
  code,
  reason: '',
  message: 'm',
  ...more,
});
const listFailed = (code: number, more?: Partial<KubeFailure>): StepOutcome => ({
  kind: 'list-failed',
  failure: failure(code, more),
});
const ended = (code: number, wasGood = true, more?: Partial<KubeFailure>): StepOutcome => ({
  kind: 'watch-ended',
  end: code === 200 ? { ok: true } : failure(code, more),
  version: '9',
  wasGood,
});
const WATCHING: ListWatchState = { version: '7', failures: 0 };
const after = (state: ListWatchState, outcome: StepOutcome, random = 1) => {
  const { state: next, delayMs } = nextStep(state, outcome, random);
  return [next.version === undefined ? 'list' : `watch ${next.version}`, delayMs, next.failures];
};

const table: readonly (readonly [string, ListWatchState, StepOutcome, readonly unknown[]])[] = [
  ['watches from the list', FIRST_STEP, { kind: 'listed', version: '5' }, ['watch 5', 0, 0]],
  ['watches on after the ordinary end', WATCHING, ended(200), ['watch 9', 0, 0]],
  ['waits after a watch that ended at once', WATCHING, ended(200, false), ['watch 9', 250, 1]],
  ['watches on when the server is gone', WATCHING, ended(0), ['watch 9', 250, 1]],
  ['lists at once when its version is too old', WATCHING, ended(410), ['list', 0, 1]],
  [
    'lists after a wait when that happens again',
    { version: '7', failures: 1 },
    ended(410, false),
    ['list', 500, 2],
  ],
  ['lists after an answer that is none', WATCHING, ended(200, true), ['watch 9', 0, 0]],
  [
    'lists when an event is malformed',
    WATCHING,
    ended(200.5, true, { kind: 'malformed' }),
    ['list', 250, 1],
  ],
  ['lists when the watch is forbidden, seldom', WATCHING, ended(403), ['list', 20_000, 1]],
  ['lists when the resource has gone, seldom', WATCHING, ended(404), ['list', 20_000, 1]],
  ['keeps its version while credentials are refused', WATCHING, ended(401), ['watch 9', 250, 1]],
  [
    'waits as long as it is asked to',
    WATCHING,
    ended(429, true, { retryAfterMs: 5_000 }),
    ['watch 9', 5_000, 1],
  ],
  [
    'does not wait longer than a minute for it',
    FIRST_STEP,
    listFailed(429, { retryAfterMs: 3_600_000 }),
    ['list', 60_000, 1],
  ],
  ['keeps its version over a server error', WATCHING, ended(504, false), ['watch 9', 250, 1]],
  [
    'gives its version up when the server can never serve it',
    { version: '7', failures: 4 },
    ended(504, false),
    ['list', 4_000, 5],
  ],
  ['starts a list anew', FIRST_STEP, listFailed(410), ['list', 250, 1]],
  ['asks seldom for what is forbidden', FIRST_STEP, listFailed(403), ['list', 20_000, 1]],
  [
    'waits for at most half a minute',
    { version: undefined, failures: 60 },
    listFailed(500),
    ['list', 30_000, 61],
  ],
  [
    'looks every five seconds for a server that is gone',
    { version: '7', failures: 60 },
    ended(0, false),
    ['watch 9', 5_000, 61],
  ],
];
for (const [name, state, outcome, expected] of table) {
  test(`nextStep() ${name}`, () => assert.deepEqual(after(state, outcome), expected));
}

test('nextStep() spreads waits over half their length', () => {
  assert.deepEqual(after(FIRST_STEP, listFailed(0), 0), ['list', 125, 1]);
  assert.deepEqual(after(FIRST_STEP, listFailed(403), 0), ['list', 10_000, 1]);
});

test('nextStep() never spins: of failures in a row only the first may be followed at once', () => {
  const code = fc.constantFrom(0, 200, 400, 401, 403, 404, 410, 429, 500, 504);
  const outcome: fc.Arbitrary<StepOutcome> = fc.oneof(
    code.filter((value) => value !== 200).map((value) => listFailed(value)),
    code.map((value) => ended(value, false)),
  );
  fc.assert(
    fc.property(
      fc.array(outcome, { minLength: 2, maxLength: 30 }),
      fc.float({ min: 0, max: 1, noNaN: true }),
      (outcomes, random) => {
        let state: ListWatchState = FIRST_STEP;
        outcomes.forEach((each, index) => {
          const next = nextStep(state, each, random);
          assert.ok(index === 0 || next.delayMs >= 100, `${index}: ${next.delayMs}`);
          assert.ok(next.delayMs <= 60_000);
          ({ state } = next);
        });
      },
    ),
  );
});
