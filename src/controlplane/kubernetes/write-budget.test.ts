// How often the API server is written to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WriteBudget } from './write-budget.ts';

const takenAt = (budget: WriteBudget, nowMs: number, tries: number): number =>
  Array.from({ length: tries }, () => budget.take(nowMs)).filter(Boolean).length;

test('WriteBudget lets a burst through, then so many a second, and saves up no more than a burst', () => {
  const budget = new WriteBudget({ perSecond: 2, burst: 5, nowMs: 1_000 });
  assert.equal(takenAt(budget, 1_000, 9), 5);
  assert.equal(takenAt(budget, 1_499, 9), 0);
  assert.equal(takenAt(budget, 1_500, 9), 1);
  assert.equal(takenAt(budget, 2_500, 9), 2);
  assert.equal(takenAt(budget, 3_600_000, 9), 5);
});

test('WriteBudget neither gives nor takes when the clock goes back', () => {
  const budget = new WriteBudget({ perSecond: 1, burst: 2, nowMs: 10_000 });
  assert.equal(takenAt(budget, 10_000, 1), 1);
  assert.equal(takenAt(budget, 0, 9), 1);
  assert.equal(takenAt(budget, 1_000, 9), 1);
});
