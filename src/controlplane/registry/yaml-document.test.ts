import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_DOCUMENT_LENGTH, readYamlDocument } from './yaml-document.ts';

const codes = (text: string): readonly string[] =>
  readYamlDocument(text).findings.map(({ code }) => code);

test('readYamlDocument() takes values as they are written', () => {
  const { value, findings } = readYamlDocument(
    'a: {8080: x, b: [1, true, "2", null]}\n__proto__: 1\n',
  );
  assert.deepEqual(findings, []);
  assert.equal(JSON.stringify(value), '{"a":{"8080":"x","b":[1,true,"2",null]},"__proto__":1}');
});

test('readYamlDocument() takes an alias for what its anchor says', () => {
  const { value, findings } = readYamlDocument('a: &x {k: v}\nb: *x\n');
  assert.deepEqual(findings, []);
  assert.equal(JSON.stringify(value), '{"a":{"k":"v"},"b":{"k":"v"}}');
});

const bomb = ['a0: &a0 [x,x,x,x,x,x,x,x,x,x]'];
for (let at = 1; at < 12; at++) {
  bomb.push(
    `a${at}: &a${at} [${Array(10)
      .fill(`*a${at - 1}`)
      .join(',')}]`,
  );
}

const refused: readonly (readonly [string, string, readonly string[]])[] = [
  ['an alias bomb', `${bomb.join('\n')}\n`, ['alias-bomb']],
  ['an alias of itself', 'a: &a [*a]\n', ['too-deep']],
  ['an alias without an anchor', 'a: *b\n', ['bad-yaml']],
  ['duplicate keys', 'a: 1\nb: {c: 1, c: 2}\na: 3\n', ['duplicate-key', 'duplicate-key']],
  ['duplicate keys that differ in spelling', 'a: 1\n"a": 3\n', ['duplicate-key']],
  ['a merge key', 'a: &a {b: 1}\nc: {<<: *a}\n', ['merge-key']],
  ['a document beyond all measure', 'x'.repeat(MAX_DOCUMENT_LENGTH + 1), ['document-too-large']],
  ['a null byte', 'a: 1\nb: \0\0\n', ['null-byte']],
  ['a key that is no text', '? {a: 1}\n: b\n', ['bad-key']],
  ['an unknown tag', 'a: !x 1\n', ['bad-yaml']],
  ['a tab as indentation', 'a:\n\tb: 1\n', ['bad-yaml']],
  ['nesting beyond all measure', '['.repeat(50_000), ['bad-yaml']],
  ['nesting beyond measure', `${'['.repeat(70)}${']'.repeat(70)}`, ['too-deep']],
];
for (const [name, text, expected] of refused) {
  test(`readYamlDocument() refuses ${name}`, () => {
    assert.deepEqual([...new Set(codes(text))], [...new Set(expected)]);
  });
}

test('readYamlDocument() says where a duplicate key is', () => {
  const [finding] = readYamlDocument('a:\n  b: 1\n  b: 2\n').findings;
  assert.deepEqual([finding?.line, finding?.column], [3, 3]);
});

test('readYamlDocument() reads 50,000 keys of one mapping in less than quadratic time', () => {
  const text = Array.from({ length: 50_000 }, (_, at) => `k${at}: 1\n`).join('');
  const before = performance.now();
  assert.deepEqual(codes(text), []);
  assert.ok(performance.now() - before < 10_000);
});

const manifest = `kind: X
metadata:
  annotations:
    a.b/c: x
    a: y
spec:
  rules:
  - from: []
  -   to:
      - operation: {paths: ["/a", "/b"]}
`;
const places: readonly (readonly [string, number, number])[] = [
  ['', 1, 1],
  ['kind', 1, 1],
  ['metadata.annotations.a.b/c', 4, 5],
  ['metadata.annotations.a', 5, 5],
  ['spec.rules[1]', 9, 7],
  ['spec.rules[1].to[0].operation.paths[1]', 10, 35],
  ['spec.rules[1].to[0].operation.nosuch', 10, 9],
  ['spec.rules[7].to', 7, 3],
  ['nosuch', 1, 1],
];
for (const [field, line, column] of places) {
  test(`place() finds ${field === '' ? 'the object' : field}`, () => {
    assert.deepEqual(readYamlDocument(manifest).place([], field), { line, column });
  });
}
