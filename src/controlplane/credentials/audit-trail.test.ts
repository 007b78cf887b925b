// What is kept of the audit: the newest of each act, and no act at the cost of another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { pino } from 'pino';
import { AuditTrail } from './audit-trail.ts';

test('lines() keeps the newest of each act in the order of time, however many there are of another', () => {
  const clock = createTurnableClock(0);
  const logged: string[] = [];
  const log = pino({}, { write: (line: string) => void logged.push(line) });
  const trail = new AuditTrail({ log, clock });
  trail.write({ act: 'handed-over', identity: 'web', credential: 'db', version: '1' });
  for (let at = 0; at < 3_000; at++) {
    clock.turn(1);
    trail.write({ act: 'refused', identity: `nobody-${at}` });
  }
  clock.turn(1);
  trail.write({ act: 'withdrawn', identity: 'web', credential: 'db', version: '1' });
  const lines = trail.lines();
  assert.equal(lines.length, 1_026);
  assert.equal(lines[0]?.act, 'handed-over');
  assert.equal(lines[1]?.identity, 'nobody-1976');
  assert.equal(lines.at(-2)?.identity, 'nobody-2999');
  assert.equal(lines.at(-1)?.act, 'withdrawn');
  assert.equal(logged.length, 3_002);
  assert.deepEqual(trail.counts, {
    'handed-over': 1,
    'handed-on': 0,
    withdrawn: 1,
    refused: 3_000,
  });
});
