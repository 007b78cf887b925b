// Globs and templates on the wire: one spelling each, and no text of a user's choosing means anything in a regular expression.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GlobPart } from '@weft/model/policy/rbac';
import fc from 'fast-check';
import { glob, template } from '../../../test/support/rbac-arbitraries.ts';
import { textOfAny } from '../../../test/support/text-arbitraries.ts';
import { encodeMessage } from '../registry.ts';
import { createReading, encodeAny, readMessage } from './fields.ts';
import { encodeStringMatcher, formatGlob, parseGlob } from './string-match.ts';
import { encodeUriTemplate, MAX_TEMPLATE_LENGTH, readUriTemplate } from './uri-template.ts';

const GLOBS: readonly [readonly GlobPart[], string][] = [
  [[{ kind: 'any' }], '.*'],
  [[{ kind: 'some' }], '.+'],
  [
    [{ kind: 'literal', text: 'spiffe://' }, { kind: 'any' }, { kind: 'literal', text: '/sa/web' }],
    'spiffe://.*/sa/web',
  ],
  [
    [
      { kind: 'literal', text: 'spiffe://' },
      { kind: 'segment' },
      { kind: 'literal', text: '.org/' },
    ],
    String.raw`spiffe://[^/]*\.org/`,
  ],
  [
    [{ kind: 'literal', text: String.raw`\.+*?()|[]{}^$` }],
    String.raw`\\\.\+\*\?\(\)\|\[\]\{\}\^\$`,
  ],
  [[{ kind: 'literal', text: '\0\n\x7f\x9fé😀 -' }], String.raw`\x{0}\x{a}\x{7f}\x{9f}é😀 -`],
];
for (const [parts, regex] of GLOBS) {
  test(`formatGlob() and parseGlob() agree on ${JSON.stringify(regex)}`, () => {
    assert.equal(formatGlob(parts), regex);
    assert.deepEqual(parseGlob(regex), parts);
  });
}

const NOT_GLOBS: readonly string[] = [
  'a|b',
  '(a)',
  'a*',
  'a+',
  'a?',
  '.',
  'a.b',
  '^a',
  'a$',
  '[a]',
  '[^/]+',
  '[^/]',
  '[^.]*',
  'a{2}',
  '(?i)a',
  '.*?',
  '.+?',
  '.**',
  '.*+',
  String.raw`\d`,
  String.raw`\Qa\E`,
  String.raw`\a`,
  String.raw`\x41`,
  String.raw`\x{41}`,
  String.raw`\x{0a}`,
  String.raw`\x{A}`,
  String.raw`\x{7F}`,
  String.raw`\x{ a}`,
  String.raw`\x{}`,
  String.raw`\x{a`,
  String.raw`\x{110000}`,
  '\\',
  'a\\',
  '\n',
  '\x7f',
];
for (const regex of NOT_GLOBS) {
  test(`parseGlob() refuses ${JSON.stringify(regex)}`, () => {
    assert.equal(parseGlob(regex), undefined);
  });
}

test('parseGlob() is the inverse of formatGlob(), for any text', () => {
  fc.assert(
    fc.property(glob, (parts) => assert.deepEqual(parseGlob(formatGlob(parts)), parts)),
    { numRuns: 1000 },
  );
});

test('formatGlob() of parseGlob() is the same expression: nothing has two spellings', () => {
  const piece = fc.constantFrom(
    '.*',
    '.+',
    '[^/]*',
    '\\',
    '.',
    '*',
    'x{',
    'a',
    '}',
    '{',
    '0',
    '[',
    '^',
    '/',
    ']',
    'é',
    '\u0001',
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 8 }).map((all) => all.join('')),
      (regex) => {
        const parts = parseGlob(regex);
        if (parts !== undefined) assert.equal(formatGlob(parts), regex);
      },
    ),
    { numRuns: 5000 },
  );
});

test('a literal matches itself alone as a regular expression: user text never means anything in it (CVE-2026-39350)', () => {
  fc.assert(
    fc.property(textOfAny({ minLength: 1 }), textOfAny(), (text, other) => {
      // JavaScript's spelling of RE2's \x{…}.
      const quoted = formatGlob([{ kind: 'literal', text }]).replaceAll('\\x{', '\\u{');
      const regex = new RegExp(`^(?:${quoted})$`, 'us');
      assert.ok(regex.test(text));
      assert.equal(regex.test(other), other === text);
    }),
  );
});

test('encodeStringMatcher() writes an empty glob as the empty text, and lone surrogates as UTF-8', () => {
  assert.deepEqual(encodeStringMatcher({ kind: 'glob', parts: [] }), { exact: '' });
  const { exact } = encodeStringMatcher({ kind: 'exact', value: '\ud800', ignoreCase: false });
  assert.equal(exact, '\ufffd');
});

function readTemplate(path: string) {
  const reading = createReading();
  const typed = encodeAny('envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', {
    path_template: path,
  });
  const message = {
    name: 'envoy.path.match.uri_template.uri_template_matcher',
    typed_config: typed,
  };
  const bytes = encodeMessage('envoy.config.core.v3.TypedExtensionConfig', message);
  const value = readMessage(
    'envoy.config.core.v3.TypedExtensionConfig',
    bytes,
    { reading, path: '' },
    readUriTemplate,
  );
  return { value, problems: reading.problems };
}

test('encodeUriTemplate() writes {*} as * and {**} as **, and readUriTemplate() reads it back', () => {
  assert.equal(readTemplate('/foo/*/bar/**/cart').value, '/foo/{*}/bar/{**}/cart');
  fc.assert(
    fc.property(template, (text) => {
      const bytes = encodeMessage(
        'envoy.config.core.v3.TypedExtensionConfig',
        encodeUriTemplate(text),
      );
      const reading = createReading();
      const value = readMessage(
        'envoy.config.core.v3.TypedExtensionConfig',
        bytes,
        { reading, path: '' },
        readUriTemplate,
      );
      assert.deepEqual([value, reading.problems], [text, []]);
    }),
  );
});

const NOT_TEMPLATES: readonly string[] = [
  'foo',
  '*',
  '/a*',
  '/*.js',
  '/**.mpd',
  '/{a}',
  '/{a=*}',
  '/{*}',
  '/***',
  '/**/*',
  '/**/**',
  '/a b',
  '/é',
  '/a?b',
  '/a#b',
  `/${'a'.repeat(MAX_TEMPLATE_LENGTH)}`,
];
for (const path of NOT_TEMPLATES) {
  test(`readUriTemplate() refuses ${JSON.stringify(path.slice(0, 20))}`, () => {
    const { value, problems } = readTemplate(path);
    assert.equal(value, undefined);
    assert.equal(problems[0]?.field, 'typed_config.path_template');
  });
}

test('encodeUriTemplate() throws for what is no template', () => {
  for (const text of ['/a*', '/*', '/{a}', 'a', '/{**}/{*}', '/{*}x'])
    assert.throws(() => encodeUriTemplate(text), /Cannot encode a path template/);
});
