// What a newer peer says and this program does not know is found, wherever it stands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { encodeMessage } from './registry.ts';
import { describeUnknown, unknownFieldsOf } from './unknown-fields.ts';

const REPLY = 'weft.credentials.v1.WatchReply';
const CREDENTIAL = 'weft.credentials.v1.Credential';
/** Field 99: a varint, eight bytes, text, four bytes. */
const UNKNOWN: readonly (readonly [string, readonly number[]])[] = [
  ['a varint', [0x98, 0x06, 0x01]],
  ['eight bytes', [0x99, 0x06, 0, 0, 0, 0, 0, 0, 0, 0]],
  ['text', [0x9a, 0x06, 1, 0x61]],
  ['four bytes', [0x9d, 0x06, 0, 0, 0, 0]],
];

const field = (number: number, bytes: Uint8Array | readonly number[]): Buffer =>
  Buffer.from([number * 8 + 2, bytes.length, ...bytes]);

for (const [what, bytes] of UNKNOWN) {
  test(`unknownFieldsOf() finds ${what} in the message and in messages of it`, () => {
    const credential = encodeMessage(CREDENTIAL, { name: 'db', ways: ['WAY_URL', 'WAY_FILES'] });
    const known = encodeMessage(REPLY, { credentials: [{ name: 'a' }], is_complete: true });
    const message = Buffer.concat([known, field(1, [...credential, ...bytes]), Buffer.from(bytes)]);
    assert.deepEqual(unknownFieldsOf(REPLY, message), [
      { place: 'credentials[1]', typeName: CREDENTIAL, number: 99 },
      { place: '', typeName: REPLY, number: 99 },
    ]);
  });
}

test('unknownFieldsOf() finds nothing in what is known, values of maps included', () => {
  const message = {
    credentials: [
      {
        name: 'db',
        version: 'v',
        values: { a: Buffer.from('x'), b: Buffer.alloc(0) },
        ways: ['WAY_INJECTED'],
        injections: [{ hosts: ['h'], basic: { user_key: 'a', password_key: 'b' } }],
      },
    ],
    removed: ['x'],
    unavailable: [{ name: 'n', reason: 'r' }],
  };
  assert.deepEqual(unknownFieldsOf(REPLY, encodeMessage(REPLY, message)), []);
});

test('unknownFieldsOf() finds what stands in entries of maps, and in their values', () => {
  const entry = [...field(1, [0x61]), ...field(2, []), 0x98, 0x06, 0x01];
  assert.deepEqual(unknownFieldsOf(CREDENTIAL, field(3, entry)), [
    { place: 'values[0]', typeName: 'weft.credentials.v1.Credential.values', number: 99 },
  ]);
  const type = 'envoy.config.core.v3.Metadata';
  const struct = [...field(1, [0x61]), ...field(2, [0x98, 0x06, 0x01])];
  const [found] = unknownFieldsOf(type, field(1, struct));
  assert.equal(found?.place, 'filter_metadata[0]');
  assert.match(describeUnknown(found), /^has field number 99 of google\.protobuf\.Struct, /);
});

test('unknownFieldsOf() tells a few of many, and throws on bytes that are no message', () => {
  const many = Buffer.concat(Array.from({ length: 1_000 }, () => Buffer.from([0x98, 0x06, 0x01])));
  assert.equal(unknownFieldsOf(REPLY, many).length, 16);
  for (const bytes of [[0x80], [0x0a, 5, 0], [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]])
    assert.throws(() => unknownFieldsOf(REPLY, Buffer.from(bytes)), RangeError, String(bytes));
});

test('unknownFieldsOf() ends on whatever bytes come, and throws nothing but errors', () => {
  const judge = (bytes: Uint8Array): void => {
    try {
      unknownFieldsOf(REPLY, bytes);
    } catch (error) {
      assert.ok(error instanceof Error, String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), judge), { numRuns: 2_000 });
  // Groups in groups, which proto3 has no use for.
  judge(Buffer.alloc(1_000_000, Buffer.from([0x9b, 0x06])));
});

test('unknownFieldsOf() finds the one credential that says more, among any', () => {
  const credential = fc.record({
    name: fc.string(),
    version: fc.string(),
    values: fc.dictionary(fc.string(), fc.uint8Array({ maxLength: 8 })),
    ways: fc.array(fc.constantFrom('WAY_URL', 'WAY_FILES', 'WAY_INJECTED')),
  });
  fc.assert(
    fc.property(fc.array(credential, { maxLength: 4 }), fc.nat(3), (credentials, at) => {
      const known = encodeMessage(REPLY, { credentials });
      assert.deepEqual(unknownFieldsOf(REPLY, known), []);
      const parts = credentials.map((one, index) => {
        const bytes = encodeMessage(CREDENTIAL, one);
        return index === at
          ? Buffer.concat([bytes, Buffer.from([0x98, 0x06, 0x01])])
          : Buffer.from(bytes);
      });
      const writer = protobuf.Writer.create();
      for (const part of parts) writer.uint32(10).bytes(part);
      const places = unknownFieldsOf(REPLY, writer.finish()).map(({ place }) => place);
      assert.deepEqual(places, at < credentials.length ? [`credentials[${at}]`] : []);
    }),
  );
});
