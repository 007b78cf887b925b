// Reading the wire: malformed bytes, unknown fields, doubled fields and foreign text are refused with the place where they stand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeMessage, messageType } from '../registry.ts';
import {
  createReading,
  flag,
  integer,
  MAX_FIELDS,
  messages,
  readAny,
  readMessage,
  text,
} from './fields.ts';
import { type Occurrence, scanFields, shapeOf } from './wire.ts';

const CIDR = 'envoy.config.core.v3.SocketAddress';

function problemsOf(bytes: readonly number[]): readonly string[] {
  const reading = createReading();
  readMessage(CIDR, Uint8Array.from(bytes), { reading, path: 'a' }, (fields) => {
    text(fields, 'address');
    integer(fields, 'protocol');
    integer(fields, 'port_value', 65_535);
    return true;
  });
  return reading.problems.map(({ field, message }) => `${field}: ${message}`);
}

const REFUSED: readonly [string, readonly number[], string][] = [
  ['a tag that ends in the middle', [0x80], 'a: is not a protobuf message'],
  ['field number 0', [0x00, 0x00], 'a: is not a protobuf message'],
  ['a length beyond the end', [0x12, 5, 0x61], 'a.address: is not a protobuf message'],
  [
    'a length of 2^63',
    [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    'a.address: is not a protobuf message',
  ],
  [
    'a varint of eleven bytes',
    [0x18, ...Array<number>(10).fill(0x80), 1],
    'a.port_value: is not a protobuf message',
  ],
  ['a group', [0x0b, 0x0c], 'a.protocol: is not a protobuf message'],
  ['an unknown field', [0x7a, 0], 'a: has field number 15, which is not known'],
  [
    'an unknown fixed64',
    [0x79, 0, 0, 0, 0, 0, 0, 0, 0],
    'a: has field number 15, which is not known',
  ],
  ['a string where a number belongs', [0x1a, 0], 'a.port_value: has wire type 2'],
  ['a field twice', [0x12, 1, 0x61, 0x12, 1, 0x62], 'a.address: is set more than once'],
  ['text that is not UTF-8', [0x12, 2, 0xc0, 0x80], 'a.address: is not UTF-8'],
  ['a surrogate in UTF-8', [0x12, 3, 0xed, 0xa0, 0x80], 'a.address: is not UTF-8'],
  [
    'a number beyond 32 bits',
    [0x18, 0x80, 0x80, 0x80, 0x80, 0x10],
    'a.port_value: is 4294967296, not within 0 to 65535',
  ],
  [
    'a negative number',
    [0x18, ...Array<number>(9).fill(0xff), 1],
    'a.port_value: is -1, not within 0 to 65535',
  ],
];
for (const [what, bytes, problem] of REFUSED) {
  test(`readMessage() refuses ${what}`, () => assert.deepEqual(problemsOf(bytes), [problem]));
}

test('readMessage() keeps a byte order mark: it is part of the text', () => {
  const reading = createReading();
  const value = readMessage(
    CIDR,
    Uint8Array.of(0x12, 4, 0xef, 0xbb, 0xbf, 0x61),
    { reading, path: '' },
    (fields) => text(fields, 'address'),
  );
  assert.equal(value, '\ufeffa');
});

test('readMessage() reports a known field that nobody asked for', () => {
  const reading = createReading();
  const bytes = encodeMessage(CIDR, { address: '::', port_value: 1 });
  readMessage(CIDR, bytes, { reading, path: '' }, (fields) => text(fields, 'address'));
  assert.deepEqual(
    reading.problems.map(({ field }) => field),
    ['port_value'],
  );
});

test('flag() refuses a bool that is neither 0 nor 1', () => {
  const reading = createReading();
  readMessage(
    'google.protobuf.BoolValue',
    Uint8Array.of(0x08, 2),
    { reading, path: '' },
    (fields) => flag(fields, 'value'),
  );
  assert.deepEqual(
    reading.problems.map(({ message }) => message),
    ['is not a bool'],
  );
});

test('readMessage() stops at its bound of fields: 4 MiB of empty messages take no memory to speak of', () => {
  const bytes = new Uint8Array((MAX_FIELDS + 10) * 2);
  for (let at = 0; at < bytes.length; at += 2) bytes[at] = 0x1a;
  const reading = createReading();
  readMessage('envoy.config.listener.v3.Listener', bytes, { reading, path: '' }, (fields) =>
    messages(fields, 'filter_chains', () => true),
  );
  assert.match(reading.problems[0]?.message ?? '', /has more than 1000000 fields/);
});

test('scanFields() reads the numbers that protobufjs writes', () => {
  const shape = shapeOf(messageType('google.protobuf.Duration'));
  for (const seconds of [0, 1, 127, 128, 2 ** 31, 2 ** 32 + 5, 2 ** 52, -1, -(2 ** 40)]) {
    const found: Occurrence[] = [];
    const bytes = encodeMessage('google.protobuf.Duration', { seconds });
    scanFields(
      bytes,
      shape,
      (field) => found.push(field),
      ({ message }) => assert.fail(message),
    );
    assert.equal(found[0]?.value, seconds);
  }
});

test('readAny() takes a type that no wire file has for one that is not known, though its reader is there', () => {
  const reading = createReading();
  const type_url = 'type.googleapis.com/weft.later.v9.Restriction';
  const bytes = encodeMessage('google.protobuf.Any', { type_url, value: Buffer.of(8, 1) });
  const reader = { typeName: 'weft.later.v9.Restriction', read: () => assert.fail('it was read') };
  readMessage('google.protobuf.Any', bytes, { reading, path: 'a' }, (fields) =>
    readAny(fields, [reader]),
  );
  assert.deepEqual(
    reading.problems.map(({ field, message }) => `${field}: ${message}`),
    [`a: is of type "${type_url}", which is not known here`],
  );
});
