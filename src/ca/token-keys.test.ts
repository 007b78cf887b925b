import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenKey } from './store/store.ts';
import { areFresh, freshKeys, publishKey, signingKey } from './token-keys.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

test('the first key signs at once, its successor a day after it was published', () => {
  const first = freshKeys([], 0);
  assert.equal(first.length, 1);
  assert.equal(signingKey(first, 0), first[0]);
  assert.equal(freshKeys(first, 30 * DAY_MS - 1), first, 'nothing to do');
  const both = freshKeys(first, 30 * DAY_MS);
  assert.equal(both.length, 2);
  assert.equal(signingKey(both, 31 * DAY_MS - 1), first[0]);
  assert.equal(signingKey(both, 31 * DAY_MS), both[1]);
});

test('a key stays published for a day after its successor signs, and goes then', () => {
  const both = freshKeys(freshKeys([], 0), 30 * DAY_MS);
  assert.equal(freshKeys(both, 32 * DAY_MS - 1), both);
  assert.deepEqual(freshKeys(both, 32 * DAY_MS), [both[1]]);
});

test('a clock that is set back takes no key away', () => {
  const both = freshKeys(freshKeys([], 0), 30 * DAY_MS);
  assert.equal(freshKeys(both, -DAY_MS), both);
  assert.equal(signingKey(both, -DAY_MS), both[0]);
});

test('whoever signs within a day after the keys were read is known to the reader, and whoever has signed for an hour', () => {
  const steps = fc.array(fc.integer({ min: 0, max: 40 * 24 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(steps, (hours) => {
      let keys: readonly TokenKey[] = [];
      let nowMs = 0;
      let read: readonly TokenKey[] = [];
      for (const step of hours) {
        const before = signingKey(keys, nowMs);
        nowMs += step * HOUR_MS;
        keys = freshKeys(keys, nowMs);
        assert.ok(areFresh(keys, nowMs));
        const signs = signingKey(keys, nowMs);
        assert.ok(signs !== undefined);
        if (read.length > 0 && step < 24) assert.ok(read.includes(signs));
        if (before !== undefined && step <= 1) assert.ok(keys.includes(before));
        assert.ok(keys.length <= 3);
        read = keys;
      }
    }),
    { numRuns: 50 },
  );
});

test('what is published has no private part, and names the key by its thumbprint', () => {
  const [key] = freshKeys([], 0);
  assert.ok(key !== undefined);
  const published = publishKey(key);
  assert.deepEqual(Object.keys(published).toSorted(), [
    'alg',
    'crv',
    'kid',
    'kty',
    'use',
    'x',
    'y',
  ]);
  assert.equal(published.kid.length, 43);
});
