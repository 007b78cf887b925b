// Which tokens are good, who a request is from then, and what of them is sent on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenRule } from '@weft/model/policy/token-rules';
import { bearer, type Headers, pass } from '../../../test/support/jwt-rig.ts';
import {
  createTestKey,
  jwksOf,
  macToken,
  part,
  seconds,
  signToken,
  tokenRule,
  type KeyKind,
} from '../../../test/support/tokens.ts';
import { createJwtGate } from './jwt-gate.ts';

const ISSUER = 'https://issuer.test';
const key = createTestKey('ES256', 'one');
const CLAIMS = { iss: ISSUER, sub: 'ann', exp: seconds(600) };
const rule = (over: Partial<TokenRule> = {}): TokenRule =>
  tokenRule({ jwks: jwksOf(key), ...over });

test('a request without a token passes at once, with no identity and nothing changed', async () => {
  const gate = createJwtGate({ rules: [rule()] });
  for (const headers of [{}, { authorization: 'Basic YTpi' }, { cookie: 'access_token=x' }]) {
    const { said, wasLater, claim, edits } = await pass(gate, headers, { path: '/?a=b&token=c' });
    assert.deepEqual(
      [said, wasLater, claim('sub'), edits.isEmpty],
      ['pass', false, undefined, true],
    );
  }
});

