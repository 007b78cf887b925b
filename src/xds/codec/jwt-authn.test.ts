// The JWT filter on the wire: what is written is read the same, and nothing else is taken for it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { createTestKey, jwksOf, tokenRule } from '../../../test/support/tokens.ts';
import { encodeMessage, type PlainMessage } from '../registry.ts';
import type { JwtAuthentication } from '../resources/jwt-authn.ts';
import { createReading, readMessage } from './fields.ts';
import { encodeJwtAuthentication, readJwtAuthentication } from './jwt-authn.ts';

const TYPE = 'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication';
const key = createTestKey();
const rule = tokenRule({ jwks: jwksOf(key) });

function read(message: PlainMessage) {
  const reading = createReading();
  const at = { reading, path: '' };
  const value = readMessage(TYPE, encodeMessage(TYPE, message), at, readJwtAuthentication);
  return { value, fields: reading.problems.map(({ field }) => field) };
}

const plain = <T>(model: { readonly [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true });
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const someRule = fc
  .record({
    issuer: fc.string(),
    audiences: fc.array(fc.string({ minLength: 1 })),
    fromHeaders: fc.array(plain({ name, prefix: fc.string() }), { minLength: 1 }),
    fromParams: fc.array(name),
    fromCookies: fc.array(name),
    outputPayloadToHeader: fc.option(name, { nil: undefined }),
    outputClaimToHeaders: fc.array(plain({ header: name, claim: fc.string({ minLength: 1 }) })),
    isForwarded: fc.boolean(),
    spaceDelimitedClaims: fc.array(fc.string()),
  })
  .chain((terms) => fc.constantFrom(rule.jwks, '{"keys":[]}').map((jwks) => ({ ...terms, jwks })));

test('what is written is read the same', () => {
  const some = fc.array(someRule, { minLength: 1, maxLength: 12 }).map((rules) => ({ rules }));
  fc.assert(
    fc.property(some, (jwt: JwtAuthentication) => {
      const { value, fields } = read(encodeJwtAuthentication(jwt));
      assert.deepEqual(fields, []);
      assert.deepEqual(value, jwt);
    }),
    { numRuns: runs(25) },
  );
});

test('rules that share a place are alternatives, those that do not must each hold', () => {
  const at = (...names: readonly string[]) =>
    tokenRule({ fromHeaders: names.map((each) => ({ name: each, prefix: '' })), fromParams: [] });
  const message = encodeJwtAuthentication({ rules: [at('a'), at('b'), at('c', 'a'), at('d')] });
  const [only] = message['rules'] as { requires: { requires_all: { requirements: unknown[] } } }[];
  const anyOf = (...of: readonly number[]) => ({
    requires_any: {
      requirements: [...of.map((n) => ({ provider_name: `rule-000${n}` })), { allow_missing: {} }],
    },
  });
  assert.deepEqual(only?.requires.requires_all.requirements, [anyOf(0, 2), anyOf(1), anyOf(3)]);
});

const written = encodeJwtAuthentication({ rules: [rule, rule] });
const provider = (written['providers'] as Record<string, PlainMessage>)['rule-0000'] ?? {};
const withProvider = (over: PlainMessage): PlainMessage => ({
  ...written,
  providers: { 'rule-0000': { ...provider, ...over }, 'rule-0001': provider },
});
const requiring = (requires: PlainMessage): PlainMessage => ({
  ...written,
  rules: [{ match: { prefix: '/' }, requires }],
});

const REFUSED: readonly (readonly [string, PlainMessage, string])[] = [
  ['without providers', { ...written, providers: {} }, 'providers'],
  ['without a requirement', { ...written, rules: [] }, 'rules'],
  ['that requires less', requiring({ provider_name: 'rule-0000' }), 'rules'],
  ['that requires nothing', requiring({ allow_missing: {} }), 'rules'],
  [
    'for some paths alone',
    { ...written, rules: [{ match: { prefix: '/api' }, requires: { allow_missing: {} } }] },
    'rules[0].match',
  ],
  [
    'with a second requirement',
    { ...written, rules: [...(written['rules'] as []), ...(written['rules'] as [])] },
    'rules',
  ],
  [
    'that asks preflights for tokens',
    { ...written, bypass_cors_preflight: false },
    'bypass_cors_preflight',
  ],
  [
    'with metadata elsewhere',
    withProvider({ payload_in_metadata: 'x' }),
    'providers["rule-0000"].payload_in_metadata',
  ],
  [
    'with another skew',
    withProvider({ clock_skew_seconds: 3_600 }),
    'providers["rule-0000"].clock_skew_seconds',
  ],
  [
    'with keys that are no set',
    withProvider({ local_jwks: { inline_string: 'x' } }),
    'providers["rule-0000"].local_jwks.inline_string',
  ],
  [
    'with a symmetric key',
    withProvider({ local_jwks: { inline_string: '{"keys":[{"kty":"oct","k":"YQ"}]}' } }),
    'providers["rule-0000"].local_jwks.inline_string',
  ],
  ['without keys', withProvider({ local_jwks: undefined }), 'providers["rule-0000"]'],
  [
    'with keys that it is to fetch',
    withProvider({
      local_jwks: undefined,
      remote_jwks: {
        http_uri: { uri: 'http://evil.test/', cluster: 'c', timeout: { seconds: 1 } },
      },
    }),
    'providers["rule-0000"].remote_jwks',
  ],
  [
    'without places',
    withProvider({ from_headers: [], from_params: [] }),
    'providers["rule-0000"].from_headers',
  ],
  [
    'with a header in upper case',
    withProvider({ from_headers: [{ name: 'X-A' }] }),
    'providers["rule-0000"].from_headers[0].name',
  ],
];

for (const [what, message, field] of REFUSED) {
  test(`a filter ${what} is refused at ${field}`, () => {
    const { value, fields } = read(message);
    assert.ok(value === undefined || fields.length > 0);
    assert.ok(fields.includes(field), fields.join());
  });
}
