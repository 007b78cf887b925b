import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSigningLimit } from './ca-limit.ts';

test('parseSigningLimit() takes one check and one signature for an answer', () => {
  const limit = parseSigningLimit('+F4:3:256:60000.000000:20000.000000\n');
  assert.equal(limit.signsPerSecond, 60_000);
  assert.equal(limit.verifiesPerSecond, 20_000);
  assert.equal(Math.round(limit.answersPerSecond), 15_000);
});

test('parseSigningLimit() refuses what is no result', () => {
  assert.throws(() => parseSigningLimit('speed: Unknown algorithm ecdsap256\n'), /Cannot read/);
});
