// What listeners may rely on: each is told until it has had enough, and none suffers from another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Listeners } from './listeners.ts';

test('Listeners tells each of those added, in their order, until it is disposed', () => {
  const listeners = new Listeners<number>();
  const told: string[] = [];
  const same = (event: number): void => void told.push(`same ${event}`);
  const first = listeners.add(same);
  listeners.add(same);
  listeners.add((event) => told.push(`other ${event}`));
  listeners.tell(1);
  first[Symbol.dispose]();
  listeners.tell(2);
  listeners.clear();
  listeners.tell(3);
  assert.deepEqual(told, ['same 1', 'same 1', 'other 1', 'same 2', 'other 2']);
});

test('tell() ends with the first that throws; tellAll() goes on and says what was thrown', () => {
  const listeners = new Listeners();
  let count = 0;
  listeners.add(() => {
    throw new Error('flaw');
  });
  listeners.add(() => count++);
  assert.throws(() => listeners.tell(), { message: 'flaw' });
  assert.equal(count, 0);
  const failed: unknown[] = [];
  listeners.tellAll(undefined, (error) => failed.push(error));
  assert.equal(count, 1);
  assert.deepEqual(failed.map(String), ['Error: flaw']);
});
