// What must hold: who asks together is served once and in time, who asks while it is done is served again, and what takes long rests four times as long.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { Settled } from './settled.ts';

function createRig(takesMs = 0) {
  const clock = createTurnableClock();
  const ranAtMs: number[] = [];
  let elapsedMs = 0;
  let asksAgain = 0;
  const settled: Settled = new Settled({
    clock,
    settleMs: 10,
    elapsedMs: () => elapsedMs,
    run: () => {
      ranAtMs.push(clock.now() - startMs);
      elapsedMs += takesMs;
      if (asksAgain-- > 0) settled.soon();
    },
  });
  const startMs = clock.now();
  return { clock, settled, ranAtMs, askAgain: (times: number) => (asksAgain = times) };
}

test('who asks together is served once, after the first', () => {
  const { clock, settled, ranAtMs } = createRig();
  settled.soon();
  clock.turn(6);
  settled.soon();
  clock.turn(3);
  assert.deepEqual(ranAtMs, []);
  clock.turn(50);
  assert.deepEqual(ranAtMs, [10]);
});

test('who asks while it is done is served by another', () => {
  const { clock, settled, ranAtMs, askAgain } = createRig();
  askAgain(1);
  settled.soon();
  clock.turn(50);
  assert.deepEqual(ranAtMs, [10, 20]);
});

test('what takes 50 ms is done again after 200', () => {
  const { clock, settled, ranAtMs, askAgain } = createRig(50);
  askAgain(1);
  settled.soon();
  clock.turn(500);
  assert.deepEqual(ranAtMs, [10, 210]);
});

test('after disposal nothing is done', () => {
  const { clock, settled, ranAtMs } = createRig();
  settled.soon();
  settled[Symbol.dispose]();
  settled.soon();
  clock.turn(50);
  assert.deepEqual(ranAtMs, []);
});
