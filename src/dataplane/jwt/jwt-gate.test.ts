// Which tokens are good, who a request is from then, and what of them is sent on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JWT_FILTER } from '@weft/model/policy/compile-source';
import type { TokenRule } from '@weft/model/policy/token-rules';
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
import { ConnectionFacts, type RequestHead } from '../filters/connection-facts.ts';
import { HeadEdits } from '../filters/head-edits.ts';
import type { GateOutcome, RequestGate } from '../filters/request-gate.ts';
import { createJwtGate } from './jwt-gate.ts';
import { MAX_TOKEN_BYTES } from './verify-token.ts';

const ISSUER = 'https://issuer.test';
const key = createTestKey('ES256', 'one');
const CLAIMS = { iss: ISSUER, sub: 'ann', exp: seconds(600) };
const rule = (over: Partial<TokenRule> = {}): TokenRule =>
  tokenRule({ jwks: jwksOf(key), ...over });

type Headers = Readonly<Record<string, string | readonly string[]>>;

interface Passed {
  /** `pass`, or the status and reason of the refusal. */
  readonly said: string;
  readonly outcome: GateOutcome;
  readonly wasLater: boolean;
  readonly facts: ConnectionFacts;
  readonly edits: HeadEdits;
  readonly claim: (...path: readonly string[]) => unknown;
}

async function pass(
  gate: RequestGate,
  headers: Headers = {},
  { path = '/', method = 'GET' } = {},
): Promise<Passed> {
  const head: RequestHead = {
    method,
    path,
    authority: 'a',
    header: (name) => {
      const value = headers[name];
      return typeof value === 'string' ? [value] : value;
    },
  };
  const facts = new ConnectionFacts(
    {
      sourceAddress: '10.0.0.9',
      sourcePort: 40_000,
      destinationAddress: '10.0.0.7',
      destinationPort: 8080,
      serverName: '',
    },
    undefined,
  );
  facts.setRequest(head, path.split('?')[0] ?? '', path, facts.sourceIp);
  const edits = new HeadEdits();
  const request = { facts, edits: () => edits, requestId: 'r' };
  const first = gate.check(request);
  const outcome = first === 'later' ? await gate.checkLater(request) : first;
  facts.applyEdits(edits);
  return {
    said: outcome.kind === 'pass' ? 'pass' : `${outcome.status} ${outcome.reasonCode}`,
    outcome,
    wasLater: first === 'later',
    facts,
    edits,
    claim: (...claimPath) => facts.metadata(JWT_FILTER, ['payload', ...claimPath]),
  };
}

const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });

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
    signToken(key, { ...CLAIMS, nbf: seconds(65) }),
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
      rules: [rule({ jwks: jwksOf(key, rsa) })],
    });
    const { said, outcome, claim } = await pass(gate, bearer(token));
    assert.equal(said, `401 ${reasonCode}`);
    assert.equal(claim('sub'), undefined);
    assert.ok(outcome.kind === 'refuse');
    assert.deepEqual(outcome.headers, ['www-authenticate', 'Bearer error="invalid_token"']);
    assert.ok(token.length < 10 || !JSON.stringify(outcome).includes(token));
  });
}

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
  const gate = createJwtGate({ rules: [rule()] }, () => now);
  const token = signToken(key, { ...CLAIMS, exp: Math.floor(now / 1_000) + 10 });
  assert.equal((await pass(gate, bearer(token))).said, 'pass');
  now += 69_000;
  const late = await pass(gate, bearer(token));
  assert.deepEqual([late.said, late.wasLater], ['pass', false]);
  now += 2_000;
  assert.equal((await pass(gate, bearer(token))).said, '401 jwt-expired');
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
