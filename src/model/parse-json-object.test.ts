// Which texts are JSON objects, and that nothing else is taken for one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJsonObject } from './parse-json-object.ts';

test('parseJsonObject() reads objects, and nothing of what is none', () => {
  assert.deepEqual(parseJsonObject(' {"a": [1]} '), { a: [1] });
  for (const text of ['', '{', '{}{}', 'null', '[]', '1', '"a"', 'undefined', '{"a": 1,}']) {
    assert.equal(parseJsonObject(text), undefined, text);
  }
});

test('parseJsonObject() outlives texts as deep as they are long (flaw: a stack that an answer fills)', () => {
  assert.equal(parseJsonObject('{"a":'.repeat(500_000)), undefined);
  assert.equal(parseJsonObject('['.repeat(500_000)), undefined);
});
