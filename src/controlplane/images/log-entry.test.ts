// What of a log of signatures is kept beside one, and that nothing in it can end who reads it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLogEntry } from './log-entry.ts';

const kept = (body: unknown, logIndex: unknown = 2): object => ({
  SignedEntryTimestamp: 'AA==',
  Payload: {
    body: Buffer.from(JSON.stringify(body)).toString('base64'),
    integratedTime: 1,
    logIndex,
    logID: 'ab',
  },
});

test('readLogEntry() reads what kind of entry it is', () => {
  const entry = readLogEntry({ ...kept({ kind: 'hashedrekord', apiVersion: '0.0.1' }) });
  assert.deepEqual(entry?.kindVersion, { kind: 'hashedrekord', version: '0.0.1' });
});

test('readLogEntry() takes a kind that is no text, and an index that is no number, for none (flaw: an object that throws when it is made a text)', () => {
  const kind = { toString: 1, valueOf: 1 };
  const odd = kept({ kind: 'hashedrekord', apiVersion: '0.0.1' }, kind);
  assert.equal(readLogEntry({ ...odd }), undefined);
  for (const body of [{ kind, apiVersion: '1' }, { kind: 'a', apiVersion: kind }, {}, [], 'x']) {
    assert.equal(readLogEntry({ ...kept(body) }), undefined, JSON.stringify(body));
  }
});
