// A JSON patch leads from one object to the other, whatever they are, and touches only what differs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { jsonPatchOf, type PatchOperation } from './json-patch.ts';

/** As RFC 6902 says it, in place. */
function applied(object: PlainObject, operations: readonly PatchOperation[]): unknown {
  const root: unknown = structuredClone(object);
  for (const operation of operations) {
    const keys = operation.path
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop() ?? '';
    let parent: unknown = root;
    for (const key of keys) parent = child(parent, key);
    if (Array.isArray(parent)) {
      const inserted = operation.op === 'remove' ? [] : [operation.value];
      const index = Number(last);
      assert.ok(index < parent.length + (operation.op === 'add' ? 1 : 0), operation.path);
      parent.splice(index, operation.op === 'add' ? 0 : 1, ...inserted);
    } else {
      assert.ok(isPlainObject(parent), operation.path);
      assert.equal(Object.hasOwn(parent, last), operation.op !== 'add', operation.path);
      if (operation.op === 'remove') Reflect.deleteProperty(parent, last);
      else {
        const value = operation.value;
        Object.defineProperty(parent, last, {
          value,
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
    }
  }
  return root;
}

function child(parent: unknown, key: string): unknown {
  if (Array.isArray(parent)) return parent[Number(key)];
  assert.ok(isPlainObject(parent) && Object.hasOwn(parent, key), key);
  return parent[key];
}

const keys = fc.constantFrom('a', 'b', 'name', 'a/b', '~c', 'spec');
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom('x', 'y', 1, true, null),
    tie('list'),
    tie('named'),
    tie('object'),
  ),
  list: fc.array(tie('value'), { maxLength: 4 }),
  named: fc.uniqueArray(fc.record({ name: fc.constantFrom('p', 'q', 'r', 's'), v: tie('value') }), {
    selector: ({ name }) => name,
    maxLength: 4,
  }),
  object: fc.dictionary(keys, tie('value'), { maxKeys: 4, noNullPrototype: true }),
}));
/** Prototypes are no part of JSON. */
const objects = fc
  .dictionary(keys, values.value, { maxKeys: 5 })
  .map((object) => structuredClone(object));

test('jsonPatchOf() leads from any object to any other', () => {
  fc.assert(
    fc.property(objects, objects, (before, after) => {
      assert.deepEqual(applied(before, jsonPatchOf(before, after)), after);
    }),
    { numRuns: runs(500) },
  );
});

test('jsonPatchOf() of equal objects is empty', () => {
  fc.assert(
    fc.property(objects, (object) => {
      assert.deepEqual(jsonPatchOf(object, structuredClone(object)), []);
    }),
  );
});

const of = (...names: readonly string[]): PlainObject => ({
  list: names.map((name) => ({ name, image: `${name}:1` })),
});

test('jsonPatchOf() adds to a list of named things without repeating those that stay', () => {
  assert.deepEqual(jsonPatchOf(of('web'), of('sidecar', 'web', 'last')), [
    { op: 'add', path: '/list/0', value: { name: 'sidecar', image: 'sidecar:1' } },
    { op: 'add', path: '/list/2', value: { name: 'last', image: 'last:1' } },
  ]);
  assert.deepEqual(jsonPatchOf(of('a', 'web', 'b'), of('web')), [
    { op: 'remove', path: '/list/2' },
    { op: 'remove', path: '/list/0' },
  ]);
  assert.deepEqual(jsonPatchOf(of('a', 'b'), of('b', 'a')), [
    { op: 'replace', path: '/list', value: of('b', 'a')['list'] },
  ]);
});

test('jsonPatchOf() quotes keys that have slashes and tildes', () => {
  assert.deepEqual(jsonPatchOf({ 'weft.dev/a~b': '1' }, { 'weft.dev/a~b': '2' }), [
    { op: 'replace', path: '/weft.dev~1a~0b', value: '2' },
  ]);
});
