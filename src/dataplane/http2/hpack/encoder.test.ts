import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeRequests, judgeBlocks } from '../../../../test/support/nghttp2-judge.ts';
import { HpackDecoder } from './decoder.ts';
import { HpackEncoder } from './encoder.ts';

const LIMITS = { maxListBytes: 1_000_000, maxFields: 1_000 };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function decode(decoder: HpackDecoder, block: Uint8Array): readonly string[] {
  const list = decoder.decode(Buffer.from(block));
  assert.ok(list.ok, list.ok ? '' : list.reasonCode);
  return list.raw;
}

/** Few names and values, so that much repeats; some that fill a table, some that may not be in one. */
const fieldName = fc.constantFrom(
  ':path',
  ':status',
  'authorization',
  'content-length',
  'cookie',
  'grpc-timeout',
  'x-a',
  'x-b',
  'x-request-id',
);
const fieldValue = fc.oneof(
  fc.constantFrom('', '200', '/', '/a?b=c', 'v'.repeat(19), 'v'.repeat(300), 'w'.repeat(3_000)),
  fc.integer({ min: 0, max: 400 }).map(String),
  fc
    .array(fc.integer({ min: 0, max: 255 }), { maxLength: 6 })
    .map((codes) => String.fromCharCode(...codes)),
);
const step = fc.record({
  fields: fc.array(fc.tuple(fieldName, fieldValue), { maxLength: 12 }),
  tableBytes: fc.option(fc.constantFrom(0, 50, 200, 1_000, 4_096, 65_536), {
    nil: undefined,
    freq: 4,
  }),
  secret: fc.nat(12),
});

test('encode() writes what decode() reads, table in step, whatever sizes the peer says on the way', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const encoder = new HpackEncoder();
      const decoder = new HpackDecoder(LIMITS);
      for (const { fields, tableBytes, secret } of steps) {
        if (tableBytes !== undefined) encoder.setPeerTableBytes(tableBytes);
        const raw = fields.flat();
        const block = encoder.encode(raw, [secret]);
        assert.ok(block.length <= HpackEncoder.boundOf(raw), 'within its bound');
        const list = decoder.decode(Buffer.from(block));
        assert.ok(list.ok);
        assert.deepEqual(list.raw, raw);
        if (secret < fields.length) assert.ok(list.neverIndexed?.includes(secret));
      }
    }),
    { numRuns: 500 },
  );
});

const REQUEST = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a'];

test('encode() writes what nghttp2 reads, over many requests of one connection', async () => {
  const encoder = new HpackEncoder();
  const lists = Array.from({ length: 90 }, (_, at) => [
    ...REQUEST,
    'cookie',
    `a=${'c'.repeat(at)}`,
    'x-a',
    String(at % 7),
    `x-${at}`,
    'b'.repeat(at * 4),
    'x-request-id',
    String(at),
    'authorization',
    'secret',
    'content-length',
    '0',
    'x-b',
    'caf\xe9',
  ]);
  const verdicts = await judgeBlocks(lists.map((raw) => Buffer.from(encoder.encode(raw))));
  assert.equal(verdicts.errorCode, undefined);
  assert.deepEqual(verdicts.lists, lists);
});

test('encode() is right when the peer has said a smaller table, and when nghttp2 checks the update', async () => {
  const encoder = new HpackEncoder({ maxTableBytes: 100 });
  const lists = Array.from({ length: 20 }, (_, at) => [
    ...REQUEST,
    'x-a',
    String(at % 3),
    'x-b',
    'c',
  ]);
  const verdicts = await judgeBlocks(lists.map((raw) => Buffer.from(encoder.encode(raw))));
  assert.equal(verdicts.errorCode, undefined);
  assert.deepEqual(verdicts.lists, lists);
});

test('decode() reads what nghttp2 encodes, over many requests and sizes of the table', async () => {
  const requests = Array.from({ length: 60 }, (_, at) => ({
    tableBytes: [4_096, 4_096, 300, 0, 2_000][Math.floor(at / 5) % 5] ?? 4_096,
    headers: {
      ':method': 'POST',
      ':path': `/a/${at % 11}`,
      authorization: 'secret',
      'user-agent': 'u'.repeat(at % 40),
      [`x-${at % 13}`]: `caf\xe9 ${'"<>|~'.repeat(at % 5)}`,
    },
  }));
  const { blocks } = await encodeRequests(requests);
  const decoder = new HpackDecoder(LIMITS);
  for (const [at, { headers }] of requests.entries()) {
    const raw = decode(decoder, blocks[at] ?? Buffer.alloc(0));
    const read = new Map<string, string>();
    for (let field = 0; field < raw.length; field += 2) {
      read.set(raw[field] ?? '', raw[field + 1] ?? '');
    }
    for (const [name, value] of Object.entries(headers)) assert.equal(read.get(name), value, name);
  }
});

