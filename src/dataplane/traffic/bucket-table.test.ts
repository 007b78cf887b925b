// Token buckets in a table of fixed size: what they let through, and what more keys than places cost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type BucketRate, BucketTable } from './bucket-table.ts';
import { KeyHash } from './key-hash.ts';

const hash = new KeyHash();

function ask(table: BucketTable, key: string, nowMs: number): number {
  hash.begin();
  hash.addText(key);
  const waitMs = table.look(hash.high, hash.low, nowMs);
  if (waitMs === 0) table.take();
  return waitMs;
}

const RATE: BucketRate = { requests: 2, intervalMs: 1_000, burst: 3 };

test('look() lets a burst through, then one for each step, and says how long the next one takes', () => {
  const table = new BucketTable(RATE, 100);
  assert.deepEqual(
    [0, 0, 0, 0, 200, 500, 500, 10_000, 10_000, 10_000, 10_000].map((at) => ask(table, 'a', at)),
    [0, 0, 0, 500, 300, 0, 500, 0, 0, 0, 500],
  );
  assert.equal(ask(table, 'b', 10_000), 0, 'another key has a bucket of its own');
});

test('a refused request takes nothing', () => {
  const table = new BucketTable(RATE, 100);
  for (let at = 0; at < 100; at++) ask(table, 'a', 0);
  assert.equal(ask(table, 'a', 500), 0);
});

const rates = fc.record({
  requests: fc.integer({ min: 1, max: 50 }),
  intervalMs: fc.integer({ min: 50, max: 5_000 }),
  burst: fc.integer({ min: 1, max: 40 }),
});

test('no key ever gets more than its burst and its rate within any time, however many keys there are', () => {
  const arrivals = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 400 })),
    {
      minLength: 1,
      maxLength: 400,
    },
  );
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 32 }), arrivals, (rate, maxKeys, steps) => {
      const table = new BucketTable(rate, maxKeys);
      const passed = new Map<number, number[]>();
      let nowMs = 1_000;
      for (const [key, afterMs] of steps) {
        nowMs += afterMs;
        if (ask(table, `key-${key}`, nowMs) > 0) continue;
        const times = passed.get(key) ?? [];
        passed.set(key, times);
        times.push(nowMs);
        times.forEach((fromMs, at) => {
          const allowed = rate.burst + ((nowMs - fromMs) * rate.requests) / rate.intervalMs;
          assert.ok(times.length - at <= allowed + 1e-3, `${times.length - at} of ${allowed}`);
        });
      }
    }),
    { numRuns: 300 },
  );
});

test('with fewer keys than places every key gets all that its bucket has', () => {
  fc.assert(
    fc.property(rates, (rate) => {
      const table = new BucketTable(rate, 4_096);
      for (let key = 0; key < 200; key++) {
        for (let count = 0; count < rate.burst; count++) {
          assert.equal(ask(table, `key-${key}`, 5_000), 0);
        }
        assert.ok(ask(table, `key-${key}`, 5_000) > 0);
      }
    }),
    { numRuns: 20 },
  );
});

test('four times as many keys as places take no more memory than was set aside, and a key that was at its limit stays there', () => {
  const table = new BucketTable({ requests: 1, intervalMs: 60_000, burst: 5 }, 100_000);
  const bytes = table.bytes;
  assert.ok(bytes <= 100_000 * 2 * 12, `${bytes} bytes`);
  for (let count = 0; count < 5; count++) assert.equal(ask(table, 'victim', 0), 0);
  const before = process.memoryUsage().heapUsed;
  for (let key = 0; key < 400_000; key++) ask(table, `flood-${key}`, 1);
  const grown = process.memoryUsage().heapUsed - before;
  assert.equal(table.bytes, bytes);
  assert.ok(grown < 32e6, `the heap grew by ${grown} bytes`);
  assert.ok(table.takenOver > 0, 'more keys than places had to share');
  assert.ok(ask(table, 'victim', 2) > 0, 'nobody is let go by pushing keys out');
});

test('keys that nobody chose together rarely fall together', () => {
  const seen = new Set<string>();
  for (let key = 0; key < 200_000; key++) {
    hash.begin();
    hash.addText(`spiffe://cluster.local/ns/shop/sa/web-${key}`);
    seen.add(`${hash.high}/${hash.low}`);
  }
  assert.ok(seen.size >= 199_999);
  const parts = (...texts: readonly string[]): string => {
    hash.begin();
    for (const text of texts) hash.addText(text);
    return `${hash.high}/${hash.low}`;
  };
  assert.notEqual(parts('ab', 'c'), parts('a', 'bc'));
  assert.notEqual(parts('ab'), parts('ab', ''));
});
