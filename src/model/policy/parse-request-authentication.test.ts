// What a RequestAuthentication may say, what it means unsaid, and how a wrong one is told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTestKey, jwksOf } from '../../../test/support/tokens.ts';
import { parseRequestAuthentication } from './parse-request-authentication.ts';
import type { PlainObject } from './reader.ts';
import { composeTokenRules, NO_KEYS, remoteSources } from './token-rules.ts';

const key = createTestKey();
const JWKS = jwksOf(key);

const manifest = (spec: unknown, name = 'jwt'): PlainObject => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'RequestAuthentication',
  metadata: { name, namespace: 'shop' },
  spec,
});
const rule = (over: PlainObject): PlainObject => ({
  issuer: 'https://a.test',
  jwks: JWKS,
  ...over,
});

function parsed(spec: unknown, name?: string) {
  const result = parseRequestAuthentication(manifest(spec, name));
  assert.ok(result.ok, JSON.stringify(result.problems));
  return result.value;
}

test('every field of a rule is read', () => {
  const { rules, selector } = parsed({
    selector: { matchLabels: { app: 'web' } },
    jwtRules: [
      {
        issuer: 'https://a.test',
        audiences: ['x'],
        jwksUri: 'https://a.test/keys?x=1',
        fromHeaders: [{ name: 'X-Token', prefix: 'T ' }, { name: 'x-b' }],
        fromParams: ['p'],
        fromCookies: ['c'],
        outputPayloadToHeader: 'X-Payload',
        forwardOriginalToken: true,
        outputClaimToHeaders: [{ header: 'X-Sub', claim: 'a.b' }],
        timeout: '10.5s',
        spaceDelimitedClaims: ['roles'],
      },
    ],
  });
  assert.deepEqual(selector, new Map([['app', 'web']]));
  assert.deepEqual(rules, [
    {
      issuer: 'https://a.test',
      audiences: ['x'],
      source: { kind: 'jwks', uri: 'https://a.test/keys?x=1', timeoutMs: 10_500 },
      fromHeaders: [
        { name: 'x-token', prefix: 'T ' },
        { name: 'x-b', prefix: '' },
      ],
      fromParams: ['p'],
      fromCookies: ['c'],
      outputPayloadToHeader: 'x-payload',
      outputClaimToHeaders: [{ header: 'x-sub', claim: 'a.b' }],
      isForwarded: true,
      spaceDelimitedClaims: ['roles'],
    },
  ]);
});

test('unsaid: tokens of Authorization and access_token, not forwarded, keys by discovery, 5 s', () => {
  const value = parsed({ jwtRules: [{ issuer: 'https://a.test/' }] });
  const [source] = remoteSources([value]).values();
  assert.deepEqual(source, {
    kind: 'discovery',
    uri: 'https://a.test/.well-known/openid-configuration',
    timeoutMs: 5_000,
  });
  assert.partialDeepStrictEqual(composeTokenRules([value], NO_KEYS), [
    {
      fromHeaders: [{ name: 'authorization', prefix: 'Bearer ' }],
      fromParams: ['access_token'],
      isForwarded: false,
    },
  ]);
});

test('a rule that names a place reads no other', () => {
  const [only] = composeTokenRules([parsed({ jwtRules: [rule({ fromCookies: ['c'] })] })], NO_KEYS);
  assert.deepEqual([only?.fromHeaders, only?.fromParams, only?.fromCookies], [[], [], ['c']]);
});

test('the rules of all policies hold together, by issuer; those of one issuer all stay', () => {
  const first = parsed({ jwtRules: [rule({ issuer: 'c' }), rule({ issuer: 'a' })] });
  const second = parsed({
    jwtRules: [rule({ issuer: 'b' }), rule({ issuer: 'a', audiences: ['2'] })],
  });
  const rules = composeTokenRules([first, second], NO_KEYS);
  assert.deepEqual(
    rules.map(({ issuer, audiences }) => issuer + audiences.join('')),
    ['a', 'a2', 'b', 'c'],
  );
});

test('keys that are not fetched are none: nothing takes their place (CVE-2026-31837)', () => {
  const value = parsed({ jwtRules: [{ issuer: 'x', jwksUri: 'https://a.test/keys' }] });
  assert.equal(composeTokenRules([value], NO_KEYS)[0]?.jwks, '{"keys":[]}');
});

test('without rules nothing is read; jwksUri alone is enough; jwks_uri is jwksUri', () => {
  assert.deepEqual(parsed({}).rules, []);
  assert.deepEqual(parsed({ jwtRules: [] }).rules, []);
  assert.equal(parsed({ jwtRules: [{ jwksUri: 'http://a.test/k' }] }).rules[0]?.issuer, '');
  const old = parsed({ jwtRules: [{ issuer: 'a', jwks_uri: 'http://a.test/k' }] });
  assert.equal(old.rules[0]?.source.kind, 'jwks');
});

test('keys of an inline set that cannot verify are left out with a warning', () => {
  const set = JSON.parse(JWKS) as { keys: unknown[] };
  set.keys.push({ kty: 'oct', k: 'YQ' });
  const result = parseRequestAuthentication(
    manifest({ jwtRules: [rule({ jwks: JSON.stringify(set) })] }),
  );
  assert.ok(result.ok);
  assert.deepEqual(
    result.problems.map(({ severity, field }) => [severity, field]),
    [['warning', 'spec.jwtRules[0].jwks']],
  );
});