test('encode() sends a list that repeats as indexes, one byte a field', () => {
  const encoder = new HpackEncoder();
  const raw = [...REQUEST, 'content-type', 'application/grpc', 'te', 'trailers'];
  encoder.encode(raw);
  assert.equal(encoder.encode(raw).length, raw.length / 2);
});

test('encode() puts no secret into the table, and says so to who sends it on', () => {
  for (const [name, value] of [
    ['authorization', `Bearer ${'t'.repeat(40)}`],
    ['proxy-authorization', 'Basic YTpi'],
    ['set-cookie', 'session=12345; HttpOnly; Secure'],
    ['cookie', 'pin=1234'],
  ] as const) {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(LIMITS);
    for (let time = 0; time < 3; time++) {
      const list = decoder.decode(Buffer.from(encoder.encode([name, value])));
      assert.ok(list.ok);
      assert.deepEqual(list.neverIndexed, [0], name);
    }
    assert.equal(decoder.decode(Buffer.from([0xbe])).ok, false, `${name} is not in the table`);
  }
});

test('encode() puts a cookie into the table that nobody can guess byte by byte', () => {
  const encoder = new HpackEncoder();
  const raw = ['cookie', 's='.padEnd(40, 'c')];
  encoder.encode(raw);
  assert.equal(encoder.encode(raw).length, 1);
});

test('encode() keeps a field out of the table that came never-indexed, whatever it is', () => {
  const encoder = new HpackEncoder();
  encoder.encode(['x-a', 'b']);
  assert.equal(encoder.encode(['x-a', 'b']).length, 1);
  assert.equal(hex(encoder.encode(['x-a', 'b', 'x-c', 'd'], [0, 1])), '1f2f01621003782d630164');
});

test('encode() does not let values that never repeat drive out what does', () => {
  const encoder = new HpackEncoder();
  const lasting = ['x-lasting', 'a'];
  let written = 0;
  for (let at = 0; at < 2_000; at++) {
    /** An index is one byte or two. */
    if (encoder.encode(lasting).length > 2) written++;
    encoder.encode(['x-random', `v-${at}`, ':path', `/${at}`, 'x-request-id', `id-${at}`]);
  }
  /** Three new entries a request would do it every 30. */
  assert.ok(written <= 3, `${written} times`);
});

test('encode() tries a name again whose values have begun to repeat', () => {
  const encoder = new HpackEncoder();
  for (let at = 0; at < 500; at++) encoder.encode(['x-random', `value-${at}`]);
  let length = 0;
  for (let at = 0; at < 200 && length !== 1; at++)
    length = encoder.encode(['x-random', 'same']).length;
  assert.equal(length, 1);
});

test('encode() sends the name of what never repeats as an index', () => {
  const encoder = new HpackEncoder();
  encoder.encode(['x-request-id', 'a']);
  assert.equal(
    encoder.encode(['x-request-id', 'b']).length,
    2 + 2,
    'an index of two bytes, a length, a character',
  );
  assert.equal(encoder.encode([':path', '/a?b=c']).length, 1 + 1 + 6);
  assert.equal(
    encoder.encode([':path', '/a?b=c']).length,
    1 + 1 + 6,
    'a query is not in the table',
  );
});

test('encode() goes on when there are more names than it keeps records of', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(LIMITS);
  for (let at = 0; at < 3_000; at++) {
    const raw = [`x-${at}`, 'a', 'x-lasting', 'b'];
    assert.deepEqual(decode(decoder, encoder.encode(raw)), raw);
  }
});

test('encode() ends no line with a character whose low byte would', () => {
  const decoder = new HpackDecoder(LIMITS);
  const block = new HpackEncoder().encode(['x-a', 'b\u010d\u010ac: \u{1f600}']);
  assert.deepEqual(decode(decoder, block), ['x-a', 'b??c: ??']);
});

test('setPeerTableBytes() announces the smallest size on the way and the last (RFC 7541 §4.2)', () => {
  const encoder = new HpackEncoder();
  encoder.encode(['x-a', 'b']);
  encoder.setPeerTableBytes(65_536);
  assert.equal(hex(encoder.encode(['x-a', 'b'])), 'be', 'more than we use changes nothing');
  encoder.setPeerTableBytes(0);
  encoder.setPeerTableBytes(4_096);
  assert.equal(
    hex(encoder.encode(['x-a', 'b'])),
    '203fe11f4003782d610162',
    'and the table is empty',
  );
  encoder.setPeerTableBytes(64);
  assert.equal(hex(encoder.encode(['x-a', 'b'])), '3f21be');
});

test('encodeInto() writes at its place and nowhere else', () => {
  const out = Buffer.alloc(16, 0xee);
  assert.equal(new HpackEncoder().encodeInto(out, 3, [':method', 'GET']), 4);
  assert.equal(hex(out), `eeeeee82${'ee'.repeat(12)}`);
});
