// The demo is the first thing that people see: every statement of it must hold.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runWeft } from '../support/lab-daemon.ts';

test('weft demo --once exits 0, for every statement held', { timeout: 170_000 }, async () => {
  const { code, stdout, stderr } = await runWeft(['demo', '--once'], { withinMs: 150_000 });
  assert.equal(code, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, /\n\d\d statements held, 0 did not\./);
});
