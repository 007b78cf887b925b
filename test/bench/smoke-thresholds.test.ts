import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from './smoke-thresholds.ts';
import { ratioOf, summarize } from './statistics.ts';

const ratio = (ours: readonly number[], theirs: readonly number[]) =>
  ratioOf(summarize(ours), summarize(theirs));

for (const { what, ours, theirs, isOk } of [
  { what: 'passes when every round is below', ours: [50, 60], theirs: [100, 100], isOk: true },
  {
    what: 'passes when one round alone is below',
    ours: [120, 300],
    theirs: [100, 100],
    isOk: true,
  },
  { what: 'fails when every round is above', ours: [130, 140], theirs: [100, 100], isOk: false },
  { what: 'passes at the limit itself', ours: [125, 140], theirs: [100, 100], isOk: true },
  { what: 'fails without a figure', ours: [], theirs: [], isOk: false },
  { what: 'fails when the peer has none', ours: [50], theirs: [], isOk: false },
]) {
  test(`judge() of a ceiling ${what}`, () => {
    const check = { name: 'CPU', ratio: ratio(ours, theirs), limit: { atMost: 1.25 } };
    assert.equal(judge(check).isOk, isOk);
  });
}

test('judge() of a floor fails only when every round is below', () => {
  const of = (ours: readonly number[]): boolean =>
    judge({ name: 'CSR', ratio: ratio(ours, [100, 100]), limit: { atLeast: 0.1 } }).isOk;
  assert.equal(of([5, 9]), false);
  assert.equal(of([5, 11]), true);
  assert.equal(of([]), false);
});

test('judge() says the figure, its spread and the limit', () => {
  const { text } = judge({ name: 'CPU', ratio: ratio([150], [100]), limit: { atMost: 1.25 } });
  assert.equal(text, 'FAIL CPU: 1.50× (1.50–1.50), at most 1.25× in one round');
});
