// A request is named by its caller or by us, never twice by us.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestIdOf } from './request-id.ts';

test('ids of one process are all different', () => {
  const ids = new Set(Array.from({ length: 5_000 }, () => requestIdOf(undefined)));
  assert.equal(ids.size, 5_000);
  for (const id of ids) assert.equal(requestIdOf(id), id, 'they are harmless themselves');
});

test('a caller’s id is kept unless it could break a log or a header', () => {
  assert.equal(requestIdOf('a-1_b.c:d'), 'a-1_b.c:d');
  for (const id of ['', 'a b', 'a\r\nb', 'a"b', 'x'.repeat(129)]) {
    assert.notEqual(requestIdOf(id), id);
  }
});
