// What is ambiguous about a path, however it is spelled, and nothing that is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpRequest } from '../../../test/support/policies.ts';
import {
  AMBIGUOUS_PATHS,
  ambiguousPathRules,
  APPLICATION_PRESETS,
  findAmbiguity,
  type AmbiguousPath,
} from './ambiguous-path.ts';
import { compileRbac } from './evaluate.ts';
import { normalizeTarget } from './path.ts';

const rows: readonly (readonly [string, AmbiguousPath | undefined])[] = [
  ['/admin;x=1', 'parameters'],
  ['/admin%3Bx', 'parameters'],
  ['/a;/b', 'parameters'],
  ['/a%2fb', 'encodedSlash'],
  ['/a%2Fb', 'encodedSlash'],
  ['/a%5cb', 'encodedBackslash'],
  ['/a%5Cb', 'encodedBackslash'],
  ['/a\\b', 'encodedBackslash'],
  ['//a', 'doubleSlash'],
  ['/a//', 'doubleSlash'],
  ['/a/./b', 'dotSegments'],
  ['/a/../b', 'dotSegments'],
  ['/a/..', 'dotSegments'],
  ['/a/%2e%2E/b', 'dotSegments'],
  ['/a/.%2e', 'dotSegments'],
  ['/', undefined],
  ['/a.b/c..d/.well-known/...', undefined],
  ['/a%20b/%e4', undefined],
  ['/a?x=/../;%2f//', undefined],
  ['/a#/../;', undefined],
];

for (const [target, kind] of rows) {
  test(`findAmbiguity() says ${kind ?? 'nothing'} of ${target}`, () => {
    assert.equal(findAmbiguity(target, AMBIGUOUS_PATHS), kind);
    if (kind === undefined) return;
    assert.equal(findAmbiguity(target, [kind]), kind);
    const others = AMBIGUOUS_PATHS.filter((other) => other !== kind);
    assert.equal(findAmbiguity(target, others), undefined, 'only what is asked for');
  });
}

test('dot segments are found behind encoded slashes and before parameters (CVE-2026-73553)', () => {
  for (const target of ['/a%2f..%2fb', '/a%5c..', '/a\\..\\b', '/a/..;x/b', '/a/.;/b']) {
    assert.equal(findAmbiguity(target, ['dotSegments']), 'dotSegments', target);
  }
});

test('rules for other proxies refuse what they still see after normalisation, and no plain path', () => {
  const evaluator = compileRbac([ambiguousPathRules(AMBIGUOUS_PATHS)]);
  for (const [target, kind] of rows) {
    if (target.includes('#')) continue;
    const { isAllowed } = evaluator.decide(httpRequest({ target }));
    assert.equal(isAllowed, kind === undefined, target);
  }
});

test('every preset forwards only paths that normalise to themselves', () => {
  for (const [name, { normalization, refused }] of APPLICATION_PRESETS) {
    for (const [target] of rows) {
      if (findAmbiguity(target, refused) !== undefined) continue;
      const once = normalizeTarget(target, normalization);
      if (!once.ok) continue;
      assert.deepEqual(normalizeTarget(once.target, normalization), once, `${name} ${target}`);
    }
  }
});
