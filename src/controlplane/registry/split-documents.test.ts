import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitDocuments } from './split-documents.ts';

const cases: readonly (readonly [string, string, readonly (readonly [string, number])[]])[] = [
  ['nothing', '', []],
  ['comments and markers alone', '# a\n---\n\n--- # b\n...\n', []],
  ['one document without a marker', 'a: 1\n', [['a: 1\n', 0]]],
  [
    'two',
    'a: 1\n---\nb: 2\n',
    [
      ['a: 1\n', 0],
      ['---\nb: 2\n', 1],
    ],
  ],
  [
    'content on the marker line',
    '--- {a: 1}\n---\tb\n',
    [
      ['--- {a: 1}\n', 0],
      ['---\tb\n', 1],
    ],
  ],
  [
    'an end marker',
    'a: 1\n...\n# x\nb: 2',
    [
      ['a: 1\n', 0],
      ['# x\nb: 2', 2],
    ],
  ],
  [
    'CR LF',
    'a: 1\r\n---\r\nb: 2\r\n',
    [
      ['a: 1\r\n', 0],
      ['---\r\nb: 2\r\n', 1],
    ],
  ],
  [
    'an open quote',
    'a: "x\n---\nb: 2\n',
    [
      ['a: "x\n', 0],
      ['---\nb: 2\n', 1],
    ],
  ],
  ['dashes that are no marker', 'a: |\n ---\n----\n---x\n', [['a: |\n ---\n----\n---x\n', 0]]],
];

for (const [name, text, expected] of cases) {
  test(`splitDocuments() splits ${name}`, () => {
    const { documents, isCut } = splitDocuments(text, 100);
    assert.deepEqual(
      documents.map((part) => [part.text, part.linesBefore]),
      expected,
    );
    assert.equal(isCut, false);
  });
}

test('splitDocuments() stops at its limit and says so', () => {
  const { documents, isCut } = splitDocuments('a\n---\nb\n---\nc\n', 2);
  assert.deepEqual(
    documents.map(({ text }) => text),
    ['a\n', '---\nb\n'],
  );
  assert.equal(isCut, true);
});
