import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DRIVER_KINDS } from './load/drivers.ts';
import { chosenOf } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';

const named = (only: readonly string[], isQuick = false): readonly string[] =>
  chosenOf(SCENARIOS, { only, isQuick }).map(({ name }) => name);

test('chosenOf() takes what any of the texts names, by scenario or by mesh, case aside', () => {
  assert.deepEqual(named(['10 mb UP', 'jwt']), ['10 MB up, 4 connections', '100 B, JWT']);
  assert.equal(named(['two policies']).includes('100 B, 1 connection'), true);
});

test('chosenOf() takes all without a text, and the quick ones alone when asked', () => {
  assert.equal(named([]).length, SCENARIOS.length);
  const quick = named([], true);
  assert.ok(quick.length > 0 && quick.length < SCENARIOS.length);
});

test('chosenOf() refuses a text that names nothing, and says what there is', () => {
  assert.throws(() => named(['quic']), /no such scenario\n[^]*100 B, 32 connections/);
});

test('scenarios have names of their own, and drivers that there are', () => {
  const names = named([]);
  assert.equal(new Set(names).size, names.length);
  const drivers = new Set(DRIVER_KINDS.map(({ name }) => name));
  for (const { name, drivers: wanted } of SCENARIOS) {
    assert.ok(
      wanted.some((driver) => drivers.has(driver)),
      name,
    );
  }
});

test('scenarios survive JSON: they are handed to another process', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(SCENARIOS)), SCENARIOS);
});
