// What a request must pass, what is taken out of it and put into it, and where it goes.
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { formatIp, parseIp } from '@weft/model/ip';
import { compileRbac } from '@weft/model/policy/evaluate';
import type { Permission, Principal, RbacRules } from '@weft/model/policy/rbac';
import type { HttpConnectionManager } from '@weft/xds/resources/listener';
import type { RouteConfiguration } from '@weft/xds/resources/route';
import { createTestPki, idOf } from '../../../test/support/mesh-pki.ts';
import { splitPem } from '../tls/credentials.ts';
import { ConnectionFacts, forwardedClientCert, type RequestHead } from './connection-facts.ts';
import {
  forwardedFor,
  type HttpContext,
  type HttpDecision,
  isRemovedInbound,
  isRemovedOutbound,
  runHttpFilters,
} from './http-filters.ts';

const PEER = '10.0.0.9';

const routesOf = (...pairs: readonly (readonly [string, string])[]): RouteConfiguration => ({
  name: 'r',
  virtualHosts: pairs.map(([domain, cluster]) => ({
    name: domain,
    domains: [domain],
    routes: [{ match: { kind: 'prefix', value: '/' }, cluster, timeoutMs: 0, connectRetries: 0 }],
  })),
});

interface Given {
  readonly path?: string;
  readonly authority?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly rules?: readonly RbacRules[];
  readonly manager?: Partial<HttpConnectionManager>;
  readonly isInbound?: boolean;
  readonly clientCert?: string;
  readonly route?: RouteConfiguration;
}

function run(given: Given): HttpDecision {
  const { path = '/', authority = 'prices', headers = {}, rules = [], isInbound = true } = given;
  const context: HttpContext = {
    facts: new ConnectionFacts(
      {
        sourceAddress: PEER,
        sourcePort: 40_000,
        destinationAddress: '10.0.0.7',
        destinationPort: 8080,
        serverName: '',
      },
      undefined,
    ),
    runtime: {
      manager: {
        statPrefix: 'x',
        routes: { kind: 'inline', config: routesOf(['*', 'inbound|8080||']) },
        filters: [],
        forwardClientCert: 'sanitizeSet',
        trustedHops: 0,
        pathNormalization: 'BASE',
        upgrades: [],
        requestHeadersTimeoutMs: 0,
        streamIdleTimeoutMs: 0,
        ...given.manager,
      },
      refusedPaths: [],
      gates: [],
      evaluator: rules.length === 0 ? undefined : compileRbac(rules),
    },
    clientCert: given.clientCert,
    random: () => 0,
    isExplaining: true,
    isInbound,
    route: () => given.route,
  };
  const head: RequestHead = {
    method: 'GET',
    path,
    authority,
    header: (name) => {
      const value = headers[name];
      return value === undefined ? undefined : [value];
    },
    names: () => Object.keys(headers),
  };
  const decision = runHttpFilters(context, head);
  assert.ok(!(decision instanceof Promise));
  return decision;
}

const rulesOf = (
  action: RbacRules['action'],
  permission: Permission,
  principal: Principal = { kind: 'any' },
): RbacRules => ({
  action,
  policies: [{ name: 'p', permissions: [permission], principals: [principal] }],
});

const atPath = (value: string): Permission => ({
  kind: 'urlPath',
  path: { kind: 'exact', value, ignoreCase: false },
});

function addedBy(decision: HttpDecision): Readonly<Record<string, string>> {
  assert.equal(decision.kind, 'forward');
  const added: Record<string, string> = {};
  if (decision.kind !== 'forward') return added;
  for (const [at, name] of decision.added.entries()) {
    if (at % 2 === 1) continue;
    assert.ok(!(name in added), `${name} is added twice`);
    added[name] = decision.added[at + 1] ?? '';
  }
  return added;
}

const verdictOf = (decision: HttpDecision): string =>
  decision.kind === 'forward'
    ? `to ${decision.target}`
    : `${decision.status} ${decision.reasonCode}`;

