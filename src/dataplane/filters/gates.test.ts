// Gates stay while their filter does: listeners change far more often than token rules.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenRule } from '../../../test/support/tokens.ts';
import { createGates } from './gates.ts';

test('the same filter in another listener is the same gate, with what it knows', () => {
  const gates = createGates();
  const config = { rules: [tokenRule()] };
  assert.equal(gates.jwt(config), gates.jwt(structuredClone(config)));
});

test('another key, issuer or place is another gate: what was verified before counts no more', () => {
  const gates = createGates();
  const gate = gates.jwt({ rules: [tokenRule()] });
  for (const over of [{ jwks: '{"keys":[1]}' }, { issuer: 'x' }, { fromParams: [] }]) {
    assert.notEqual(gates.jwt({ rules: [tokenRule(over)] }), gate);
  }
});
