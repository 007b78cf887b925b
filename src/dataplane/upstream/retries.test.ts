// What is sent again, how often, after how long, and what the budget forbids.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RetryPolicy } from '@weft/xds/resources/retry';
import { RetryAllowance } from './retry-budget.ts';
import { Retries, type AttemptEnd, type RetryPlan } from './retries.ts';

const POLICY: RetryPolicy = {
  on: ['gateway-error', 'reset'],
  statusCodes: [],
  retries: 2,
  perTryTimeoutMs: 0,
  backOff: { baseMs: 100, maxMs: 250 },
  methods: ['GET', 'PUT'],
};

interface Rig {
  readonly plan: RetryPlan;
  readonly waits: number[];
  readonly told: boolean[];
  readonly allowance: RetryAllowance;
}

function rigOf(policy: Partial<RetryPolicy> = {}, requests = 0): Rig {
  const waits: number[] = [];
  const told: boolean[] = [];
  const allowance = new RetryAllowance(() => requests);
  const clock = {
    now: () => 0,
    setTimeout: (_run: () => void, delayMs: number) => {
      waits.push(delayMs);
      return { [Symbol.dispose]: () => undefined };
    },
  };
  const onRetry = (isAllowed: boolean): void => void told.push(isAllowed);
  const whole = { ...POLICY, ...policy };
  const plan = { policy: whole, allowance, clock, random: () => 0.999_9, onRetry };
  return { plan, waits, told, allowance };
}

const answer = (status: number, grpcStatus?: string): AttemptEnd => ({
  kind: 'answer',
  status,
  grpcStatus,
});
const RESET: AttemptEnd = { kind: 'reset' };
const LATE: AttemptEnd = { kind: 'try-timeout' };

const RULES: readonly (readonly [
  RetryPolicy['on'],
  readonly AttemptEnd[],
  readonly AttemptEnd[],
])[] = [
  [
    ['gateway-error'],
    [answer(502), answer(503), answer(504), LATE],
    [answer(500), answer(200), RESET],
  ],
  [['5xx'], [answer(500), answer(599), RESET, LATE], [answer(499), answer(200)]],
  [['reset'], [RESET, LATE], [answer(503)]],
  [['retriable-4xx'], [answer(409)], [answer(404), answer(503)]],
  [['retriable-status-codes'], [answer(418)], [answer(419), answer(503)]],
  [['connect-failure', 'refused-stream'], [], [answer(503), RESET, LATE]],
  [['unavailable'], [], [answer(200, '14')]],
];

for (const [on, sent, left] of RULES) {
  test(`retries on ${on.join()}: what is sent again, and what is not`, () => {
    const { plan } = rigOf({ on, statusCodes: [418] });
    const may = (end: AttemptEnd): boolean => new Retries(plan, 'GET', false).mayFollow(end);
    for (const end of sent) {
      using retries = new Retries(plan, 'GET', false);
      assert.equal(retries.mayFollow(end), true, JSON.stringify(end));
    }
    for (const end of left) assert.equal(may(end), false, JSON.stringify(end));
  });
}

test('a method that may do something twice is not sent again', () => {
  assert.equal(new Retries(rigOf().plan, 'POST', false).mayFollow(answer(503)), false);
  const { plan } = rigOf({ methods: [] });
  assert.equal(new Retries(plan, 'POST', false).mayFollow(answer(503)), true);
});

test('a gRPC call is sent again on what its server says of it alone', () => {
  const { plan } = rigOf({ on: ['gateway-error', '5xx', 'reset', 'unavailable', 'cancelled'] });
  const may = (end: AttemptEnd): boolean => {
    using retries = new Retries(plan, 'POST', true);
    return retries.mayFollow(end);
  };
  assert.equal(may(answer(200, '14')), true);
  assert.equal(may(answer(200, '1')), true);
  assert.equal(may(answer(200, '13')), false, 'not asked for');
  assert.equal(may(answer(503)), false);
  assert.equal(may(RESET), false);
});

test('there are as many retries as the policy says, each after a longer pause', () => {
  const { plan, waits } = rigOf({ retries: 3 });
  using retries = new Retries(plan, 'GET', false);
  for (let count = 0; count < 3; count++) {
    assert.equal(retries.mayFollow(RESET), true);
    retries.wait(() => undefined);
  }
  assert.equal(retries.mayFollow(RESET), false);
  assert.deepEqual(waits, [99, 249, 249]);
});

test('retries under way are a share of the requests under way, and a few at least', () => {
  for (const [requests, expected] of [
    [0, 3],
    [100, 20],
  ] as const) {
    const { plan, told } = rigOf({}, requests);
    const begun = Array.from({ length: 50 }, () => new Retries(plan, 'GET', false));
    assert.equal(begun.filter((one) => one.mayFollow(RESET)).length, expected);
    assert.equal(told.filter((isAllowed) => !isAllowed).length, 50 - expected);
    for (const one of begun) one[Symbol.dispose]();
    assert.equal(new Retries(plan, 'GET', false).mayFollow(RESET), true, 'they are given back');
  }
});

test('a retry that ends in another one counts once', () => {
  const { plan } = rigOf({ retries: 100 });
  using retries = new Retries(plan, 'GET', false);
  for (let count = 0; count < 50; count++) assert.equal(retries.mayFollow(RESET), true);
});
