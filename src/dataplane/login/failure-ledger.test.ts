// Who has to wait after failed logins, for how long, and that memory has a bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FailureLedger } from './failure-ledger.ts';

function fail(ledger: FailureLedger, key: string, nowMs: number): void {
  ledger.begin(key, nowMs);
  ledger.end(key, { isFailure: true, nowMs });
}

test('ten failures cost nothing, then each doubles the wait, up to five minutes', () => {
  const ledger = new FailureLedger();
  let nowMs = 0;
  const waits: number[] = [];
  for (let count = 1; count <= 22; count++) {
    assert.equal(ledger.waitMs('a', nowMs), 0);
    fail(ledger, 'a', nowMs);
    const waitMs = ledger.waitMs('a', nowMs);
    if (count < 10) assert.equal(waitMs, 0, `after ${count}`);
    else waits.push(waitMs);
    nowMs += waitMs;
  }
  assert.deepEqual(waits.slice(0, 4), [1_000, 2_000, 4_000, 8_000]);
  assert.equal(waits.at(-1), 300_000);
  assert.equal(ledger.waitMs('b', nowMs), 0, 'another one does not wait');
});

test('attempts that are made at once get no more guesses than one by one', () => {
  const ledger = new FailureLedger();
  let begun = 0;
  while (ledger.waitMs('a', 0) === 0 && begun < 1_000) {
    ledger.begin('a', 0);
    begun++;
  }
  assert.equal(begun, 10);
});

test('a quarter of an hour without failure forgets them, and a login that was right leaves nothing behind', () => {
  const ledger = new FailureLedger();
  for (let count = 0; count < 10; count++) fail(ledger, 'a', 0);
  assert.equal(ledger.waitMs('a', 900_000), 0);
  assert.equal(ledger.size, 0);
  ledger.begin('b', 0);
  ledger.end('b', { isFailure: false, nowMs: 0 });
  assert.equal(ledger.size, 0);
});

test('a login that was right does not forgive the failures before it', () => {
  const ledger = new FailureLedger();
  for (let count = 0; count < 9; count++) fail(ledger, 'a', 0);
  ledger.begin('a', 0);
  ledger.end('a', { isFailure: false, nowMs: 0 });
  fail(ledger, 'a', 0);
  assert.ok(ledger.waitMs('a', 0) > 0);
});

test('thirty thousand keys are not remembered, and one that keeps asking is', () => {
  const ledger = new FailureLedger();
  for (let count = 0; count < 10; count++) fail(ledger, 'name', 0);
  for (let count = 0; count < 30_000; count++) {
    assert.ok(ledger.waitMs('name', 0) > 0);
    fail(ledger, `other ${count}`, 0);
  }
  assert.equal(ledger.size, 20_000);
});

test('in any order of attempts nobody gets more than ten failures and one for each wait', () => {
  const steps = fc.array(fc.record({ afterMs: fc.nat(5_000), isFailure: fc.boolean() }), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(steps, (all) => {
      const ledger = new FailureLedger();
      let nowMs = 0;
      let failures = 0;
      for (const { afterMs, isFailure } of all) {
        nowMs += afterMs;
        if (ledger.waitMs('a', nowMs) > 0) continue;
        ledger.begin('a', nowMs);
        ledger.end('a', { isFailure, nowMs });
        if (isFailure) failures++;
      }
      const most = 10 + Math.log2(nowMs / 1_000 + 1) + nowMs / 300_000 + 1;
      assert.ok(failures <= most, `${failures} in ${nowMs} ms`);
    }),
  );
});
