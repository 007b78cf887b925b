// Which keys of a key set can verify tokens, and why others are left out.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createTestKey, jwksOf } from '../../../test/support/tokens.ts';
import { algorithmsOf, formatJwks, MAX_JWKS_BYTES, MAX_KEYS, readJwks } from './jwks.ts';

const setOf = (...keys: readonly unknown[]): string => JSON.stringify({ keys });
const ec = createTestKey('ES256', 'a').jwk;
const rsa = createTestKey('RS256', 'b').jwk;

test('readJwks() takes RSA, EC and Ed25519 keys, each for the algorithms of its kind', () => {
  const keys = (['RS256', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const).map((kind) =>
    createTestKey(kind),
  );
  const read = readJwks(jwksOf(...keys));
  assert.ok(read.ok);
  assert.deepEqual(read.leftOut, []);
  assert.deepEqual(read.keys.map(algorithmsOf), [
    ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
    ['ES256'],
    ['ES384'],
    ['ES512'],
    ['EdDSA'],
  ]);
});

test('readJwks() binds a key to its alg', () => {
  const read = readJwks(setOf({ ...rsa, alg: 'PS256' }, { ...ec, alg: 'ES384' }));
  assert.ok(read.ok);
  assert.deepEqual(read.keys.map(algorithmsOf), [['PS256']]);
  assert.match(read.leftOut[0] ?? '', /^keys\[1\] has the algorithm "ES384"/);
});

test('readJwks() keeps public parameters alone, in one order, and what it formats it reads the same', () => {
  const shuffled = { x5c: ['junk'], y: ec['y'], x: ec['x'], kid: 'a', crv: 'P-256', kty: 'EC' };
  const read = readJwks(setOf({ ...shuffled, use: 'sig', key_ops: ['verify'] }));
  assert.ok(read.ok);
  const text = formatJwks(read.keys);
  assert.equal(
    text,
    setOf({ kty: 'EC', kid: 'a', alg: 'ES256', crv: 'P-256', x: ec['x'], y: ec['y'] }),
  );
  assert.deepEqual(readJwks(text), { ok: true, keys: read.keys, leftOut: [] });
});

const small = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey.export({
  format: 'jwk',
});
const privateKey = createTestKey('ES256').privateKey.export({ format: 'jwk' });

const LEFT_OUT: readonly (readonly [string, unknown, RegExp])[] = [
  ['symmetric', { kty: 'oct', k: 'c2VjcmV0' }, /symmetric/],
  ['private', privateKey, /private/],
  ['for encryption', { ...rsa, use: 'enc' }, /use/],
  ['for signing alone', { ...rsa, key_ops: ['sign'] }, /key_ops/],
  ['too short', small, /1024 bits/],
  ['of an unknown type', { kty: 'AKP' }, /not RSA, EC or OKP/],
  ['without a type', {}, /not RSA, EC or OKP/],
  ['of an unknown curve', { ...ec, crv: 'secp256k1' }, /curve/],
  ['of a curve for key exchange', { kty: 'OKP', crv: 'X25519', x: 'a' }, /Ed25519/],
  ['not on its curve', { ...ec, y: ec['x'] }, /do not fit/],
  ['without parameters', { kty: 'RSA' }, /lacks/],
  ['with a kid that is no text', { ...ec, kid: 7 }, /kid/],
  ['with a long kid', { ...ec, kid: 'x'.repeat(257) }, /kid/],
  ['with alg none', { ...ec, alg: 'none' }, /algorithm/],
  ['no mapping', 7, /mapping/],
];

for (const [what, jwk, why] of LEFT_OUT) {
  test(`readJwks() leaves out a key that is ${what}`, () => {
    const read = readJwks(setOf(jwk, ec));
    assert.ok(read.ok);
    assert.equal(read.keys.length, 1);
    assert.match(read.leftOut.join(), why);
  });
}

test('readJwks() refuses what is no set, and what is too large', () => {
  for (const text of ['', 'null', '[]', '{}', '{"keys":{}}', `"${'x'.repeat(MAX_JWKS_BYTES)}"`]) {
    assert.equal(readJwks(text).ok, false, text.slice(0, 20));
  }
  assert.equal(readJwks(setOf(...Array.from({ length: MAX_KEYS + 1 }, () => ec))).ok, false);
});

test('readJwks() never throws', () => {
  const member = fc.oneof(fc.string(), fc.jsonValue());
  const jwk = fc.dictionary(fc.constantFrom(...'kty crv n e x y kid alg use d'.split(' ')), member);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(jwk).map((keys) => setOf(...keys)),
      ),
      (text) => {
        readJwks(text);
      },
    ),
  );
});
