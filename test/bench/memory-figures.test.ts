import assert from 'node:assert/strict';
import { test } from 'node:test';
import { slopeOf } from './memory-figures.ts';

test('slopeOf() finds the slope of a line, and the best one of what scatters around it', () => {
  const line = [0, 1, 2, 3].map((x) => ({ x, y: 5 + 2 * x }));
  assert.equal(slopeOf(line), 2);
  const scattered = line.map(({ x, y }) => ({ x, y: y + (x === 0 || x === 3 ? 1 : -1) }));
  assert.equal(slopeOf(scattered), 2);
});

test('slopeOf() is 0 when nothing grows', () => {
  assert.equal(
    slopeOf([
      { x: 1, y: 3 },
      { x: 2, y: 3 },
    ]),
    0,
  );
});
