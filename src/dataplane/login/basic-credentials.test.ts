// Which Authorization headers are one user and one password, and which are none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { textOfAny } from '../../../test/support/text-arbitraries.ts';
import { readCredentials } from './basic-credentials.ts';

const read = (...values: readonly string[]) =>
  readCredentials({ header: (name) => (name === 'authorization' ? values : undefined) });

const basic = (text: string): string => `Basic ${Buffer.from(text, 'utf8').toString('base64')}`;

const good: readonly (readonly [string, string, string])[] = [
  [basic('ann:secret'), 'ann', 'secret'],
  [basic('ann:a:b:c'), 'ann', 'a:b:c'],
  [basic('ann:'), 'ann', ''],
  [basic(':x'), '', 'x'],
  [basic('Jürgen:Größe'), 'Jürgen', 'Größe'],
  [`bAsIc   ${Buffer.from('a:b').toString('base64')}  `, 'a', 'b'],
  [basic('a:bc').replaceAll('=', ''), 'a', 'bc'],
];
for (const [header, user, password] of good) {
  test(`readCredentials() reads ${header}`, () => {
    assert.deepEqual(read(header), { kind: 'credentials', credentials: { user, password } });
  });
}

const malformed: readonly (readonly [string, readonly string[]])[] = [
  ['another scheme', ['Bearer abc']],
  ['the scheme alone', ['Basic']],
  ['no colon', [basic('ann')]],
  ['letters that are not of base64', ['Basic YW5uOnN-jcmV0']],
  ['URL-safe base64', ['Basic YW5uOn_-']],
  ['a cut-off group', ['Basic YW5uO']],
  ['bytes that are no UTF-8', [`Basic ${Buffer.from([0x61, 0x3a, 0xff]).toString('base64')}`]],
  ['a null byte, where bcrypt would stop', [basic('ann:secret\0more')]],
  ['two of them', [basic('ann:secret'), basic('eve:guess')]],
  ['two in one line', [`${basic('ann:secret')}, ${basic('eve:guess')}`]],
  ['one that is too long', [basic(`ann:${'x'.repeat(1_024)}`)]],
];
for (const [what, values] of malformed) {
  test(`readCredentials() takes ${what} for none`, () => {
    assert.equal(read(...values).kind, 'malformed');
  });
}

test('readCredentials() tells a request without the header', () => {
  assert.equal(readCredentials({ header: () => undefined }).kind, 'absent');
});

test('readCredentials() reads back whatever was written, and throws for nothing', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), fc.string({ maxLength: 70 }), (user, password) => {
      fc.pre(!user.includes(':') && !`${user}${password}`.includes('\0'));
      const text = Buffer.from(`${user}:${password}`, 'utf8').toString('utf8');
      const found = read(basic(text));
      assert.ok(found.kind === 'credentials');
      assert.equal(`${found.credentials.user}:${found.credentials.password}`, text);
    }),
  );
  fc.assert(
    fc.property(textOfAny({ maxLength: 200 }), (text) => {
      read(text);
      read(`Basic ${text}`);
    }),
  );
});
