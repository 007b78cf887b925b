// What must hold: answers say their type and their length in bytes, are kept by no cache, and targets are parted at the first question mark.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headersOf, json, metricsAnswer, targetOf, text } from './http-answer.ts';

test('headersOf() counts bytes, and lets nobody keep an answer or guess its type', () => {
  assert.deepEqual(headersOf(text(200, 'grüß\n')), {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': 7,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  assert.equal(
    headersOf(metricsAnswer('a 1\n'))['content-type'],
    'text/plain; version=0.0.4; charset=utf-8',
  );
});

test('json() is for people too: indented, with a line end', () => {
  const answer = json(404, { error: 'no such thing' });
  assert.equal(answer.body, '{\n  "error": "no such thing"\n}\n');
  assert.equal(answer.status, 404);
});

test('targetOf() parts path and query at the first question mark', () => {
  assert.deepEqual(targetOf({ url: '/v1/explain?path=/a?b' }), {
    path: '/v1/explain',
    query: 'path=/a?b',
  });
  assert.deepEqual(targetOf({ url: '/metrics' }), { path: '/metrics', query: '' });
  assert.deepEqual(targetOf({}), { path: '/', query: '' });
});
