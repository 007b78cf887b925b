// Where a policy counts as enforced: acknowledged, and confirmed by what the proxy says it evaluates.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpiffeId } from '@weft/model/identity';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import type { PolicyPlacement } from '../compile/policy-placements.ts';
import type { Evaluation } from '../report/report-service.ts';
import type { ResourceStatus } from '../serve/ads-server.ts';
import { missingAt, PolicyStatus, waitingText } from './policy-status.ts';

const identity = parseSpiffeId('spiffe://mesh.test/ns/shop/sa/web');
assert.ok(identity);
const ID = identity;

type Acked = readonly (readonly [string, string | undefined])[];

const placementOf = (version: string): PolicyPlacement => ({
  kind: 'AuthorizationPolicy',
  namespace: 'shop',
  name: 'p',
  action: 'DENY',
  workloads: [
    { proxyId: 'web-1.shop', listenerVersion: version },
    { proxyId: 'web-2.shop', listenerVersion: version },
  ],
});

/** A mesh whose state the test changes, and then tells of. */
function createRig() {
  const clock = createTurnableClock();
  const state = {
    placements: [placementOf('v2')] as readonly PolicyPlacement[],
    acked: [] as Acked,
    evaluations: new Map<string, Evaluation>(),
    refused: new Map<string, readonly [version: string, refusal: string]>(),
    callers: new Map<string, ReadonlyMap<string, boolean>>(),
    unenforced: new Map<string, ReadonlyMap<string, string>>(),
    writtenAtMs: undefined as number | undefined,
  };
  const told: number[] = [];
  const listeners = { view: new Set<() => void>(), answer: new Set<() => void>() };
  const add = (set: Set<() => void>, listener: () => void): Disposable => {
    set.add(listener);
    return { [Symbol.dispose]: () => set.delete(listener) };
  };
  const status = new PolicyStatus({
    views: {
      policies: () => state.placements,
      subscribe: (listener) => add(listeners.view, listener),
    },
    ads: {
      statusOf: () =>
        state.acked.map(
          ([proxyId, acked]): ResourceStatus => ({
            proxyId,
            identity: ID,
            acked,
            refused: state.refused.get(proxyId)?.[0],
            refusal: state.refused.get(proxyId)?.[1],
          }),
        ),
      onAnswer: (listener) => add(listeners.answer, () => listener(Object.create(null))),
    },
    evaluationOf: (proxyId) => state.evaluations.get(proxyId) ?? { isReporting: false },
    callersOf: () => state.callers,
    unenforced: () => state.unenforced,
    onReport: () => ({ [Symbol.dispose]: () => undefined }),
    clock,
    writtenAtMs: () => state.writtenAtMs,
    onEnforced: (durationMs) => told.push(durationMs),
    elapsedMs: () => 0,
  });
  const first = () => {
    const [report] = status.reports();
    assert.ok(report);
    return report;
  };
  return { clock, state, told, listeners, status, first };
}

const COUNTS: readonly (readonly [string, Acked, string])[] = [
  ['nobody is connected', [], '0/2'],
  ['nobody has acknowledged anything', [['web-1.shop', undefined]], '0/2'],
  ['what was acknowledged is the version before', [['web-1.shop', 'v1']], '0/2'],
  ['another proxy acknowledged it', [['cart-1.shop', 'v2']], '0/2'],
  [
    'one of two has it',
    [
      ['web-1.shop', 'v2'],
      ['web-2.shop', 'v1'],
    ],
    '1/2',
  ],
  [
    'one has it twice, on two streams',
    [
      ['web-1.shop', 'v2'],
      ['web-1.shop', 'v2'],
    ],
    '1/2',
  ],
  [
    'both have it',
    [
      ['web-1.shop', 'v2'],
      ['web-2.shop', 'v2'],
    ],
    '2/2',
  ],
];
for (const [claim, acked, enforced] of COUNTS) {
  test(`a policy is enforced ${enforced} when ${claim}`, () => {
    const rig = createRig();
    rig.state.acked = acked;
    assert.equal(rig.first().enforced, enforced);
    assert.equal(rig.first().isEnforced, enforced === '2/2');
    rig.status[Symbol.dispose]();
  });
}

test('what callers follow is enforced when those who call have it, and a workload that calls needs both', () => {
  const rig = createRig();
  const destinations = ['outbound|80||a', 'outbound|80||b'];
  rig.state.placements = [{ ...placementOf('v2'), destinations }];
  for (const listener of rig.listeners.view) listener();
  rig.state.acked = BOTH;
  const counts = (callers: readonly (readonly [string, string, boolean])[]): string => {
    rig.state.callers = new Map(
      destinations.map((name) => [
        name,
        new Map(callers.filter(([to]) => to === name).map(([, proxy, has]) => [proxy, has])),
      ]),
    );
    return rig.first().enforced;
  };
  const [a = '', b = ''] = destinations;
  assert.equal(counts([]), '2/2');
  assert.equal(counts([[a, 'cart-1.shop', true]]), '3/3');
  assert.equal(
    counts([
      [a, 'cart-1.shop', true],
      [b, 'cart-1.shop', false],
    ]),
    '2/3',
  );
  assert.equal(counts([[a, 'web-1.shop', false]]), '1/2');
  rig.status[Symbol.dispose]();
});

