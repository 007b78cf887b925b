// Tokens that are bad, each in the way of a published flaw or of a known trick: all are refused with 401.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bearer, pass } from '../../../test/support/jwt-rig.ts';
import {
  createTestKey,
  jwksOf,
  macToken,
  part,
  seconds,
  signToken,
  tokenRule,
} from '../../../test/support/tokens.ts';
import { createJwtGate } from './jwt-gate.ts';
import { MAX_TOKEN_BYTES } from './verify-token.ts';

const ISSUER = 'https://issuer.test';
const key = createTestKey('ES256', 'one');
const CLAIMS = { iss: ISSUER, sub: 'ann', exp: seconds(600) };
const other = createTestKey('ES256', 'other');
const rsa = createTestKey('RS256', 'rsa');
const good = signToken(key, CLAIMS);
const [goodHead = '', goodClaims = '', goodSignature = ''] = good.split('.');
const nested = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;

const BAD: readonly (readonly [string, string, string])[] = [
  [
    'of an issuer that no rule lists (ISTIO-SECURITY-2021-001)',
    signToken(key, { ...CLAIMS, iss: 'https://other.test' }),
    'jwt-unknown-issuer',
  ],
  ['without an issuer', signToken(key, { sub: 'ann' }), 'jwt-unknown-issuer'],
  [
    'signed by a key that is not in the set',
    signToken({ ...other, kid: 'one' }, CLAIMS),
    'jwt-bad-signature',
  ],
  [
    'of a key id that is not in the set (CVE-2026-89313)',
    signToken(key, CLAIMS, { kid: 'two' }),
    'jwt-unknown-kid',
  ],
  [
    'signed by a foreign key and without a key id',
    signToken(other, CLAIMS, { kid: undefined }),
    'jwt-bad-signature',
  ],
  ['with alg none', `${part({ alg: 'none' })}.${goodClaims}.`, 'jwt-algorithm'],
  [
    'with alg none and a signature',
    `${part({ alg: 'none', kid: 'one' })}.${goodClaims}.${goodSignature}`,
    'jwt-algorithm',
  ],
  ['with alg None', `${part({ alg: 'None' })}.${goodClaims}.`, 'jwt-algorithm'],
  [
    'signed by HMAC with the public key (algorithm confusion)',
    macToken(JSON.stringify(key.jwk), CLAIMS, { kid: 'one' }),
    'jwt-algorithm',
  ],
  ['with an algorithm of another curve', signToken(key, CLAIMS, { alg: 'ES384' }), 'jwt-algorithm'],
  [
    'with an algorithm of another key type',
    signToken(key, CLAIMS, { alg: 'RS256' }),
    'jwt-unknown-kid',
  ],
  [
    'with a key of its own in its head',
    signToken(other, CLAIMS, { kid: 'one', header: { jwk: other.jwk } }),
    'jwt-bad-signature',
  ],
  [
    'with an address of a key set in its head',
    signToken(other, CLAIMS, { kid: 'one', header: { jku: 'http://evil.test' } }),
    'jwt-bad-signature',
  ],
  [
    'with a key id that is a path',
    signToken(key, CLAIMS, { kid: '../../dev/null' }),
    'jwt-unknown-kid',
  ],
  [
    'with a key id that is no text',
    signToken(key, CLAIMS, { header: { kid: 7 } }),
    'jwt-malformed',
  ],
  [
    'with extensions that must be understood',
    signToken(key, CLAIMS, { header: { crit: ['b64'], b64: false } }),
    'jwt-malformed',
  ],
  [
    'that expired more than a minute ago',
    signToken(key, { ...CLAIMS, exp: seconds(-62) }),
    'jwt-expired',
  ],
  [
    'that is good in more than a minute',
    signToken(key, { ...CLAIMS, nbf: seconds(600) }),
    'jwt-not-yet-valid',
  ],
  ['whose expiry is a text', signToken(key, { ...CLAIMS, exp: '99999999999' }), 'jwt-malformed'],
  ['whose expiry is null', signToken(key, { ...CLAIMS, exp: null }), 'jwt-malformed'],
  ['whose subject is a list', signToken(key, { ...CLAIMS, sub: ['ann'] }), 'jwt-malformed'],
  ['whose issuer is a list', signToken(key, { ...CLAIMS, iss: [ISSUER] }), 'jwt-malformed'],
  ['whose claims are a list', signToken(key, '["a"]'), 'jwt-malformed'],
  ['whose claims are no JSON', signToken(key, '{"iss":'), 'jwt-malformed'],
  [
    'whose claims are nested deeply (CVE-2026-48042)',
    signToken(key, nested(10_000)),
    'jwt-too-large',
  ],
  [
    'whose claims are nested more than 32 times (CVE-2026-48042)',
    signToken(key, nested(33)),
    'jwt-malformed',
  ],
  [
    'that is too large',
    signToken(key, { ...CLAIMS, pad: 'x'.repeat(MAX_TOKEN_BYTES) }),
    'jwt-too-large',
  ],
  [
    'with changed claims',
    `${goodHead}.${part({ ...CLAIMS, sub: 'eve' })}.${goodSignature}`,
    'jwt-bad-signature',
  ],
  ['with an empty signature', `${goodHead}.${goodClaims}.`, 'jwt-bad-signature'],
  ['with a padded signature', `${good}==`, 'jwt-malformed'],
  ['of five parts', `${good}.a.b`, 'jwt-malformed'],
  ['of two parts', `${goodHead}.${goodClaims}`, 'jwt-malformed'],
  ['of one word (CVE-2019-12995)', 'secret', 'jwt-malformed'],
  ['of nothing', '', 'jwt-malformed'],
  ['of dots', '..', 'jwt-malformed'],
  ['with white space inside', `${goodHead}. ${goodClaims}.${goodSignature}`, 'jwt-malformed'],
];

for (const [what, token, reasonCode] of BAD) {
  test(`a token ${what} is refused with 401`, async () => {
    const gate = createJwtGate({
      rules: [tokenRule({ jwks: jwksOf(key, rsa) })],
    });
    const { said, outcome, claim } = await pass(gate, bearer(token));
    assert.equal(said, `401 ${reasonCode}`);
    assert.equal(claim('sub'), undefined);
    assert.ok(outcome.kind === 'refuse');
    assert.deepEqual(outcome.headers, ['www-authenticate', 'Bearer error="invalid_token"']);
    assert.ok(token.length < 10 || !JSON.stringify(outcome).includes(token));
  });
}
