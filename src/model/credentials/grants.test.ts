// Who is granted what, and that nobody takes a name from a workload that counts on it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grantsOf } from './grants.ts';
import type { CredentialBinding, CredentialSpec } from './types.ts';

const spec = (name: string, secret: string): CredentialSpec => ({
  name,
  source: { kind: 'secret', name: secret },
  keys: undefined,
  ways: ['url'],
  injections: [],
});
const binding = (changes: Partial<CredentialBinding>): CredentialBinding => ({
  namespace: 'shop',
  name: 'one',
  createdAtMs: 1,
  serviceAccounts: ['web'],
  selector: undefined,
  credentials: [spec('db', 'shop-db')],
  ...changes,
});
const WEB = { namespace: 'shop', serviceAccount: 'web', labels: new Map([['app', 'web']]) };

const CASES: readonly (readonly [string, Partial<CredentialBinding>, boolean])[] = [
  ['its service account', {}, true],
  ['another service account', { serviceAccounts: ['cart'] }, false],
  ['the same account of another namespace', { namespace: 'pay' }, false],
  ['its labels', { selector: new Map([['app', 'web']]) }, true],
  ['labels that it has not', { selector: new Map([['app', 'cart']]) }, false],
  [
    'its labels with an account that is not its own',
    { serviceAccounts: ['cart'], selector: new Map([['app', 'web']]) },
    false,
  ],
];

for (const [what, changes, isGranted] of CASES) {
  test(`grantsOf() ${isGranted ? 'grants' : 'does not grant'} by ${what}`, () => {
    assert.equal(grantsOf([binding(changes)], WEB).byName.has('db'), isGranted);
  });
}

test('grantsOf() leaves a name with the oldest binding, and says so of the younger', () => {
  const old = binding({ name: 'zzz', createdAtMs: 1 });
  const young = binding({ name: 'aaa', createdAtMs: 2, credentials: [spec('db', 'evil')] });
  for (const bindings of [
    [old, young],
    [young, old],
  ]) {
    const { byName, refused } = grantsOf(bindings, WEB);
    assert.equal(byName.get('db')?.binding, old);
    assert.deepEqual(
      refused.map(({ binding: { name }, reason }) => [name, reason]),
      [['aaa', 'name-taken']],
    );
  }
});

test('grantsOf() refuses no equal ones, and no more than a workload can have', () => {
  const same = grantsOf([binding({}), binding({ name: 'two' })], WEB);
  assert.equal(same.refused.length, 0);
  const many = Array.from({ length: 300 }, (_, at) =>
    binding({ name: `b${at}`, credentials: [spec(`c${at}`, 'x')] }),
  );
  const { byName, refused } = grantsOf(many, WEB);
  assert.equal(byName.size, 256);
  assert.equal(refused.length, 44);
});
