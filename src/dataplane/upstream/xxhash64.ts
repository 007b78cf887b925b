// XXH64 with BigInt: the hash by which Envoy's rings are made, so that its proxies and ours send a key to the same endpoint.

const PRIME_1 = 0x9e3779b185ebca87n;
const PRIME_2 = 0xc2b2ae3d27d4eb4fn;
const PRIME_3 = 0x165667b19e3779f9n;
const PRIME_4 = 0x85ebca77c2b2ae63n;
const PRIME_5 = 0x27d4eb2f165667c5n;
const MASK = 0xffff_ffff_ffff_ffffn;

const rotate = (value: bigint, bits: bigint): bigint =>
  ((value << bits) | (value >> (64n - bits))) & MASK;

const round = (accumulator: bigint, lane: bigint): bigint =>
  (rotate((accumulator + lane * PRIME_2) & MASK, 31n) * PRIME_1) & MASK;

const merge = (hash: bigint, accumulator: bigint): bigint =>
  ((hash ^ round(0n, accumulator)) * PRIME_1 + PRIME_4) & MASK;

/** @returns an unsigned 64-bit number. Some microseconds for a short text: for what is hashed once a request. */
export function xxhash64(bytes: Buffer, seed = 0n): bigint {
  const { length } = bytes;
  let at = 0;
  let hash: bigint;
  if (length >= 32) {
    let v1 = (seed + PRIME_1 + PRIME_2) & MASK;
    let v2 = (seed + PRIME_2) & MASK;
    let v3 = seed;
    let v4 = (seed - PRIME_1) & MASK;
    for (; at + 32 <= length; at += 32) {
      v1 = round(v1, bytes.readBigUInt64LE(at));
      v2 = round(v2, bytes.readBigUInt64LE(at + 8));
      v3 = round(v3, bytes.readBigUInt64LE(at + 16));
      v4 = round(v4, bytes.readBigUInt64LE(at + 24));
    }
    hash = (rotate(v1, 1n) + rotate(v2, 7n) + rotate(v3, 12n) + rotate(v4, 18n)) & MASK;
    for (const lane of [v1, v2, v3, v4]) hash = merge(hash, lane);
  } else hash = (seed + PRIME_5) & MASK;
  hash = (hash + BigInt(length)) & MASK;
  for (; at + 8 <= length; at += 8) {
    hash = (rotate(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * PRIME_1 + PRIME_4) & MASK;
  }
  if (at + 4 <= length) {
    hash ^= (BigInt(bytes.readUInt32LE(at)) * PRIME_1) & MASK;
    hash = (rotate(hash, 23n) * PRIME_2 + PRIME_3) & MASK;
    at += 4;
  }
  for (; at < length; at++) {
    hash = (rotate(hash ^ ((BigInt(bytes[at] ?? 0) * PRIME_5) & MASK), 11n) * PRIME_1) & MASK;
  }
  return avalanche(hash);
}

function avalanche(from: bigint): bigint {
  let hash = from;
  hash = ((hash ^ (hash >> 33n)) * PRIME_2) & MASK;
  hash = ((hash ^ (hash >> 29n)) * PRIME_3) & MASK;
  return hash ^ (hash >> 32n);
}
