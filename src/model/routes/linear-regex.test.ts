// What routes' regular expressions match, and what of them is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileLinearRegex } from './linear-regex.ts';

const TEXTS = [
  '',
  '/',
  '/a',
  '/abc',
  '/v1/users/42',
  '/v12/users/',
  '/users/ab-cd_9',
  'a',
  'aa',
  'aaa',
  'aaaa',
  'ab',
  'abab',
  'x.y',
  'xzy',
  '[a]',
  'a-b',
  'A B',
];
const PATTERNS = [
  '/v[0-9]+/users/.*',
  '/v\\d{1,2}/users/[^/]+',
  '^/users/[\\w-]+$',
  'a{2,3}',
  'a{2,}',
  'a{3}',
  '(ab)*',
  '(?:ab|a)+',
  'x\\.y',
  'x.y',
  '\\[a\\]',
  'a|/|',
  '[a-c]?b*?',
  '[^a]*',
  '\\w\\s\\w',
  '(a|b|)(c|/abc)?',
  '.+',
  '[-a]+b',
];

for (const pattern of PATTERNS) {
  test(`compileLinearRegex() matches ${pattern} as a backtracking engine does`, () => {
    const regex = compileLinearRegex(pattern);
    assert.ok(regex.ok, regex.ok ? '' : regex.why);
    const other = new RegExp(`^(?:${pattern})$`);
    for (const text of TEXTS) assert.equal(regex.matches(text), other.test(text), text);
  });
}

for (const pattern of [
  '(?=a)',
  '(?<name>a)',
  '(?i)a',
  '(a)\\1',
  '\\bword',
  'a**',
  'a++',
  '*a',
  '(a',
  'a)',
  '[a',
  '[z-a]',
  'a{2',
  'a{300}',
  'a^b',
  'a$b',
  '\\p{L}',
  'ü',
  '[[:alpha:]]',
  'a\\',
  '((a{50}){50}){50}',
  'a'.repeat(1_025),
]) {
  test(`compileLinearRegex() refuses ${pattern.slice(0, 20)} and says why`, () => {
    const regex = compileLinearRegex(pattern);
    assert.equal(regex.ok, false);
    assert.match(regex.ok ? '' : regex.why, /^(?:is|has|repeats|takes|ends) /);
  });
}

test('compileLinearRegex() takes linear time where backtracking takes for ever (CVE-2019-14993)', () => {
  const regex = compileLinearRegex('(a*)*(a|a)*(.*a){10}b');
  assert.ok(regex.ok);
  const startedAt = performance.now();
  assert.equal(regex.matches('a'.repeat(60_000)), false);
  assert.equal(regex.matches(`${'a'.repeat(60_000)}b`), true);
  assert.ok(performance.now() - startedAt < 20_000);
});

test('compileLinearRegex() keeps matching after more states than it holds', () => {
  const regex = compileLinearRegex('(?:.*a[ab]{9}|c.*)');
  assert.ok(regex.ok);
  let seed = 1;
  let text = '';
  for (let at = 0; at < 20_000; at++) {
    seed = (seed * 48_271) % 2_147_483_647;
    text += seed % 2 === 0 ? 'a' : 'b';
  }
  assert.equal(regex.matches(`${text}a${'b'.repeat(9)}`), true);
  assert.equal(regex.matches(`${text}b${'b'.repeat(9)}`), false);
});

test('compileLinearRegex() takes what is not ASCII for something that no letter of a pattern is', () => {
  const regex = compileLinearRegex('/[^/]+/\\w+');
  assert.ok(regex.ok);
  assert.equal(regex.matches('/\u00e9/a'), true);
  assert.equal(regex.matches('/a/\u00e9'), false);
});
