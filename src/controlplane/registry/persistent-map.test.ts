// What must hold: a persistent map says what a Map says, its versions leave each other alone, and their differences are exact.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { differences, PersistentMap } from './persistent-map.ts';

const changes = fc.array(
  fc.tuple(
    fc.integer({ min: 0, max: 400 }).map((n) => `k${n}`),
    fc.option(fc.integer(), { nil: undefined }),
  ),
  { maxLength: 300 },
);

function applied(
  map: ReadonlyMap<string, number>,
  list: readonly (readonly [string, number | undefined])[],
) {
  const next = new Map(map);
  for (const [key, value] of list) {
    if (value === undefined) next.delete(key);
    else next.set(key, value);
  }
  return next;
}

const sorted = (map: ReadonlyMap<string, number>): readonly (readonly [string, number])[] =>
  [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));

test('with() gives what a Map would hold, in order, and leaves the version before as it was', () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 6 }), (steps) => {
      let model: ReadonlyMap<string, number> = new Map();
      let map = PersistentMap.from<number>([], { isOrderOfKeys: true });
      for (const step of steps) {
        const [modelBefore, before] = [model, map];
        model = applied(model, step);
        map = map.with(step);
        assert.deepEqual([...map], sorted(model));
        assert.equal(map.size, model.size);
        for (const [key, value] of model) assert.equal(map.get(key), value);
        for (const [key] of step) assert.equal(map.has(key), model.has(key));
        assert.deepEqual([...before], sorted(modelBefore));
      }
    }),
    { numRuns: 60 },
  );
});

test('differences() of two versions are those of the Maps that they stand for', () => {
  fc.assert(
    fc.property(changes, changes, (first, second) => {
      const before = PersistentMap.from(applied(new Map(), first));
      const after = before.with(second);
      const plain = differences(new Map(before), new Map(after));
      const byKey = (found: Iterable<{ readonly key: string }>) =>
        [...found].toSorted((a, b) => (a.key < b.key ? -1 : 1));
      assert.deepEqual(byKey(differences(before, after)), byKey(plain));
    }),
    { numRuns: 100 },
  );
});

test('with() is the same map when it changes nothing', () => {
  const map = PersistentMap.from([['a', 1]]);
  assert.equal(
    map.with([
      ['a', 1],
      ['b', undefined],
    ]),
    map,
  );
});

test('differences() do not look at what two versions share', () => {
  const keys = Array.from({ length: 5_000 }, (_, n) => `key-${n}`);
  const before = PersistentMap.from(keys.map((key) => [key, { key }] as const));
  const [difference, ...more] = differences(before, before.with([['key-7', { key: 'other' }]]));
  assert.equal(difference?.key, 'key-7');
  assert.deepEqual(more, []);
});