for (const kind of ['RS256', 'PS256', 'RS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const) {
  test(`${kind} tokens are good, later at first and at once afterwards`, async () => {
    const own = createTestKey(kind, 'k');
    const gate = createJwtGate({ rules: [rule({ jwks: jwksOf(own) })] });
    const token = signToken(own, CLAIMS);
    const first = await pass(gate, bearer(token));
    assert.deepEqual([first.said, first.wasLater, first.claim('sub')], ['pass', true, 'ann']);
    const again = await pass(gate, bearer(token));
    assert.deepEqual([again.said, again.wasLater, again.claim('sub')], ['pass', false, 'ann']);
  });
}

test('tokens that come together are verified once', async () => {
  const gate = createJwtGate({ rules: [rule()] });
  const token = signToken(key, CLAIMS);
  const all = await Promise.all(Array.from({ length: 20 }, () => pass(gate, bearer(token))));
  assert.ok(all.every(({ said, claim }) => said === 'pass' && claim('sub') === 'ann'));
});

const other = createTestKey('ES256', 'other');
const rsa = createTestKey('RS256', 'rsa');
const good = signToken(key, CLAIMS);
const [goodHead = '', goodClaims = ''] = good.split('.');

test('clocks may differ by a minute; a token without times is good', async () => {
  const gate = createJwtGate({ rules: [rule()] });
  for (const claims of [
    { iss: ISSUER, sub: 'ann' },
    { ...CLAIMS, exp: seconds(-55) },
    { ...CLAIMS, nbf: seconds(55) },
  ]) {
    assert.equal((await pass(gate, bearer(signToken(key, claims)))).said, 'pass');
  }
});

test('a token that was good is refused from the moment that it expires', async () => {
  let now = Date.now();
  const gate = createJwtGate({ rules: [rule()] });
  const token = signToken(key, { ...CLAIMS, exp: Math.floor(now / 1_000) + 10 });
  assert.equal((await pass(gate, bearer(token), { atMs: now })).said, 'pass');
  now += 69_000;
  const late = await pass(gate, bearer(token), { atMs: now });
  assert.deepEqual([late.said, late.wasLater], ['pass', false]);
  now += 2_000;
  assert.equal((await pass(gate, bearer(token), { atMs: now })).said, '401 jwt-expired');
  const begun = await pass(gate, bearer(token), { atMs: now - 2_000 });
  assert.equal(begun.said, 'pass', 'a request that began before is judged as of then');
});

test('an issuer without keys has no good tokens, and no other key takes their place (CVE-2026-31837)', async () => {
  const empty = tokenRule();
  const gate = createJwtGate({ rules: [empty, rule({ issuer: 'https://two.test' })] });
  assert.equal((await pass(gate, bearer(good))).said, '401 jwt-no-keys');
  const two = signToken(key, { ...CLAIMS, iss: 'https://two.test' });
  assert.equal((await pass(gate, bearer(two))).said, 'pass');
});

test('a token without a key id is good by any key of its issuer, one with an id by keys without one', async () => {
  const nameless = createTestKey('ES256');
  const gate = createJwtGate({ rules: [rule({ jwks: jwksOf(rsa, other, key) })] });
  assert.equal((await pass(gate, bearer(signToken(key, CLAIMS, { kid: undefined })))).said, 'pass');
  const loose = createJwtGate({ rules: [rule({ jwks: jwksOf(nameless) })] });
  assert.equal((await pass(loose, bearer(signToken(nameless, CLAIMS, { kid: 'x' })))).said, 'pass');
});

test('audiences: one of several is enough, scheme and closing slash do not count', async () => {
  const gate = createJwtGate({ rules: [rule({ audiences: ['https://api.test/', 'other'] })] });
  for (const [aud, expected] of [
    ['https://api.test', 'pass'],
    ['api.test', 'pass'],
    [['x', 'other'], 'pass'],
    ['api.test.evil', '401 jwt-wrong-audience'],
    [[], '401 jwt-wrong-audience'],
    [undefined, '401 jwt-wrong-audience'],
    [{ other: 1 }, '401 jwt-wrong-audience'],
  ] as const) {
    const token = signToken(key, { ...CLAIMS, aud });
    assert.equal((await pass(gate, bearer(token))).said, expected, JSON.stringify(aud));
  }
});

test('places: headers with and without prefix, parameters, cookies; other places are nobody’s business', async () => {
  const gate = createJwtGate({
    rules: [
      rule({
        fromHeaders: [
          { name: 'x-token', prefix: '' },
          { name: 'x-jwt', prefix: 'Token=' },
        ],
        fromParams: ['jwt'],
        fromCookies: ['session'],
      }),
    ],
  });
  const subjectOf = async (headers: Headers, path = '/'): Promise<unknown> => {
    const { said, claim } = await pass(gate, headers, { path });
    return said === 'pass' ? claim('sub') : said;
  };
  assert.equal(await subjectOf({ 'x-token': good }), 'ann');
  assert.equal(await subjectOf({ 'x-jwt': `Token=${good}` }), 'ann');
  assert.equal(await subjectOf({ 'x-jwt': `token=${good}` }), undefined);
  assert.equal(await subjectOf({}, `/?a=1&jwt=${good}&b`), 'ann');
  assert.equal(
    await subjectOf({}, `/?%6Awt=${good}`),
    'ann',
    'the application decodes names as well',
  );
  assert.equal(await subjectOf({}, `/?jwt=bad`), '401 jwt-malformed');
  assert.equal(await subjectOf({}, `/?jwt=%zz`), '401 jwt-malformed');
  assert.equal(await subjectOf({ cookie: `a=b; session=${good}; c=d` }), 'ann');
  assert.equal(await subjectOf({ cookie: `session="${good}"` }), 'ann');
  assert.equal(await subjectOf({ cookie: 'session=bad' }), '401 jwt-malformed');
  assert.equal(await subjectOf(bearer('anything')), undefined);
});

test('the scheme of Authorization is compared without case, and seen behind another one', async () => {
  const gate = createJwtGate({ rules: [rule()] });
  for (const value of [`bearer ${good}`, `BEARER  ${good}`, `Basic x, Bearer ${good}`]) {
    assert.equal((await pass(gate, { authorization: value })).claim('sub'), 'ann', value);
  }
  for (const value of ['Bearer', 'Bearer ', 'bearer secret']) {
    assert.equal((await pass(gate, { authorization: value })).said, '401 jwt-malformed', value);
  }
});

test('of several tokens each must be good, whether repeated or at several places', async () => {
  const gate = createJwtGate({ rules: [rule()] });
  const bad = 'a.b.c';
  for (const [headers, path] of [
    [{ authorization: [`Bearer ${good}`, `Bearer ${bad}`] }, '/'],
    [{ authorization: [`Bearer ${bad}`, `Bearer ${good}`] }, '/'],
    [{ authorization: `Bearer ${good}, Bearer ${bad}` }, '/'],
    [bearer(good), `/?access_token=${bad}`],
    [{}, `/?access_token=${good}&access_token=${bad}`],
  ] as const) {
    const { said } = await pass(gate, headers, { path });
    assert.equal(said, '401 jwt-malformed', JSON.stringify([headers, path]));
  }
  const many = Array.from({ length: 9 }, () => `access_token=${good}`).join('&');
  assert.equal((await pass(gate, {}, { path: `/?${many}` })).said, '401 jwt-too-many');
});

test('two issuers: each token by its own keys, and the last rule’s says who the request is from', async () => {
  const one = rule();
  const two = rule({
    issuer: 'https://two.test',
    jwks: jwksOf(other),
    fromHeaders: [{ name: 'x-two', prefix: '' }],
    fromParams: [],
  });
  const gate = createJwtGate({ rules: [one, two] });
  const ofTwo = signToken(other, { iss: 'https://two.test', sub: 'bob' });
  const both = await pass(gate, { ...bearer(good), 'x-two': ofTwo });
  assert.deepEqual([both.said, both.claim('sub')], ['pass', 'bob']);
  const crossed = await pass(gate, { 'x-two': good });
  assert.equal(crossed.said, '401 jwt-unknown-issuer');
  const forged = signToken({ ...other, kid: 'one' }, CLAIMS);
  assert.equal((await pass(gate, bearer(forged))).said, '401 jwt-bad-signature');
});

test('two rules of one issuer: a token is good by either', async () => {
  const rules = [rule({ audiences: ['a'] }), rule({ audiences: ['b'], jwks: jwksOf(other) })];
  const gate = createJwtGate({ rules });
  assert.equal((await pass(gate, bearer(signToken(key, { ...CLAIMS, aud: 'a' })))).said, 'pass');
  assert.equal((await pass(gate, bearer(signToken(other, { ...CLAIMS, aud: 'b' })))).said, 'pass');
  const mixed = signToken(key, { ...CLAIMS, aud: 'b' });
  assert.equal((await pass(gate, bearer(mixed))).said, '401 jwt-wrong-audience');
});

test('no rule of the RSA key lets its public half be an HMAC secret', async () => {
  const gate = createJwtGate({ rules: [rule({ jwks: jwksOf(rsa) })] });
  const token = macToken(JSON.stringify(rsa.jwk), CLAIMS, { kid: 'rsa' });
  assert.equal((await pass(gate, bearer(token))).said, '401 jwt-algorithm');
});

test('a token is taken out of what is sent on, and what stands beside it stays', async () => {
  const gate = createJwtGate({
    rules: [
      rule({ fromCookies: ['session', 'second'] }),
      rule({
        fromHeaders: [{ name: 'authorization', prefix: 'Bearer ' }],
        fromParams: ['access_token'],
      }),
    ],
  });
  const { facts, edits } = await pass(
    gate,
    { ...bearer(good), cookie: ['a=b; session=' + good, `c=d; second=${good}`] },
    { path: `/p?x=1&access_token=${good}&y=%20` },
  );
  assert.equal(facts.header('authorization'), undefined);
  assert.deepEqual(facts.header('cookie'), ['a=b; c=d']);
  assert.equal(facts.target, '/p?x=1&y=%20');
  assert.equal(edits.isRemoved('authorization') && edits.isRemoved('cookie'), true);
  const alone = await pass(
    gate,
    { cookie: `session=${good}` },
    { path: `/p?access_token=${good}` },
  );
  assert.equal(alone.facts.header('cookie'), undefined);
  assert.equal(alone.facts.target, '/p');
});

test('forwardOriginalToken leaves the token where it is', async () => {
  const gate = createJwtGate({ rules: [rule({ isForwarded: true })] });
  const { facts, edits } = await pass(gate, bearer(good), { path: '/p?x=1' });
  assert.deepEqual(facts.header('authorization'), [`Bearer ${good}`]);
  assert.equal(edits.isEmpty, true);
});

test('claims go into headers: texts, whole numbers, booleans, nested; lists and line ends do not', async () => {
  const outputs = [
    'name',
    'level',
    'isAdmin',
    'org.unit',
    'list',
    'break',
    'ratio',
    'org',
    'x.y',
    'missing',
    '__proto__',
  ];
  const gate = createJwtGate({
    rules: [
      rule({
        outputPayloadToHeader: 'x-payload',
        outputClaimToHeaders: outputs.map((claim, index) => ({ header: `x-${index}`, claim })),
      }),
    ],
  });
  const token = signToken(key, {
    ...CLAIMS,
    name: 'Zoë',
    level: 7,
    isAdmin: false,
    org: { unit: 'a' },
    list: ['a'],
    break: 'a\r\nx-admin: 1',
    ratio: 0.5,
    'x.y': 'dotted',
  });
  const { edits } = await pass(gate, { ...bearer(token), 'x-9': 'forged', 'x-payload': 'forged' });
  const added = new Map<string, string>();
  for (let at = 0; at < edits.added.length; at += 2) {
    added.set(edits.added[at] ?? '', edits.added[at + 1] ?? '');
  }
  assert.deepEqual(Object.fromEntries(added), {
    'x-payload': token.split('.')[1],
    'x-0': Buffer.from('Zoë').toString('latin1'),
    'x-1': '7',
    'x-2': 'false',
    'x-3': 'a',
    'x-8': 'dotted',
  });
});

test('a client’s own copy of an output header is taken out, with a token, without, and in a preflight', async () => {
  const gate = createJwtGate({
    rules: [
      rule({
        outputPayloadToHeader: 'x-payload',
        outputClaimToHeaders: [{ header: 'x-sub', claim: 'nope' }],
      }),
    ],
  });
  const forged = { 'x-payload': 'forged', 'x-sub': 'forged' };
  const preflight = { origin: 'https://web.test', 'access-control-request-method': 'GET' };
  for (const [headers, method] of [
    [forged, 'GET'],
    [{ ...forged, ...bearer(good) }, 'GET'],
    [{ ...forged, ...preflight, ...bearer('bad') }, 'OPTIONS'],
  ] as const) {
    const { said, facts } = await pass(gate, headers, { method });
    assert.equal(said, 'pass');
    assert.equal(facts.header('x-sub'), undefined);
    assert.notDeepEqual(facts.header('x-payload'), ['forged']);
  }
});

test('a preflight bypasses tokens; OPTIONS alone does not', async () => {
  const gate = createJwtGate({ rules: [rule()] });
  const preflight = { origin: 'https://web.test', 'access-control-request-method': 'GET' };
  const asked = await pass(gate, { ...preflight, ...bearer('bad') }, { method: 'OPTIONS' });
  assert.deepEqual([asked.said, asked.claim('sub')], ['pass', undefined]);
  assert.equal((await pass(gate, bearer('bad'), { method: 'OPTIONS' })).said, '401 jwt-malformed');
});

test('space-delimited claims are lists for the rules, scope and permission always', async () => {
  const gate = createJwtGate({ rules: [rule({ spaceDelimitedClaims: ['roles', '__proto__'] })] });
  const claims = { ...CLAIMS, scope: 'a b', permission: 'c', roles: 'x  y', other: 'p q' };
  const { claim } = await pass(gate, bearer(signToken(key, claims)));
  assert.deepEqual(claim('scope'), ['a', 'b']);
  assert.deepEqual(claim('permission'), ['c']);
  assert.deepEqual(claim('roles'), ['x', 'y']);
  assert.equal(claim('other'), 'p q');
});

test('claims named as parts of an object are claims like others', async () => {
  const gate = createJwtGate({ rules: [rule()] });
  const token = signToken(key, `{"iss":"${ISSUER}","__proto__":{"sub":"eve"},"constructor":"c"}`);
  const { said, claim } = await pass(gate, bearer(token));
  assert.deepEqual([said, claim('sub'), claim('constructor')], ['pass', undefined, 'c']);
  assert.equal(claim('toString'), undefined);
});

test('whatever is sent as a token is refused or passes, and nothing throws', async () => {
  const gate = createJwtGate({ rules: [rule({ jwks: jwksOf(key, rsa) })] });
  const mutated = fc
    .tuple(fc.nat(good.length - 1), fc.string({ maxLength: 3 }))
    .map(([at, text]) => good.slice(0, at) + text + good.slice(at + 1));
  const built = fc
    .tuple(fc.jsonValue(), fc.jsonValue(), fc.base64String({ maxLength: 90 }))
    .map(([head, claims, signature]) => `${part(head)}.${part(claims)}.${signature}`);
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), mutated, built), async (token) => {
      const { said, claim } = await pass(gate, bearer(token));
      const isGood = said === 'pass' && claim('sub') === 'ann';
      assert.ok(said.startsWith('401 jwt-') || isGood, `${said}: ${token}`);
      if (isGood) assert.equal(token.trim().split('.', 2).join('.'), `${goodHead}.${goodClaims}`);
    }),
    { numRuns: 500 },
  );
});

test('every kind of key verifies its own tokens alone', async () => {
  const kinds: readonly KeyKind[] = ['RS256', 'ES256', 'ES384', 'EdDSA'];
  const keys = kinds.map((kind) => createTestKey(kind));
  for (const signer of keys) {
    for (const verifier of keys) {
      const gate = createJwtGate({ rules: [rule({ jwks: jwksOf(verifier) })] });
      const { said } = await pass(gate, bearer(signToken(signer, CLAIMS)));
      assert.equal(said === 'pass', signer === verifier, `${signer.kind} by ${verifier.kind}`);
    }
  }
});
