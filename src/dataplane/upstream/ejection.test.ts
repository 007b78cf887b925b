// When an endpoint is left out, for how long, and when it is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OutlierDetection } from '@weft/xds/resources/cluster';
import { noteResult } from './ejection.ts';
import { UpstreamEndpoint } from './endpoint.ts';

const RULES: OutlierDetection = {
  consecutiveFailures: 3,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 50,
};

const endpointsOf = (count: number): readonly UpstreamEndpoint[] =>
  Array.from(
    { length: count },
    (_, index) =>
      new UpstreamEndpoint({
        address: '10.0.0.1',
        port: index + 1,
        health: 'healthy',
        weight: 1,
        tlsMode: 'disabled',
      }),
  );

function failTimes(
  endpoint: UpstreamEndpoint,
  times: number,
  context: Parameters<typeof noteResult>[2],
  status = 0,
): readonly boolean[] {
  return Array.from({ length: times }, () => noteResult(endpoint, status, context));
}

test('noteResult() ejects at the limit of failures in a row, not before', () => {
  const [a, ...rest] = endpointsOf(3);
  assert.ok(a);
  const context = { rules: RULES, all: [a, ...rest], now: 5 };
  assert.deepEqual(failTimes(a, 3, context), [false, false, true]);
  assert.equal(a.ejectedUntil, 30_005);
});

test('noteResult() begins to count again after a success', () => {
  const [a, ...rest] = endpointsOf(3);
  assert.ok(a);
  const context = { rules: RULES, all: [a, ...rest], now: 0 };
  failTimes(a, 2, context);
  noteResult(a, 200, context);
  assert.deepEqual(failTimes(a, 2, context), [false, false]);
});

test('noteResult() ejects longer each time, up to five minutes, and shorter again after it was well', () => {
  const [a, ...rest] = endpointsOf(3);
  assert.ok(a);
  const lengths: number[] = [];
  let now = 0;
  for (let round = 0; round < 12; round++) {
    failTimes(a, 3, { rules: RULES, all: [a, ...rest], now });
    lengths.push(a.ejectedUntil - now);
    now = a.ejectedUntil;
  }
  assert.deepEqual(lengths.slice(0, 3), [30_000, 60_000, 90_000]);
  assert.equal(lengths.at(-1), 300_000);
  const before = a.ejections;
  noteResult(a, 200, { rules: RULES, all: [a, ...rest], now });
  assert.equal(a.ejections, before - 1);
  assert.equal(a.ejectedUntil, 0);
});

test('noteResult() ejects no more than the share that may be left out, but always the first', () => {
  const all = endpointsOf(4);
  const ejected = all.filter((endpoint) =>
    failTimes(endpoint, 3, { rules: RULES, all, now: 0 }).includes(true),
  );
  assert.equal(ejected.length, 2);
  const ten = { ...RULES, maxEjectionPercent: 10 };
  const three = endpointsOf(3);
  const alone = three.filter((endpoint) =>
    failTimes(endpoint, 3, { rules: ten, all: three, now: 0 }).includes(true),
  );
  assert.equal(alone.length, 1);
});

test('noteResult() never ejects the only endpoint, nor without rules, nor one that is out already', () => {
  const only = endpointsOf(1);
  for (const endpoint of only) {
    assert.ok(!failTimes(endpoint, 9, { rules: RULES, all: only, now: 0 }).includes(true));
  }
  const [a, ...rest] = endpointsOf(3);
  assert.ok(a);
  const all = [a, ...rest];
  assert.ok(!failTimes(a, 9, { rules: undefined, all, now: 0 }).includes(true));
  const [b, ...others] = endpointsOf(3);
  assert.ok(b);
  const results = failTimes(b, 9, { rules: RULES, all: [b, ...others], now: 0 });
  assert.equal(results.filter(Boolean).length, 1);
});
