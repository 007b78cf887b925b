import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Backoff } from './backoff.ts';

const LIMITS = { baseMs: 500, maxMs: 30_000 };

test('Backoff doubles up to its limit', () => {
  const backoff = new Backoff({ ...LIMITS, random: () => 0.999_999 });
  const delays = Array.from({ length: 9 }, () => Math.round(backoff.next()));
  assert.deepEqual(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test('Backoff never waits less than a tenth of its base nor more than its limit, after any number of failures', () => {
  const dice = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.array(dice, { minLength: 1, maxLength: 2_000 }), (rolls) => {
      let at = 0;
      const backoff = new Backoff({ ...LIMITS, random: () => rolls[at++] ?? 0 });
      for (const _ of rolls) {
        const delay = backoff.next();
        assert.ok(delay >= 50 && delay <= 30_000, String(delay));
      }
      assert.equal(backoff.failures, rolls.length);
    }),
  );
});

test('Backoff begins anew after a success', () => {
  const backoff = new Backoff({ ...LIMITS, random: () => 0.5 });
  for (let i = 0; i < 20; i++) backoff.next();
  backoff.reset();
  assert.equal(backoff.failures, 0);
  assert.equal(backoff.next(), 250);
});
