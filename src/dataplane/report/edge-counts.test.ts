// What is counted between two reports, and that it stays small whatever comes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EdgeCounts, type SeenRequest } from './edge-counts.ts';

const request = (of: Partial<SeenRequest>): SeenRequest => ({
  source: 'spiffe://mesh.test/ns/shop/sa/web',
  port: 8080,
  method: 'GET',
  path: '/items/1',
  verdict: { isAllowed: true, reason: 'allow-rule', decidedBy: 'ns[shop]-policy[p]-rule[0]' },
  ...of,
});

test('requests that differ in values alone are one edge; take() starts over', () => {
  const counts = new EdgeCounts();
  counts.note(request({ path: '/items/1' }));
  counts.note(request({ path: '/items/2' }));
  counts.note(request({ method: 'POST' }));
  assert.deepEqual(
    counts.take().map(({ method, path, count }) => [method, path, count]),
    [
      ['GET', '/items/{*}', 2],
      ['POST', '/items/{*}', 1],
    ],
  );
  assert.deepEqual(counts.take(), []);
});

test('callers, decisions and rules are told apart; a connection has neither method nor path', () => {
  const counts = new EdgeCounts();
  const denied = { isAllowed: false, reason: 'no-allow-match', decidedBy: undefined } as const;
  counts.note(request({}));
  counts.note(request({ source: undefined, verdict: denied }));
  counts.note(request({ method: '', path: '', verdict: undefined }));
  assert.deepEqual(
    counts.take().map(({ source, is_allowed: isAllowed, rule }) => [source, isAllowed, rule]),
    [
      ['spiffe://mesh.test/ns/shop/sa/web', true, 'ns[shop]-policy[p]-rule[0]'],
      ['', false, ''],
      ['spiffe://mesh.test/ns/shop/sa/web', true, ''],
    ],
  );
});

test('a caller who asks for a hundred thousand paths costs a bounded number of edges, and none of his requests is lost', () => {
  const counts = new EdgeCounts();
  for (let at = 0; at < 100_000; at++) counts.note(request({ path: `/p${at}x/a` }));
  const edges = counts.take();
  assert.ok(edges.length <= 501, `${edges.length}`);
  const sum = edges.reduce((total, { count }) => total + Number(count), 0);
  assert.equal(sum, 100_000);
});

test('the same path again counts for its own caller, method and decision, and for nobody after take()', () => {
  const counts = new EdgeCounts();
  const denied = { isAllowed: false, reason: 'no-allow-match', decidedBy: undefined } as const;
  const kinds = [{}, { method: 'POST' }, { source: undefined }, { port: 81 }, { verdict: denied }];
  for (const of of [...kinds, ...kinds, ...kinds]) {
    counts.note(request(of));
    counts.note(request(of));
  }
  assert.deepEqual(
    counts.take().map(({ count }) => count),
    [6, 6, 6, 6, 6],
  );
  counts.note(request({}));
  assert.deepEqual(
    counts.take().map(({ count }) => count),
    [1],
  );
});
