// proto/ and the wire files of the release before (`test/skew/previous`) understand each other: no number is used again or changes its type.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadProtos, PROTO_DIRECTORY } from '@weft/xds/proto-root';
import protobuf from 'protobufjs';
import { PREVIOUS_PROTOS } from './support/skew.ts';
import { incompatibilities } from './support/wire-compatibility.ts';

test('nothing of the release before is taken back or means something else', () => {
  const today = loadProtos(PROTO_DIRECTORY);
  assert.deepEqual(incompatibilities(loadProtos(PREVIOUS_PROTOS), today), []);
});

/** What is changed of this, and what is said of it. */
const OLD = `syntax = "proto3"; package a;
message M { uint32 n = 1; repeated string names = 2; oneof kind { string x = 3; M y = 4; } map<string, string> tags = 5; E e = 6; }
enum E { ZERO = 0; ONE = 1; }
message N {}
enum F { NONE = 0; }
service S { rpc Call(M) returns (stream M); }`;
const CHANGES: readonly (readonly [what: string, from: string, to: string, said: RegExp | ''])[] = [
  ['nothing', '', '', ''],
  ['a field that is new', 'E e = 6;', 'E e = 6; bool more = 7;', ''],
  ['a field with another name', 'uint32 n = 1', 'uint32 count = 1', ''],
  ['a value that is new', 'ONE = 1;', 'ONE = 1; TWO = 2;', ''],
  ['a method that is new', 'service S {', 'service S { rpc More(M) returns (M);', ''],
  ['a field that is gone', 'uint32 n = 1;', '', /M\.n: number 1 is not reserved/],
  ['a field that is gone and reserved', 'uint32 n = 1;', 'reserved 1;', ''],
  ['a field that is gone, in a range', 'E e = 6;', 'reserved 6 to 9;', ''],
  ['a value that is gone and reserved', 'ONE = 1;', 'reserved 1;', ''],
  ['a list of numbers as it was', 'E e = 6;', 'repeated uint32 l = 7; E e = 6;', ''],
  ['a field with another number', 'n = 1', 'n = 9', /M\.n: number 1 is not reserved/],
  ['a field of another type', 'uint32 n', 'string n', /M\.n: was uint32, is string/],
  ['a field with another sign', 'uint32 n', 'int32 n', /M\.n: was uint32, is int32/],
  ['a list that is none', 'repeated string names', 'string names', /M\.names: was repeated string/],
  ['a message where an enum was', 'E e = 6', 'M e = 6', /M\.e: was \.a\.E, is \.a\.M/],
  [
    'a field that left its oneof',
    'oneof kind { string x = 3; M y = 4; }',
    'string x = 3; oneof kind { M y = 4; }',
    /M\.x: was string in oneof kind, is string/,
  ],
  ['a map of something else', 'map<string, string>', 'map<string, M>', /M\.tags: was map<string>/],
  ['a value of another number', 'ONE = 1', 'ONE = 2', /E\.ONE: 1 is gone, and not reserved/],
  ['a number of another value', 'ONE = 1', 'OTHER = 1', /E\.ONE: 1 is OTHER/],
  ['an enum that is gone', 'enum F { NONE = 0; }', '', /F: is gone/],
  ['a message that is gone', 'message N {}', '', /N: is gone/],
  ['a method that is gone', 'rpc Call', 'rpc Ask', /S\.Call: is gone/],
  ['a method that streams', 'Call(M)', 'Call(stream M)', /S\.Call: was \(\.a\.M\)/],
];
function rootOf(text: string): protobuf.Root {
  const root = new protobuf.Root();
  protobuf.parse(text, root, { keepCase: true });
  root.resolveAll();
  return root;
}

for (const [what, from, to, said] of CHANGES) {
  test(`incompatibilities() ${said === '' ? 'lets pass' : 'names'} ${what}`, () => {
    const found = incompatibilities(rootOf(OLD), rootOf(OLD.replace(from, to)));
    if (said === '') assert.deepEqual(found, []);
    else assert.match(found.join('\n'), said);
  });
}