const BOTH: Acked = [
  ['web-1.shop', 'v2'],
  ['web-2.shop', 'v2'],
];

test('what a proxy refused is told with its words, cut, and only of the version that is waited for', () => {
  const rig = createRig();
  rig.state.acked = [
    ['web-1.shop', 'v1'],
    ['web-2.shop', 'v2'],
  ];
  rig.state.refused.set('web-1.shop', ['v2', `inbound: ${'x'.repeat(1_000)}`]);
  rig.state.refused.set('web-2.shop', ['v1', 'an earlier one']);
  const [one, two] = rig.first().workloads;
  assert.equal(one?.reason, 'refused');
  assert.equal(one.detail?.length, 300);
  assert.match(waitingText(one), /^web-1\.shop \(refused: inbound: x+\)$/);
  assert.equal(two?.enforced, true);
  rig.state.refused.set('web-1.shop', ['v0', 'an earlier one']);
  assert.equal(rig.first().workloads[0]?.reason, 'not-acknowledged');
});

test('a proxy that acknowledged rules and evaluates others does not count', () => {
  const rig = createRig();
  rig.state.acked = BOTH;
  rig.state.evaluations.set('web-1.shop', { isReporting: true, digests: ['v2'] });
  rig.state.evaluations.set('web-2.shop', { isReporting: true, digests: ['v2', 'lost'] });
  const { enforced, workloads } = rig.first();
  assert.equal(enforced, '1/2');
  assert.deepEqual(
    workloads.map(({ by, reason }) => [by, reason]),
    [
      ['confirmed', undefined],
      ['nothing', 'evaluates-other-rules'],
    ],
  );
  rig.status[Symbol.dispose]();
});

test('how long a change took is told once, when the last proxy enforces it', () => {
  const rig = createRig();
  const answer = (): void => {
    for (const listener of rig.listeners.answer) listener();
    rig.clock.turn(10);
  };
  rig.clock.turn(50);
  rig.state.acked = BOTH.slice(0, 1);
  answer();
  assert.deepEqual(rig.told, []);
  rig.state.acked = BOTH;
  answer();
  answer();
  assert.deepEqual(rig.told, [70]);
  rig.state.placements = [placementOf('v3')];
  for (const listener of rig.listeners.view) listener();
  assert.equal(rig.first().enforced, '0/2');
  rig.state.acked = BOTH.map(([proxy]) => [proxy, 'v3']);
  answer();
  assert.equal(rig.told.length, 2);
  rig.status[Symbol.dispose]();
});

test('a change counts from when it was written, unless its file is older than it can have been waited for', () => {
  const rig = createRig();
  const change = (version: string, writtenAgoMs: number): void => {
    rig.state.writtenAtMs = rig.clock.now() - writtenAgoMs;
    rig.state.placements = [placementOf(version)];
    for (const listener of rig.listeners.view) listener();
    rig.state.acked = BOTH.map(([proxy]) => [proxy, version]);
    for (const listener of rig.listeners.answer) listener();
    rig.clock.turn(10);
  };
  change('v3', 25);
  change('v4', 60_000);
  assert.deepEqual(rig.told, [35, 10]);
  rig.status[Symbol.dispose]();
});

test('what a workload has acknowledged and nothing there can do is not enforced, says why, and is no change that arrived', () => {
  const rig = createRig();
  rig.state.acked = [
    ['web-1.shop', 'v2'],
    ['web-2.shop', 'v1'],
  ];
  const undone = new Map([['web-1.shop', 'marks nothing: there is no access log']]);
  rig.state.unenforced.set('AuthorizationPolicy/shop/p', undone);
  const [grpc, other] = rig.first().workloads;
  assert.ok(grpc && other);
  assert.equal(grpc.enforced, false);
  assert.equal(
    waitingText(grpc),
    'web-1.shop (unsupported: marks nothing: there is no access log)',
  );
  assert.equal(other.reason, 'not-acknowledged', 'of the others nothing changes');
  const { waiting, unsupported } = missingAt(rig.first().workloads);
  assert.deepEqual([waiting, unsupported], [[other], [grpc]]);
  rig.state.acked = [
    ['web-1.shop', 'v2'],
    ['web-2.shop', 'v2'],
  ];
  for (const listener of rig.listeners.answer) listener();
  rig.clock.turn(10_000);
  assert.equal(rig.first().enforced, '1/2');
  assert.deepEqual(rig.told, []);
  rig.state.unenforced.clear();
  assert.equal(rig.first().isEnforced, true);
  rig.status[Symbol.dispose]();
});