const BAD: readonly (readonly [string, PlainObject, string])[] = [
  ['an unknown field', rule({ isuer: 'a' }), 'spec.jwtRules[0].isuer'],
  ['no issuer', { jwks: JWKS }, 'spec.jwtRules[0].issuer'],
  ['an empty issuer', rule({ issuer: '' }), 'spec.jwtRules[0].issuer'],
  ['two key sources', rule({ jwksUri: 'https://a.test' }), 'spec.jwtRules[0].jwks'],
  ['no key source for an issuer that is no address', { issuer: 'me' }, 'spec.jwtRules[0].jwksUri'],
  ['a set that is no JSON', rule({ jwks: '{' }), 'spec.jwtRules[0].jwks'],
  [
    'a set without a usable key',
    rule({ jwks: '{"keys":[{"kty":"oct","k":"YQ"}]}' }),
    'spec.jwtRules[0].jwks',
  ],
  ['an empty audience', rule({ audiences: [''] }), 'spec.jwtRules[0].audiences[0]'],
  [
    'a file as address',
    rule({ jwks: undefined, jwksUri: 'file:///etc/passwd' }),
    'spec.jwtRules[0].jwksUri',
  ],
  [
    'an address with a user',
    rule({ jwks: undefined, jwksUri: 'https://u:p@a.test' }),
    'spec.jwtRules[0].jwksUri',
  ],
  [
    'an address with a fragment',
    rule({ jwks: undefined, jwksUri: 'https://a.test/#k' }),
    'spec.jwtRules[0].jwksUri',
  ],
  ['no address', rule({ jwks: undefined, jwksUri: 'a.test/keys' }), 'spec.jwtRules[0].jwksUri'],
  [
    'a long address',
    rule({ jwks: undefined, jwksUri: `https://a.test/${'x'.repeat(2_048)}` }),
    'spec.jwtRules[0].jwksUri',
  ],
  [
    'a header without a name',
    rule({ fromHeaders: [{ prefix: 'x' }] }),
    'spec.jwtRules[0].fromHeaders[0].name',
  ],
  [
    'a header with a space',
    rule({ fromHeaders: [{ name: 'x y' }] }),
    'spec.jwtRules[0].fromHeaders[0].name',
  ],
  [
    'a header that routes',
    rule({ fromHeaders: [{ name: 'Host' }] }),
    'spec.jwtRules[0].fromHeaders[0].name',
  ],
  [
    'an output header of the mesh',
    rule({ outputPayloadToHeader: 'x-weft-id' }),
    'spec.jwtRules[0].outputPayloadToHeader',
  ],
  [
    'an output header that says who calls',
    rule({ outputClaimToHeaders: [{ header: 'X-Forwarded-Client-Cert', claim: 'a' }] }),
    'spec.jwtRules[0].outputClaimToHeaders[0].header',
  ],
  [
    'an output header with a line end',
    rule({ outputPayloadToHeader: 'x\r\ny' }),
    'spec.jwtRules[0].outputPayloadToHeader',
  ],
  [
    'an output without a claim',
    rule({ outputClaimToHeaders: [{ header: 'x' }] }),
    'spec.jwtRules[0].outputClaimToHeaders[0].claim',
  ],
  ['a parameter that is no name', rule({ fromParams: ['a=b'] }), 'spec.jwtRules[0].fromParams[0]'],
  ['a cookie that is no name', rule({ fromCookies: ['a;b'] }), 'spec.jwtRules[0].fromCookies[0]'],
  ['a duration without a unit', rule({ timeout: '5' }), 'spec.jwtRules[0].timeout'],
  ['a duration of nothing', rule({ timeout: '0s' }), 'spec.jwtRules[0].timeout'],
  [
    'a text for a boolean',
    rule({ forwardOriginalToken: 'true' }),
    'spec.jwtRules[0].forwardOriginalToken',
  ],
  [
    'too many claims',
    rule({ spaceDelimitedClaims: Array.from({ length: 65 }, () => 'a') }),
    'spec.jwtRules[0].spaceDelimitedClaims',
  ],
];

for (const [what, jwtRule, field] of BAD) {
  test(`a rule with ${what} is refused at ${field}`, () => {
    const result = parseRequestAuthentication(manifest({ jwtRules: [jwtRule] }));
    assert.equal(result.ok, false);
    assert.ok(
      result.problems.some((problem) => problem.field === field),
      JSON.stringify(result),
    );
  });
}

test('a rule that is no mapping is refused', () => {
  for (const entry of [null, 7, 'x', []]) {
    assert.equal(parseRequestAuthentication(manifest({ jwtRules: [entry] })).ok, false);
  }
});

test('keys that come over http are taken, with a warning', () => {
  const result = parseRequestAuthentication(
    manifest({ jwtRules: [{ issuer: 'a', jwksUri: 'http://a.test/keys' }] }),
  );
  assert.deepEqual(
    result.problems.map(({ severity, code }) => [severity, code]),
    [['warning', 'keys-in-plaintext']],
  );
});
