import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import forge from 'node-forge';
import {
  bitString,
  namedBits,
  octetString,
  oid,
  sequence,
  time,
  unsignedInteger,
  utf8String,
} from './der.ts';

const read = (der: Buffer): forge.asn1.Asn1 => forge.asn1.fromDer(der.toString('latin1'));
const contentOf = (der: Buffer): string => {
  const { value } = read(der);
  assert.ok(typeof value === 'string');
  return value;
};

test('lengths of every form are read back by another reader', () => {
  for (const length of [0, 1, 127, 128, 255, 256, 65_535]) {
    const bytes = Buffer.alloc(length, 7);
    assert.equal(contentOf(octetString(bytes)), bytes.toString('latin1'));
  }
  assert.throws(() => octetString(Buffer.alloc(65_536)), RangeError);
});

test('oid() writes what another writer does', () => {
  for (const dotted of ['1.2.840.10045.4.3.2', '2.5.29.17', '1.3.6.1.5.5.7.3.1', '2.5.4.3']) {
    assert.equal(forge.asn1.derToOid(contentOf(oid(dotted))), dotted);
  }
});

test('unsignedInteger() is minimal and never negative', () => {
  for (const [bytes, hex] of [
    [[0], '020100'],
    [[0, 0, 1], '020101'],
    [[0x7f], '02017f'],
    [[0x80], '02020080'],
    [[0, 0x80], '02020080'],
    [[1, 0], '02020100'],
  ] as const) {
    assert.equal(unsignedInteger(Buffer.from(bytes)).toString('hex'), hex);
  }
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), (bytes) => {
      const content = Buffer.from(contentOf(unsignedInteger(bytes)), 'latin1');
      assert.ok((content[0] ?? 0) < 0x80);
      assert.equal(
        BigInt(`0x${content.toString('hex')}`),
        BigInt(`0x${Buffer.from(bytes).toString('hex')}`),
      );
    }),
  );
});

test('namedBits() counts from the first bit and cuts trailing zeros', () => {
  assert.equal(namedBits(0).toString('hex'), '03020780');
  assert.equal(namedBits(5, 6).toString('hex'), '03020106');
  assert.equal(namedBits(8).toString('hex'), '0303070080');
});

test('time() is UTCTime to 2049 and GeneralizedTime from 2050', () => {
  for (const [text, expected] of [
    ['2026-11-21T07:08:09.999Z', '170d3236313132313037303830395a'],
    ['2049-12-31T23:59:59Z', '170d3439313233313233353935395a'],
    ['2050-01-01T00:00:00Z', '180f32303530303130313030303030305a'],
  ] as const) {
    assert.equal(time(Date.parse(text)).toString('hex'), expected);
  }
  for (const wrong of [Number.NaN, Date.parse('1949-12-31T00:00:00Z'), 1e18]) {
    assert.throws(() => time(wrong), RangeError);
  }
});

test('nested values are read back whole', () => {
  const whole = read(sequence(utf8String('ä'), sequence(bitString(Buffer.of(1, 2)))));
  assert.ok(Array.isArray(whole.value));
  assert.equal(whole.value.length, 2);
});
