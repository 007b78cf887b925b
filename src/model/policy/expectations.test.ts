import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExpectations } from './expectations.ts';
import type { PlainObject } from './reader.ts';

const one = { from: 'shop/web', to: 'shop/prices', expect: 'allow' };

function testsOf(value: PlainObject) {
  const parsed = parseExpectations(value);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value.tests;
}

test('parseExpectations() makes of lists each combination, named by its call', () => {
  const tests = testsOf({
    kind: 'PolicyTest',
    tests: [{ ...one, from: ['shop/web', 'plaintext'], path: ['/a', '/b'], port: 80 }],
  });
  assert.deepEqual(
    tests.map(({ name }) => name),
    [
      'shop/web → shop/prices:80: GET /a',
      'shop/web → shop/prices:80: GET /b',
      'plaintext → shop/prices:80: GET /a',
      'plaintext → shop/prices:80: GET /b',
    ],
  );
  assert.equal(tests[2]?.question.from, undefined, 'plaintext is no identity');
});

test('parseExpectations() reads headers with one value and with several', () => {
  const [only] = testsOf({ tests: [{ ...one, headers: { a: 'b', c: ['d', 'e'] } }] });
  assert.deepEqual(only?.question.headers, [
    ['a', 'b'],
    ['c', 'd'],
    ['c', 'e'],
  ]);
});

const WRONG: readonly (readonly [string, PlainObject, string])[] = [
  ['no tests', {}, 'tests'],
  ['an unknown field', { tests: [{ ...one, form: 'shop/web' }] }, 'tests[0].form'],
  ['no caller', { tests: [{ to: 'shop/x', expect: 'deny' }] }, 'tests[0].from'],
  ['nobody that is called', { tests: [{ from: 'shop/x', expect: 'deny' }] }, 'tests[0].to'],
  ['no expectation', { tests: [{ from: 'a/b', to: 'a/c' }] }, 'tests[0].expect'],
  ['a port as text', { tests: [{ ...one, port: '80' }] }, 'tests[0].port'],
  ['another kind', { kind: 'Pod', tests: [one] }, 'kind'],
];
for (const [claim, value, field] of WRONG) {
  test(`parseExpectations() refuses ${claim} and names ${field}`, () => {
    const parsed = parseExpectations(value);
    assert.ok(!parsed.ok);
    assert.equal(parsed.problems[0]?.field, field);
    assert.ok(parsed.problems[0].cure !== undefined);
  });
}