const disguises = [
  '/admin',
  '/%61dmin',
  '/x/../admin',
  '/./admin',
  '/x/%2e%2e/admin',
  '/\\..\\admin',
  '/admin#x',
  '/x\\..\\admin',
];
for (const path of disguises) {
  test(`what is matched is what is forwarded: ${path} is /admin to both (CVE-2019-9901, CVE-2021-32779)`, () => {
    const rules = [rulesOf('DENY', atPath('/admin'))];
    assert.equal(verdictOf(run({ path, rules })), '403 rbac-denied');
    assert.equal(verdictOf(run({ path })), 'to /admin');
  });
}

test('the query is forwarded as it came and matches nothing', () => {
  assert.equal(verdictOf(run({ path: '/a?x=/%61/../b' })), 'to /a?x=/%61/../b');
  const rules = [rulesOf('DENY', atPath('/a'))];
  assert.equal(verdictOf(run({ path: '/a?x=1', rules })), '403 rbac-denied');
});

test('MERGE_SLASHES and DECODE_AND_MERGE_SLASHES go further, for rule and upstream alike', () => {
  const merge = { pathNormalization: 'MERGE_SLASHES' } as const;
  const decode = { pathNormalization: 'DECODE_AND_MERGE_SLASHES' } as const;
  const rules = [rulesOf('DENY', atPath('/a/b'))];
  assert.equal(verdictOf(run({ path: '/a//b', rules })), 'to /a//b');
  assert.equal(verdictOf(run({ path: '/a//b', rules, manager: merge })), '403 rbac-denied');
  assert.equal(verdictOf(run({ path: '/a%2fb', rules, manager: merge })), 'to /a%2fb');
  assert.equal(verdictOf(run({ path: '/a%2fb', rules, manager: decode })), '403 rbac-denied');
  assert.equal(verdictOf(run({ path: '/a%2f%2Fb', manager: decode })), 'to /a/b');
});

test('an ambiguous path is answered 400 before any rule is asked', () => {
  const rules = [rulesOf('DENY', { kind: 'any' })];
  assert.equal(verdictOf(run({ path: '/a%00', rules })), '400 path-null');
});

test('a denial says nothing of policies to the client, and names the policy to the log', () => {
  const decision = run({ rules: [rulesOf('DENY', { kind: 'any' })] });
  assert.equal(decision.kind === 'respond' && decision.body, 'RBAC: access denied');
  assert.equal(decision.verdict?.isAllowed, false);
  assert.match(JSON.stringify(decision.verdict), /"p"/);
});

test('X-Forwarded-Client-Cert and x-weft- headers of a client never pass (CVE-2023-27487)', () => {
  for (const name of ['x-forwarded-client-cert', 'x-weft-peer', 'x-weft-']) {
    assert.equal(isRemovedInbound(name), true);
    assert.equal(isRemovedOutbound(name), true);
  }
  for (const name of ['x-forwarded-for', 'x-request-id']) {
    assert.equal(isRemovedInbound(name), true, `${name}: set anew`);
  }
  for (const name of ['authorization', 'x-weft', 'x-forwarded-proto', 'cookie']) {
    assert.equal(isRemovedInbound(name), false);
    assert.equal(isRemovedOutbound(name), false);
  }
});

test('X-Forwarded-Client-Cert is set where there is a verified peer, and nowhere else', () => {
  assert.equal(addedBy(run({ clientCert: 'By=a' }))['x-forwarded-client-cert'], 'By=a');
  const headers = { 'x-forwarded-client-cert': 'By=forged' };
  assert.equal(addedBy(run({ headers }))['x-forwarded-client-cert'], undefined);
});

test('forwardedClientCert() names both ends and the certificate by its hash', () => {
  const web = idOf('shop/web');
  const [leafPem = ''] = splitPem(createTestPki().issue({ uris: [web] }).chainPem);
  const leaf = new X509Certificate(leafPem);
  const hash = createHash('sha256').update(leaf.raw).digest('hex');
  assert.equal(
    forwardedClientCert(idOf('shop/prices'), { spiffeId: web, chain: [leaf] }),
    `By=spiffe://mesh.test/ns/shop/sa/prices;Hash=${hash};URI=spiffe://mesh.test/ns/shop/sa/web`,
  );
});

