// Writes DER: the few types of X.690 that certificates are made of, minimal and definite.

export type DerPart = Uint8Array;

const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OID = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;

/** The header of a value of `lengthBytes` (X.690 §10.1: the shortest definite form). */
function header(tag: number, lengthBytes: number): Buffer {
  if (lengthBytes < 0x80) return Buffer.from([tag, lengthBytes]);
  if (lengthBytes < 0x100) return Buffer.from([tag, 0x81, lengthBytes]);
  if (lengthBytes < 0x10000) {
    return Buffer.from([tag, 0x82, lengthBytes >> 8, lengthBytes & 0xff]);
  }
  throw new RangeError(`Cannot write a DER value of ${lengthBytes} bytes: no certificate has one`);
}

/** Any value: tag, length, then the parts one after the other. */
export function tagged(tag: number, ...parts: readonly DerPart[]): Buffer {
  let lengthBytes = 0;
  for (const part of parts) lengthBytes += part.byteLength;
  return Buffer.concat([header(tag, lengthBytes), ...parts]);
}

export const sequence = (...parts: readonly DerPart[]): Buffer => tagged(SEQUENCE, ...parts);
export const set = (...parts: readonly DerPart[]): Buffer => tagged(SET, ...parts);
export const octetString = (...parts: readonly DerPart[]): Buffer => tagged(OCTET_STRING, ...parts);
export const utf8String = (text: string): Buffer => tagged(UTF8_STRING, Buffer.from(text, 'utf8'));
export const derTrue: Buffer = Buffer.from([0x01, 0x01, 0xff]);

export const derNull: Buffer = Buffer.from([0x05, 0x00]);

/** A bit string of whole bytes. */
export const bitString = (bytes: DerPart): Buffer => tagged(BIT_STRING, Buffer.of(0), bytes);

/** Named bits, the first as bit 0; trailing zero bits are cut (X.690 §11.2.2). */
export function namedBits(...bits: readonly number[]): Buffer {
  const last = Math.max(...bits);
  const bytes = Buffer.alloc((last >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return tagged(BIT_STRING, Buffer.of(7 - (last & 7)), bytes);
}

/** A non-negative integer from its big-endian bytes. */
export function unsignedInteger(bytes: DerPart): Buffer {
  let from = 0;
  while (from < bytes.byteLength - 1 && bytes[from] === 0) from++;
  const rest = bytes.subarray(from);
  const isNegative = (rest[0] ?? 0) >= 0x80;
  return isNegative ? tagged(INTEGER, Buffer.of(0), rest) : tagged(INTEGER, rest);
}

/** An object identifier from its dotted text, which must be a constant of this program. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const group = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) group.unshift((left & 0x7f) | 0x80);
    bytes.push(...group);
  }
  return tagged(OID, Buffer.from(bytes));
}

const two = (value: number): string => String(value).padStart(2, '0');

/** UTCTime to 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5); parts of seconds are dropped. */
export function time(unixMs: number): Buffer {
  const date = new Date(unixMs);
  const year = date.getUTCFullYear();
  const rest =
    two(date.getUTCMonth() + 1) +
    two(date.getUTCDate()) +
    two(date.getUTCHours()) +
    two(date.getUTCMinutes()) +
    `${two(date.getUTCSeconds())}Z`;
  // NaN is no year either.
  if (!(year >= 1950 && year <= 9999)) {
    throw new RangeError(`Cannot write the time ${unixMs}: year ${year} is out of range`);
  }
  return year < 2050
    ? tagged(UTC_TIME, Buffer.from(two(year % 100) + rest))
    : tagged(GENERALIZED_TIME, Buffer.from(`${String(year).padStart(4, '0')}${rest}`));
}
