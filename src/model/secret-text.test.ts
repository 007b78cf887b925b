import assert from 'node:assert/strict';
import { test } from 'node:test';
import { format, inspect } from 'node:util';
import { SecretText } from './secret-text.ts';

test('SecretText shows its text to nobody who does not ask for it', () => {
  const secret = new SecretText('hunter2');
  const shown = [
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true, depth: 9 }),
    format('%s %o %j', secret, secret, secret),
    `${String(secret)} ${Object.entries(secret).join()}`,
  ];
  for (const text of shown) assert.ok(!text.includes('hunter2'), text);
  assert.equal(secret.reveal(), 'hunter2');
  assert.ok(secret.equals(new SecretText('hunter2')));
  assert.ok(!secret.equals(new SecretText('hunter3')));
});
