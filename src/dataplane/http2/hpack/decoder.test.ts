import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HpackDecoder, type DecodedFields } from './decoder.ts';

const LIMITS = { maxListBytes: 65_536, maxFields: 128 };
const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

function fieldsOf(decoder: HpackDecoder, block: string | Buffer): DecodedFields {
  const list = decoder.decode(typeof block === 'string' ? bytesOf(block) : block);
  assert.ok(list.ok, list.ok ? '' : list.reasonCode);
  return list;
}

function reasonOf(block: string, decoder: HpackDecoder = new HpackDecoder(LIMITS)): string {
  const list = decoder.decode(bytesOf(block));
  return list.ok ? 'well' : list.reasonCode;
}

const REQUESTS = [
  [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'],
  [
    ':method',
    'GET',
    ':scheme',
    'http',
    ':path',
    '/',
    ':authority',
    'www.example.com',
    'cache-control',
    'no-cache',
  ],
  [
    ':method',
    'GET',
    ':scheme',
    'https',
    ':path',
    '/index.html',
    ':authority',
    'www.example.com',
    'custom-key',
    'custom-value',
  ],
];
const RESPONSES = [
  [
    ':status',
    '302',
    'cache-control',
    'private',
    'date',
    'Mon, 21 Oct 2013 20:13:21 GMT',
    'location',
    'https://www.example.com',
  ],
  [
    ':status',
    '307',
    'cache-control',
    'private',
    'date',
    'Mon, 21 Oct 2013 20:13:21 GMT',
    'location',
    'https://www.example.com',
  ],
  [
    ':status',
    '200',
    'cache-control',
    'private',
    'date',
    'Mon, 21 Oct 2013 20:13:22 GMT',
    'location',
    'https://www.example.com',
    'content-encoding',
    'gzip',
    'set-cookie',
    'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
  ],
];
/** Examples of responses are for a table of 256 bytes, which evicts. */
const TO_256 = '3fe101';

const SEQUENCES = [
  {
    name: 'C.3, plain',
    lists: REQUESTS,
    blocks: [
      '828684410f7777772e6578616d706c652e636f6d',
      '828684be58086e6f2d6361636865',
      '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
    ],
  },
  {
    name: 'C.4, Huffman',
    lists: REQUESTS,
    blocks: [
      '828684418cf1e3c2e5f23a6ba0ab90f4ff',
      '828684be5886a8eb10649cbf',
      '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
    ],
  },
  {
    name: 'C.5, plain and evicting',
    lists: RESPONSES,
    blocks: [
      `${TO_256}4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d`,
      '4803333037c1c0bf',
      '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
    ],
  },
  {
    name: 'C.6, Huffman and evicting',
    lists: RESPONSES,
    blocks: [
      `${TO_256}488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3`,
      '4883640effc1c0bf',
      '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
    ],
  },
];

for (const { name, lists, blocks } of SEQUENCES) {
  test(`decode() reads the examples of RFC 7541 appendix ${name}`, () => {
    const decoder = new HpackDecoder(LIMITS);
    blocks.forEach((block, at) => assert.deepEqual(fieldsOf(decoder, block).raw, lists[at]));
  });
}

test('decode() reads each form of a field, as RFC 7541 appendix C.2 has them', () => {
  const decoder = new HpackDecoder(LIMITS);
  const custom = '400a637573746f6d2d6b65790d637573746f6d2d686561646572';
  assert.deepEqual(fieldsOf(decoder, custom).raw, ['custom-key', 'custom-header']);
  assert.deepEqual(fieldsOf(decoder, '040c2f73616d706c652f70617468').raw, [
    ':path',
    '/sample/path',
  ]);
  assert.deepEqual(fieldsOf(decoder, '82').raw, [':method', 'GET']);
  const secret = fieldsOf(decoder, '82 100870617373776f726406736563726574');
  assert.deepEqual(secret.raw, [':method', 'GET', 'password', 'secret']);
  assert.deepEqual(secret.neverIndexed, [1], 'whoever sends it on is told');
  assert.deepEqual(
    fieldsOf(decoder, 'be').raw,
    ['custom-key', 'custom-header'],
    'and the table has the first alone',
  );
  assert.equal(fieldsOf(decoder, 'be').neverIndexed, undefined);
});

test('decode() makes an empty list of an empty block', () => {
  assert.deepEqual(fieldsOf(new HpackDecoder(LIMITS), '').raw, []);
});

const MALFORMED = [
  ['index 0', '80', 'hpack-index'],
  ['an index past the static table, with an empty dynamic one', 'be', 'hpack-index'],
  ['an index far past', 'ffff7f', 'hpack-index'],
  ['a name at an index past', '7e0161', 'hpack-index'],
  ['a name at an index past, never indexed', '1f7f0161', 'hpack-index'],
  ['an integer without its end', 'ff', 'hpack-integer'],
  ['an integer that goes on', 'ff80', 'hpack-integer'],
  ['an integer beyond 31 bits', 'ffffffffff0f', 'hpack-integer'],
  ['an integer of more than five bytes', 'ff808080808000', 'hpack-integer'],
  ['a length of more than five bytes', '00017f 7fffffffffff00', 'hpack-integer'],
  ['a literal without a name', '40', 'hpack-truncated'],
  ['a literal without a value', '400161', 'hpack-truncated'],
  ['a name past the end', '400561', 'hpack-truncated'],
  ['a value past the end', '4001610261', 'hpack-truncated'],
  ['a value of 2 GB', '400161 7f80ffffff07', 'hpack-truncated'],
  ['a Huffman code that is none', '400161 82ffff', 'hpack-huffman'],
  ['a Huffman name with wrong padding', '408100 0161', 'hpack-huffman'],
  ['an update above ours', '3fe21f', 'hpack-table-too-large'],
  ['an update above ours that overflows', '3fffffffff7f', 'hpack-integer'],
  ['an update behind a field', '8220', 'hpack-update-after-field'],
] as const;

for (const [what, block, reasonCode] of MALFORMED) {
  test(`decode() ends the connection at ${what}`, () => {
    assert.equal(reasonOf(block), reasonCode);
  });
}

test('decode() takes updates of the size at the start of a block, ours the greatest', () => {
  const decoder = new HpackDecoder(LIMITS);
  fieldsOf(decoder, '400161 0162');
  assert.deepEqual(fieldsOf(decoder, '3fe11f be').raw, ['a', 'b'], '4,096');
  assert.equal(
    reasonOf('20 3fe11f be', decoder),
    'hpack-index',
    'one of nothing has emptied the table',
  );
});

test('decode() evicts the oldest, and an entry larger than the table all', () => {
  /** 68 bytes: two entries of 34. */
  const decoder = new HpackDecoder({ ...LIMITS, maxTableBytes: 68 });
  fieldsOf(decoder, '3f25 400161 0131 400162 0132');
  assert.deepEqual(fieldsOf(decoder, 'bfbe').raw, ['a', '1', 'b', '2']);
  fieldsOf(decoder, '400163 0133');
  assert.deepEqual(fieldsOf(decoder, 'bfbe').raw, ['b', '2', 'c', '3']);
  assert.equal(reasonOf('c0', decoder), 'hpack-index');
  assert.equal(reasonOf('3f26', decoder), 'hpack-table-too-large');
  const large = `7f00 24 ${'61'.repeat(36)}`;
  assert.deepEqual(
    fieldsOf(decoder, large).raw,
    ['b', 'a'.repeat(36)],
    'its name is that of an entry which it evicts',
  );
  assert.equal(reasonOf('be', decoder), 'hpack-index');
});

test('decode() keeps as many entries as 4,096 bytes have room for', () => {
  const decoder = new HpackDecoder(LIMITS);
  /** 33 bytes each: 124 entries. */
  const entry = '40 00 01 61';
  for (let at = 0; at < 300; at++) fieldsOf(decoder, entry);
  assert.equal(fieldsOf(decoder, 'ff3a').raw.length, 2, 'index 185, the 124th entry');
  assert.equal(reasonOf('ff3b', decoder), 'hpack-index');
});

test('decode() keeps no more than maxListBytes of a block that says one large field over and over (CVE-2016-6581, CVE-2026-47774)', () => {
  const decoder = new HpackDecoder({ maxListBytes: 16_384, maxFields: 10_000 });
  const cookie = Buffer.concat([bytesOf('607fa11e'), Buffer.alloc(4_000, 0x61)]);
  const list = fieldsOf(decoder, Buffer.concat([cookie, Buffer.alloc(10_000, 0xbe)]));
  assert.ok(list.isTooLarge);
  assert.equal(list.raw.length, 2 * 4, 'four of 4,038 bytes are within the limit');
});

test('decode() keeps no more than maxFields, and goes on to the end, for the sake of the table', () => {
  const decoder = new HpackDecoder({ maxListBytes: 65_536, maxFields: 3 });
  const list = fieldsOf(decoder, '82828282 400161 0162');
  assert.ok(list.isTooLarge);
  assert.equal(list.raw.length, 6);
  assert.deepEqual(fieldsOf(decoder, 'be').raw, ['a', 'b']);
  assert.equal(fieldsOf(decoder, '828282').isTooLarge, false, 'as many as are allowed');
});

test('decode() finds what is malformed behind the limits too', () => {
  assert.equal(
    reasonOf('828280', new HpackDecoder({ maxListBytes: 65_536, maxFields: 1 })),
    'hpack-index',
  );
});

test('decode() makes nothing of empty names and values but empty names and values', () => {
  const list = fieldsOf(new HpackDecoder(LIMITS), '00 00 00');
  assert.deepEqual(list.raw, ['', '']);
});

test('decode() keeps no view on the bytes it was given', () => {
  const decoder = new HpackDecoder(LIMITS);
  const block = bytesOf('400161 0562626262 62');
  const { raw } = fieldsOf(decoder, block);
  block.fill(0);
  assert.deepEqual(raw, ['a', 'bbbbb']);
  assert.deepEqual(fieldsOf(decoder, 'be').raw, ['a', 'bbbbb']);
});

test('decode() reads a block where it lies, and nothing beyond its end', () => {
  const decoder = new HpackDecoder(LIMITS);
  const around = bytesOf('8080 400161 0162 626262 ff80');
  const list = decoder.decode(around, 2, 7);
  assert.ok(list.ok);
  assert.deepEqual(list.raw, ['a', 'b']);
  for (const end of [3, 4, 5, 6]) assert.equal(decoder.decode(around, 2, end).ok, false, `${end}`);
  const integer = decoder.decode(bytesOf('ff00'), 0, 1);
  assert.deepEqual(integer, { ok: false, reasonCode: 'hpack-integer' });
});
