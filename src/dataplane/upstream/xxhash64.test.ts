// XXH64 by values of the reference implementation, at lengths around each of its steps.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxhash64 } from './xxhash64.ts';

/** Length, seed, and the hash of that many bytes, the n-th of which is (7n + 3) mod 256. */
const KNOWN: readonly (readonly [number, bigint, bigint])[] = [
  [0, 0n, 0xef46db3751d8e999n],
  [1, 0n, 0x1f25c8d0bc1f4bb6n],
  [3, 0n, 0x31d2363f52e564c9n],
  [4, 0n, 0x9bb64b7d66ee9fdan],
  [5, 0n, 0xc7608efddb7051fen],
  [7, 0n, 0x9a7b149959ce60d8n],
  [8, 0n, 0xdab99d95c6f90092n],
  [8, 1n, 0xf119f5b26c0020abn],
  [12, 0n, 0xd52e407833af5133n],
  [31, 0n, 0xa2aa5f33cc4a6119n],
  [32, 0n, 0x23c3c17ef790fd97n],
  [33, 0n, 0x50a7cfc7ba588784n],
  [33, 1n, 0x17b3df313de9a40en],
  [44, 0n, 0xa4b19436ab40edb0n],
  [47, 0n, 0xa7c5465cc5ad205en],
  [64, 0n, 0x0eb64b3ef6eeb01fn],
  [100, 0n, 0xa61f8d4c170fe531n],
];

test('xxhash64() gives what the reference implementation gives, at every length of tail', () => {
  for (const [length, seed, expected] of KNOWN) {
    const bytes = Buffer.from(Array.from({ length }, (_, at) => (at * 7 + 3) % 256));
    assert.equal(xxhash64(bytes, seed), expected, `${length} bytes, seed ${seed}`);
  }
});
