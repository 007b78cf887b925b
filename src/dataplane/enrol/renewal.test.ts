import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { renewAtMs } from './renewal.ts';

test('renewAtMs() lies between 40 % and 50 % of the life that is left, whatever the dice say', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2e12 }),
      fc.integer({ min: 1, max: 1e8 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (receivedAtMs, lengthMs, dice) => {
        const at = renewAtMs({ receivedAtMs, notAfterMs: receivedAtMs + lengthMs }, () => dice);
        assert.ok(at >= receivedAtMs + lengthMs * 0.4 - 1);
        assert.ok(at <= receivedAtMs + lengthMs * 0.5 + 1);
      },
    ),
  );
});

test('renewAtMs() is at once for a certificate that came too late', () => {
  assert.equal(
    renewAtMs({ receivedAtMs: 1_000, notAfterMs: 400 }, () => 0.9),
    1_000,
  );
});
