import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CODE_BITS, decodeHuffman } from './huffman.ts';

function decode(hex: string): string | undefined {
  const bytes = Buffer.from(hex, 'hex');
  const out = Buffer.alloc(bytes.length * 2);
  const length = decodeHuffman(bytes, 0, bytes.length, out);
  return length === -1 ? undefined : out.toString('latin1', 0, length);
}

/** By symbol, as bits: shorter codes first, those of one length in the order of their symbols (RFC 7541 appendix B). */
const CODES: string[] = [];
let next = 0n;
for (let bits = 1; bits <= 30; bits++, next *= 2n) {
  CODE_BITS.forEach((length, symbol) => {
    if (length === bits) CODES[symbol] = (next++).toString(2).padStart(bits, '0');
  });
}

function encode(codes: readonly number[]): string {
  const bits = codes.map((code) => CODES[code] ?? '').join('');
  const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
  return Buffer.from(
    Array.from({ length: padded.length / 8 }, (_, at) =>
      Number.parseInt(padded.slice(8 * at, 8 * at + 8), 2),
    ),
  ).toString('hex');
}

test('the code has no gap: each sequence of bits is a symbol or the begin of one', () => {
  assert.equal(next, 2n ** 31n);
});

test('decodeHuffman() reads every text, short codes and long ones', () => {
  const code = fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(code), (codes) => {
      assert.equal(decode(encode(codes)), String.fromCharCode(...codes));
    }),
    { numRuns: 2_000 },
  );
});

test('decodeHuffman() reads the examples of RFC 7541 appendix C', () => {
  assert.equal(decode('f1e3c2e5f23a6ba0ab90f4ff'), 'www.example.com');
  assert.equal(decode('a8eb10649cbf'), 'no-cache');
  assert.equal(decode('25a849e95bb8e8b4bf'), 'custom-value');
  assert.equal(
    decode('d07abe941054d444a8200595040b8166e082a62d1bff'),
    'Mon, 21 Oct 2013 20:13:21 GMT',
  );
});

test('decodeHuffman() takes the first bits of EOS as padding, fewer than eight of them, and nothing else', () => {
  /** `0` is 00000, so that three bits are left. */
  assert.equal(decode('07'), '0');
  for (const padding of ['00', '01', '02', '03', '04', '05', '06']) {
    assert.notEqual(decode(padding), '0', padding);
  }
  assert.equal(decode('07ff'), undefined, 'eleven bits');
  assert.equal(decode('ff'), undefined, 'eight bits and no character');
  assert.equal(decode('ffff'), undefined);
  assert.equal(decode('fe'), undefined, 'a long code without its end');
});

test('decodeHuffman() refuses EOS, in the middle and at the end', () => {
  assert.equal(decode('ffffffff'), undefined);
  /** `0`, EOS, `0`. */
  assert.equal(decode('07fffffff83f'), undefined);
  assert.equal(decode('07fffffff8'), undefined);
});
