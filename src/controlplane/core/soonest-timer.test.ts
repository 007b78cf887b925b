// One timer for several causes: the sooner of two times counts, once, and nothing runs after disposal.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { SoonestTimer } from './soonest-timer.ts';

function rig() {
  const clock = createTurnableClock(0);
  const ranAt: number[] = [];
  return { clock, ranAt, timer: new SoonestTimer(clock, () => ranAt.push(clock.now())) };
}

test('of two times the sooner counts, and it runs once', () => {
  const { clock, ranAt, timer } = rig();
  timer.schedule(100);
  timer.schedule(30);
  timer.schedule(50);
  clock.turn(1_000);
  assert.deepEqual(ranAt, [30]);
});

test('a run may ask for the next', () => {
  const clock = createTurnableClock(0);
  const ranAt: number[] = [];
  const timer = new SoonestTimer(clock, () => {
    ranAt.push(clock.now());
    if (ranAt.length < 3) timer.schedule(10);
  });
  timer.schedule(10);
  clock.turn(1_000);
  assert.deepEqual(ranAt, [10, 20, 30]);
});

test('what was cancelled may be asked for again', () => {
  const { clock, ranAt, timer } = rig();
  timer.schedule(10);
  timer.cancel();
  timer.schedule(40);
  clock.turn(1_000);
  assert.deepEqual(ranAt, [40]);
});

test('after disposal nothing runs, nor can it be asked for', () => {
  const { clock, ranAt, timer } = rig();
  timer.schedule(10);
  timer[Symbol.dispose]();
  timer.schedule(10);
  clock.turn(1_000);
  assert.deepEqual(ranAt, []);
});
