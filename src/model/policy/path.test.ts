// The table of the contract: what a target becomes in each mode, and what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { normalizeTarget, type PathNormalization } from './path.ts';

const MODES: readonly PathNormalization[] = [
  'NONE',
  'BASE',
  'MERGE_SLASHES',
  'DECODE_AND_MERGE_SLASHES',
];

const rows: readonly (readonly [string, readonly [string, string, string, string]])[] = [
  ['/app#foo', ['/app', '/app', '/app', '/app']],
  ['/app?a=/../b#foo', ['/app?a=/../b', '/app?a=/../b', '/app?a=/../b', '/app?a=/../b']],
  ['/app/../admin', ['/app/../admin', '/admin', '/admin', '/admin']],
  ['/app//', ['/app//', '/app//', '/app/', '/app/']],
  ['/app//../admin', ['/app//../admin', '/app/admin', '/app/admin', '/app/admin']],
  ['/app\\admin', ['/app\\admin', '/app/admin', '/app/admin', '/app/admin']],
  ['/app%2f/', ['/app%2f/', '/app%2f/', '/app%2f/', '/app/']],
  [
    '/%2Fapp%5cadmin%5Cabc',
    ['/%2Fapp%5cadmin%5Cabc', '/%2Fapp%5cadmin%5Cabc', '/%2Fapp%5cadmin%5Cabc', '/app/admin/abc'],
  ],
  ['/xyz%30..//abc', ['/xyz%30..//abc', '/xyz0..//abc', '/xyz0../abc', '/xyz0../abc']],
  ['/app/%2E./admin', ['/app/%2E./admin', '/admin', '/admin', '/admin']],
  ['/a/..', ['/a/..', '/', '/', '/']],
  ['/../../x', ['/../../x', '/x', '/x', '/x']],
  ['/%252e%252e/x', ['/%252e%252e/x', '/%252e%252e/x', '/%252e%252e/x', '/%252e%252e/x']],
  ['/a;x=..;y/b', ['/a;x=..;y/b', '/a;x=..;y/b', '/a;x=..;y/b', '/a;x=..;y/b']],
  ['/a/...;/b', ['/a/...;/b', '/a/...;/b', '/a/...;/b', '/a/...;/b']],
  ['/%zz', ['/%zz', '/%zz', '/%zz', '/%zz']],
];

for (const [target, expected] of rows) {
  MODES.forEach((mode, index) => {
    test(`normalizeTarget() makes ${expected[index]} of ${target} in mode ${mode} (CVE-2021-31920)`, () => {
      assert.deepEqual(normalizeTarget(target, mode), { ok: true, target: expected[index] });
    });
  });
}

for (const target of ['/admin%00', '/a\x00b', '/a b', '/a\x7f', '/a\tb']) {
  test(`normalizeTarget() refuses ${JSON.stringify(target)} in every mode`, () => {
    for (const mode of MODES) assert.equal(normalizeTarget(target, mode).ok, false, mode);
  });
}

for (const target of ['/a/..;/b', '/a/..;x=y/b', '/a/.;/b', '/a/%2e%2E;x/b', '/a\\..;', '/..;']) {
  test(`normalizeTarget() refuses ${target}, by which some servers rise (CVE-2026-73553, CVE-2026-73511, CVE-2026-73551)`, () => {
    for (const mode of MODES.slice(1)) {
      const refused = { ok: false, reasonCode: 'path-dot-parameters' };
      assert.deepEqual(normalizeTarget(target, mode), refused, mode);
    }
    assert.deepEqual(normalizeTarget(target, 'NONE'), { ok: true, target });
  });
}

test('normalizeTarget() refuses what only shows when slashes are decoded (CVE-2026-73553)', () => {
  const hidden = normalizeTarget('/a%2f..;x%2fb', 'DECODE_AND_MERGE_SLASHES');
  assert.deepEqual(hidden, { ok: false, reasonCode: 'path-dot-parameters' });
});

test('property: a second pass changes nothing, so that matching and forwarding agree', () => {
  const part = fc.constantFrom(
    '/',
    '//',
    'a',
    '.',
    '..',
    '%2e',
    '%2f',
    '\\',
    '%5c',
    ';x',
    'b',
    '*',
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), fc.constantFrom(...MODES), (parts, mode) => {
      const first = normalizeTarget(`/${parts.join('')}`, mode);
      if (!first.ok) return;
      const again = normalizeTarget(first.target, mode);
      assert.deepEqual(again, first);
      if (mode !== 'NONE') assert.ok(!`${first.target}/`.includes('/../'), first.target);
    }),
    { numRuns: 2000 },
  );
});