const forwarded: readonly (readonly [
  string,
  number,
  readonly string[] | undefined,
  string,
  string,
])[] = [
  ['no header', 0, undefined, PEER, PEER],
  ['a forged header and no trusted hop', 0, ['1.1.1.1'], PEER, PEER],
  ['one trusted hop', 1, ['1.1.1.1, 2.2.2.2'], '2.2.2.2', `2.2.2.2, ${PEER}`],
  ['two trusted hops', 2, ['1.1.1.1, 2.2.2.2, 3.3.3.3'], '2.2.2.2', `2.2.2.2, 3.3.3.3, ${PEER}`],
  [
    'two trusted hops on lines of their own',
    2,
    ['1.1.1.1', '2.2.2.2'],
    '1.1.1.1',
    `1.1.1.1, 2.2.2.2, ${PEER}`,
  ],
  ['fewer entries than trusted hops', 2, ['1.1.1.1'], PEER, `1.1.1.1, ${PEER}`],
  ['no header and a trusted hop', 1, undefined, PEER, PEER],
  ['an entry that is no address', 1, ['1.1.1.1, evil'], PEER, PEER],
  ['IPv6', 1, ['2001:db8::1'], '2001:db8::1', `2001:db8::1, ${PEER}`],
];
for (const [what, hops, values, client, line] of forwarded) {
  test(`forwardedFor() with ${what}: the client is ${client} (CVE-2024-45806)`, () => {
    const result = forwardedFor(values, hops, { ip: parseIp(PEER), text: PEER });
    assert.equal(result.client && formatIp(result.client), client);
    assert.equal(result.line, line);
  });
}

test('forwardedFor() looks at a bounded number of entries', () => {
  const many = Array.from({ length: 1_000 }, (_, index) => `10.1.${index >> 8}.${index & 255}`);
  const { line } = forwardedFor([many.join(',')], 1_000, {
    ip: parseIp(PEER),
    text: PEER,
  });
  assert.equal(line.split(',').length, 33);
});

test('rules that ask for the client’s address are given the one that trusted hops named', () => {
  const rules = [
    rulesOf(
      'DENY',
      { kind: 'any' },
      { kind: 'remoteIp', cidr: { address: '2.2.2.2', prefixLength: 32 } },
    ),
  ];
  const headers = { 'x-forwarded-for': '1.1.1.1, 2.2.2.2' };
  assert.equal(verdictOf(run({ rules, headers })), 'to /');
  assert.equal(verdictOf(run({ rules, headers, manager: { trustedHops: 1 } })), '403 rbac-denied');
  const direct = [
    rulesOf(
      'DENY',
      { kind: 'any' },
      { kind: 'directRemoteIp', cidr: { address: PEER, prefixLength: 32 } },
    ),
  ];
  const manager = { trustedHops: 1 };
  assert.equal(verdictOf(run({ rules: direct, headers, manager })), '403 rbac-denied');
});

test('outbound requests keep the X-Forwarded-For that the application wrote', () => {
  assert.equal(addedBy(run({ isInbound: false }))['x-forwarded-for'], undefined);
  assert.equal(isRemovedOutbound('x-forwarded-for'), false);
  assert.equal(addedBy(run({}))['x-forwarded-for'], PEER);
});

test('a request id is kept when it is harmless, and made when not', () => {
  const idFor = (id: string | undefined): string | undefined =>
    addedBy(run({ headers: id === undefined ? {} : { 'x-request-id': id } }))['x-request-id'];
  for (const id of ['abc-123', 'A.b_c:d', 'x'.repeat(128)]) assert.equal(idFor(id), id);
  for (const id of ['', 'a b', 'a"b', 'é', 'x'.repeat(129), undefined]) {
    const made = idFor(id);
    assert.ok(made !== undefined && made !== id && made.length > 8, String(made));
  }
  assert.notEqual(idFor(undefined), idFor(undefined));
});

test('a route that is not there yet is answered 404', () => {
  const manager = { routes: { kind: 'rds', name: 'r' } } as const;
  assert.equal(verdictOf(run({ manager })), '404 no-route');
  const decision = run({ manager, route: routesOf(['prices', 'c']) });
  assert.equal(decision.kind === 'forward' && decision.route.cluster, 'c');
  const stranger = run({ manager, route: routesOf(['stock', 'c']) });
  assert.equal(verdictOf(stranger), '404 no-route');
});
