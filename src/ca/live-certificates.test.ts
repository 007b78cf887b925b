import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveCertificates } from './live-certificates.ts';

test('count() counts a generation’s certificates until they expire or are replaced', () => {
  const live = new LiveCertificates();
  live.add('a', { generation: 1, notAfterMs: 100 });
  live.add('b', { generation: 1, notAfterMs: 200 });
  live.add('c', { generation: 2, notAfterMs: 200 });
  assert.equal(live.count(1, 50), 2);
  live.remove('b');
  assert.equal(live.count(1, 50), 1);
  assert.equal(live.count(1, 100), 0);
  assert.equal(live.count(2, 100), 1);
});

test('count() assumes unknown certificates until the longest of them has expired', () => {
  const live = new LiveCertificates();
  live.assumeUntil(1, 100);
  live.assumeUntil(1, 50);
  assert.equal(live.count(1, 99), 1);
  assert.equal(live.count(1, 100), 0);
});

test('add() beyond the limit forgets single certificates and remembers that there were some', () => {
  const live = new LiveCertificates(2);
  for (const serial of ['a', 'b', 'c']) live.add(serial, { generation: 1, notAfterMs: 100 });
  live.remove('b');
  live.remove('c');
  assert.equal(live.count(1, 99), 1);
  assert.equal(live.count(1, 100), 0);
});
