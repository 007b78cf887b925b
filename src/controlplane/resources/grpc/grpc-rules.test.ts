// What must hold: what gRPC cannot judge closes what it restricts, and nothing is allowed that the rules deny.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileRbac } from '@weft/model/policy/evaluate';
import { LOGIN_FILTER } from '@weft/model/login/types';
import {
  type HeaderMatcher,
  JWT_FILTER,
  type Permission,
  type RbacRules,
  type StringMatcher,
} from '@weft/model/policy/rbac';
import { CLIENT_CERTIFICATE } from '@weft/model/tls/client-facts';
import { httpRequest } from '../../../../test/support/policies.ts';
import { rbacRules } from '../../../../test/support/rbac-arbitraries.ts';
import { httpRequests } from '../../../../test/support/rule-arbitraries.ts';
import { grpcRules } from './grpc-rules.ts';

const OPTIONS = { seesContentType: true, trustedHops: 0 };
const header = (name: string): Permission => ({
  kind: 'header',
  header: { name, match: { kind: 'present' }, invert: false },
});
const rulesOf = (action: RbacRules['action'], permission: Permission): RbacRules => ({
  action,
  policies: [{ name: 'p', permissions: [permission], principals: [{ kind: 'any' }] }],
});
const ANY: Permission = { kind: 'any' };
const NEVER: Permission = { kind: 'not', rule: ANY };

const metadata = (filter: string): Permission => ({
  kind: 'metadata',
  metadata: { filter, path: ['sub'], value: { kind: 'present' }, invert: false },
});

const UNJUDGED: readonly (readonly [string, Permission, string])[] = [
  ["gRPC's own headers", header('grpc-timeout'), 'the header grpc-timeout is not seen'],
  ['binary headers, which it decodes', header('trace-bin'), 'the header trace-bin is not seen'],
  ['headers of one hop', header('te'), 'the header te is not seen'],
  [
    'the server name',
    { kind: 'requestedServerName', name: exact('web') },
    'the server name of the handshake is not seen',
  ],
  ['claims of tokens', metadata(JWT_FILTER), 'tokens are not checked, and no claim is seen'],
  ['names of who logged in', metadata(LOGIN_FILTER), 'nobody logs in, and no user is seen'],
  [
    'client certificates',
    metadata(CLIENT_CERTIFICATE),
    'the fields of client certificates are not seen',
  ],
  ['what filters know', metadata('f'), 'metadata of filters is not seen'],
];

function exact(value: string) {
  return { kind: 'exact', value, ignoreCase: false } as const;
}

for (const [name, permission, why] of UNJUDGED) {
  test(`grpcRules() allows nothing by ${name}, and denies whatever the rest of the rule matches`, () => {
    const allow = grpcRules(rulesOf('ALLOW', permission), OPTIONS);
    assert.deepEqual(allow.rules.policies[0]?.permissions, [NEVER]);
    assert.deepEqual(allow.closed, [{ name: 'p', why: [why] }]);
    const deny = grpcRules(rulesOf('DENY', permission), OPTIONS);
    assert.deepEqual(deny.rules.policies[0]?.permissions, [ANY]);
    const except = grpcRules(rulesOf('ALLOW', { kind: 'not', rule: permission }), OPTIONS);
    assert.deepEqual(except.rules.policies[0]?.permissions, [{ kind: 'not', rule: ANY }]);
    const denyExcept = grpcRules(rulesOf('DENY', { kind: 'not', rule: permission }), OPTIONS);
    assert.deepEqual(denyExcept.rules.policies[0]?.permissions, [{ kind: 'not', rule: NEVER }]);
  });
}

test('grpcRules() believes the address of a client only where no proxy is trusted to say it', () => {
  const cidr = { address: '10.0.0.0', prefixLength: 8 };
  const rules: RbacRules = {
    action: 'ALLOW',
    policies: [{ name: 'p', permissions: [ANY], principals: [{ kind: 'remoteIp', cidr }] }],
  };
  assert.deepEqual(grpcRules(rules, OPTIONS), { rules, closed: [] });
  const { closed } = grpcRules(rules, { ...OPTIONS, trustedHops: 1 });
  const why = ['clients behind proxies are not seen, for X-Forwarded-For is not read'];
  assert.deepEqual(closed, [{ name: 'p', why }]);
});

const withText = (name: string): Permission => ({
  kind: 'header',
  header: {
    name,
    match: { kind: 'string', string: { kind: 'glob', parts: [{ kind: 'any' }] } },
    invert: false,
  },
});

test('grpcRules() asks about Host as :authority, which is what gRPC keeps of it', () => {
  const { rules, closed } = grpcRules(rulesOf('DENY', header('host')), OPTIONS);
  assert.deepEqual(rules.policies[0]?.permissions, [withText(':authority')]);
  assert.deepEqual(closed, []);
});

test('grpcRules() takes an empty header for one that is there, which grpc-go by itself does not', () => {
  const absent: Permission = {
    kind: 'header',
    header: { name: 'x-a', match: { kind: 'present' }, invert: true },
  };
  const read = (permission: Permission) =>
    grpcRules(rulesOf('DENY', permission), OPTIONS).rules.policies[0]?.permissions;
  assert.deepEqual(read(header('x-a')), [withText('x-a')]);
  assert.deepEqual(read(absent), [{ kind: 'not', rule: withText('x-a') }]);
});

test('grpcRules() lets no second value hide the one that a DENY asks about, where gRPC sees both as one text (CVE-2026-26308)', () => {
  const asked = (string: StringMatcher): Permission => ({
    kind: 'header',
    header: { name: 'x-a', match: { kind: 'string', string }, invert: false },
  });
  const glob: StringMatcher = {
    kind: 'glob',
    parts: [{ kind: 'literal', text: 'b' }, { kind: 'any' }],
  };
  const prefix: StringMatcher = { kind: 'prefix', value: 'b', ignoreCase: false };
  const suffix: StringMatcher = { kind: 'suffix', value: 'b', ignoreCase: true };
  for (const string of [exact('b'), glob, prefix, suffix]) {
    const { rules } = grpcRules(rulesOf('DENY', asked(string)), OPTIONS);
    for (const joined of ['b', 'b,x', 'x,b', 'x,b,y']) {
      const request = httpRequest({ headers: { 'x-a': [joined] } });
      assert.equal(
        compileRbac([rules]).decide(request).isAllowed,
        false,
        `${string.kind} ${joined}`,
      );
    }
    const other = httpRequest({ headers: { 'x-a': ['x,y'] } });
    assert.equal(compileRbac([rules]).decide(other).isAllowed, true, string.kind);
    const allow = rulesOf('ALLOW', asked(string));
    assert.deepEqual(grpcRules(allow, OPTIONS).rules, allow);
    const negated: Permission = {
      kind: 'header',
      header: { ...headerOf(asked(string)), invert: true },
    };
    const except = grpcRules(rulesOf('ALLOW', negated), OPTIONS).rules;
    const hidden = httpRequest({ headers: { 'x-a': ['x,b'] } });
    assert.equal(compileRbac([except]).decide(hidden).isAllowed, false, string.kind);
    assert.equal(compileRbac([except]).decide(httpRequest({})).isAllowed, true, string.kind);
  }
});

function headerOf(permission: Permission): HeaderMatcher {
  assert.ok(permission.kind === 'header');
  return permission.header;
}

const template = (value: string): Permission => ({ kind: 'uriTemplate', template: value });
const PATHS = ['/a/b', '/a/', '/a//b', '/a/b/c', '/a', '/x/b/c', '/a/b/'];
for (const one of ['/a/{*}', '/a/{**}', '/{*}/b', '/{*}/b/{**}', '/a/b']) {
  test(`grpcRules() writes the template ${one} so that it allows just what it did`, () => {
    const before = rulesOf('ALLOW', template(one));
    const after = grpcRules(before, OPTIONS).rules;
    assert.ok(!JSON.stringify(after).includes('uriTemplate'));
    for (const target of PATHS) {
      const request = httpRequest({ target });
      const [was, is] = [before, after].map((set) => compileRbac([set]).decide(request).isAllowed);
      assert.equal(is, was, target);
    }
  });
}

test('grpcRules() never allows what the rules deny, whatever they say and whoever asks', () => {
  fc.assert(
    fc.property(rbacRules('http'), fc.array(httpRequests, { minLength: 1 }), (rules, asked) => {
      const { rules: written } = grpcRules(rules, OPTIONS);
      const [before, after] = [compileRbac([rules]), compileRbac([written])];
      for (const one of asked) {
        const request = httpRequest(one);
        if (after.decide(request).isAllowed)
          assert.ok(before.decide(request).isAllowed, JSON.stringify(one));
      }
    }),
    { numRuns: 300 },
  );
});

test('grpcRules() closes nothing in silence: rules of which nothing is told decide alike, about headers that came once', () => {
  const isPlain = ({ headers = {} }: Parameters<typeof httpRequest>[0]): boolean =>
    Object.values(headers).every((values) => values.length === 1 && !values[0]?.includes(','));
  let compared = 0;
  fc.assert(
    fc.property(rbacRules('http'), fc.array(httpRequests, { minLength: 1 }), (rules, asked) => {
      const { rules: written, closed } = grpcRules(rules, OPTIONS);
      if (closed.length > 0) return;
      const [before, after] = [compileRbac([rules]), compileRbac([written])];
      for (const one of asked.filter(isPlain)) {
        compared++;
        const request = httpRequest(one);
        const [was, is] = [before.decide(request).isAllowed, after.decide(request).isAllowed];
        assert.equal(is, was, JSON.stringify(one));
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(compared > 100, `${compared} decisions were compared`);
});
