// Random policies and requests of few, colliding texts, so that rules meet what they are about; for properties and for fuzzing.
import type { CaseRequest } from '@weft/model/policy/eval-cases';
import type { PlainObject } from '@weft/model/policy/reader';
import fc from 'fast-check';

/** Where the judged workload lives, and what it is called by selectors. */
export const FUZZ_WORKLOAD = { namespace: 'foo', labels: { app: 'web', version: 'v1' } } as const;
export const FUZZ_ROOT_NAMESPACE = 'istio-system';
export const FUZZ_PORTS = { http: 8080, tcp: 9000 } as const;

const PRINCIPALS = [
  'cluster.local/ns/foo/sa/a',
  'cluster.local/ns/foo/sa/ab',
  'cluster.local/ns/bar/sa/a',
  'cluster.local/ns/foo-bar/sa/a.b',
] as const;

const VALUES = {
  principals: [
    ...PRINCIPALS,
    'cluster.local/ns/foo/*',
    '*/sa/a',
    '*',
    'cluster.local/ns/foo/sa/a*',
  ],
  namespaces: ['foo', 'bar', 'foo*', '*bar', '*', 'f*o', 'foo-bar'],
  ipBlocks: [
    '127.11.0.1',
    '127.11.0.0/24',
    '127.11.0.0/31',
    '127.0.0.0/8',
    '10.0.0.0/8',
    '0.0.0.0/0',
  ],
  remoteIpBlocks: ['203.0.113.0/24', '203.0.113.9', '127.11.0.0/16', '2001:db8::/32'],
  trustDomains: ['cluster.local', 'cluster.*', '*.local', 'other', '*'],
  hosts: ['web.foo', 'WEB.foo', 'web*', '*.foo', '*', 'web.foo:8080', 'web.foo:*'],
  ports: ['8080', '9000', '1'],
  methods: ['GET', 'POST', 'G*', '*T', '*', 'get'],
  paths: [
    '/a',
    '/a/',
    '/A',
    '/a/b',
    '/a*',
    '/a/*',
    '*b',
    '*/b',
    '*',
    '/a/{*}',
    '/a/{*}/b',
    '/a/{**}',
    '/{**}/b',
    '/a%2Fb',
    '/a;x',
    '/',
  ],
} as const;

const some = (values: readonly string[]): fc.Arbitrary<string[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });

type Field = keyof typeof VALUES;

/** Fields of a source or operation, positive and negative; never empty. */
function fieldsOf(names: readonly Field[]): fc.Arbitrary<PlainObject> {
  const entries = names.flatMap((name) => [
    [name, some(VALUES[name])] as const,
    [`not${name.charAt(0).toUpperCase()}${name.slice(1)}`, some(VALUES[name])] as const,
  ]);
  return fc
    .uniqueArray(fc.constantFrom(...entries), {
      minLength: 1,
      maxLength: 3,
      selector: ([name]) => name,
    })
    .chain((chosen) => fc.record(Object.fromEntries(chosen)));
}

const account = fc.constantFrom('a', 'foo/a', 'bar/a', 'foo/ab', 'a.b', 'foo-bar/a.b');
const accounts = fc
  .uniqueArray(account, { minLength: 1, maxLength: 2 })
  .map((serviceAccounts): PlainObject => ({ serviceAccounts }));
const source = fc.oneof(
  {
    weight: 5,
    arbitrary: fieldsOf(['principals', 'namespaces', 'ipBlocks', 'remoteIpBlocks', 'trustDomains']),
  },
  { weight: 1, arbitrary: accounts },
);
const operation = fieldsOf(['hosts', 'ports', 'methods', 'paths']);

const CONDITIONS: readonly (readonly [string, readonly string[]])[] = [
  ['request.headers[x-role]', ['admin', 'user', 'ad*', '*n', '*', 'admin, user']],
  ['request.headers[:method]', ['GET', 'POST']],
  ['request.headers[:path]', ['/a', '/a?q=/b', '/a*']],
  ['source.ip', VALUES.ipBlocks],
  ['remote.ip', VALUES.remoteIpBlocks],
  ['source.namespace', VALUES.namespaces],
  ['source.principal', VALUES.principals],
  ['source.trustDomain', VALUES.trustDomains],
  ['destination.port', VALUES.ports],
  ['connection.sni', ['a.test', '*.test', 'a*', '*']],
];
const condition = fc.constantFrom(...CONDITIONS).chain(([key, values]) =>
  fc.oneof(
    some(values).map((list): PlainObject => ({ key, values: list })),
    some(values).map((list): PlainObject => ({ key, notValues: list })),
    fc
      .tuple(some(values), some(values))
      .map(([list, not]): PlainObject => ({ key, values: list, notValues: not })),
  ),
);

const listOf = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(one, { minLength: 1, maxLength: 2 });

const rule = fc
  .record(
    {
      from: listOf(source.map((value) => ({ source: value }))),
      to: listOf(operation.map((value) => ({ operation: value }))),
      when: listOf(condition),
    },
    { requiredKeys: [] },
  )
  .map((value): PlainObject => ({ ...value }));

const SELECTORS = [
  undefined,
  { app: 'web' },
  { app: 'web', version: 'v1' },
  { app: 'other' },
] as const;

/** A sound AuthorizationPolicy with ALLOW or DENY, as an object of a manifest. Its name is its index's to give. */
export const policyArbitrary: fc.Arbitrary<PlainObject> = fc
  .record({
    action: fc.constantFrom('ALLOW', 'ALLOW', 'DENY'),
    namespace: fc.constantFrom('foo', 'foo', 'foo', FUZZ_ROOT_NAMESPACE, 'bar'),
    labels: fc.constantFrom(...SELECTORS),
    rules: fc.array(rule, { minLength: 1, maxLength: 3 }),
  })
  .map(({ action, namespace, labels, rules }) => ({
    apiVersion: 'security.weft.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace },
    spec: { action, rules, ...(labels && { selector: { matchLabels: labels } }) },
  }));

/** The policies of one mesh, each with a name of its own. */
export const policiesArbitrary = (max: number): fc.Arbitrary<readonly PlainObject[]> =>
  fc.array(policyArbitrary, { minLength: 1, maxLength: max }).map((policies) =>
    policies.map((policy, index) => ({
      ...policy,
      metadata: { ...(policy['metadata'] as object), name: `p${index}` },
    })),
  );

const TARGETS = [
  '/a',
  '/a/',
  '/A',
  '/a/b',
  '/a/x/b',
  '/a/x/y/b',
  '/b',
  '/',
  '/a?q=/b',
  '/a//b',
  '/a/../b',
  '/a/%2e%2e/b',
  '/a/./b',
  '/a;x',
  '/a;x/b',
  '/a%2Fb',
  '/a%2fb',
  '/%61',
  '/a\\b',
  '/a#f',
  '/a/*',
  '/a/b*',
  '/a%00',
  '/a/%c3%a9',
  '/ab',
] as const;

const caller = {
  srcPrincipal: fc.constantFrom(null, ...PRINCIPALS),
  srcIP: fc.constantFrom('127.11.0.1', '127.11.0.2', '127.11.1.1', '127.0.0.1'),
};
const role = fc.oneof(
  fc.constantFrom('admin', 'user', 'adm', '', 'admin, user', 'ADMIN'),
  fc.constantFrom(['admin', 'user'], ['user', 'x'], ['', 'admin']),
);

/** As a client would send it; nothing is normalised yet. */
export const httpCaseArbitrary: fc.Arbitrary<CaseRequest> = fc
  .record({
    ...caller,
    method: fc.constantFrom('GET', 'POST', 'PUT'),
    path: fc.constantFrom(...TARGETS),
    host: fc.constantFrom('web.foo', 'Web.Foo', 'web.foo:8080', 'x.foo', 'other'),
    role: fc.option(role, { nil: undefined }),
    remoteIP: fc.constantFrom(undefined, undefined, '203.0.113.9', '198.51.100.7', '2001:db8::7'),
    sni: fc.constantFrom(undefined, 'a.test', 'b.test', 'c.other'),
  })
  .map(({ role: value, remoteIP, sni, ...request }) => ({
    ...request,
    protocol: 'http' as const,
    port: FUZZ_PORTS.http,
    headers: value === undefined ? {} : { 'x-role': value },
    ...(remoteIP !== undefined && { remoteIP }),
    // Only a TLS client has a server name.
    ...(sni !== undefined && request.srcPrincipal !== null && { sni }),
  }));

export const tcpCaseArbitrary: fc.Arbitrary<CaseRequest> = fc
  .record({ ...caller, sni: fc.constantFrom(undefined, 'a.test', 'c.other') })
  .map(({ sni, ...request }) => ({
    ...request,
    protocol: 'tcp' as const,
    port: FUZZ_PORTS.tcp,
    ...(sni !== undefined && request.srcPrincipal !== null && { sni }),
  }));

export const caseArbitrary: fc.Arbitrary<CaseRequest> = fc.oneof(
  { weight: 5, arbitrary: httpCaseArbitrary },
  { weight: 1, arbitrary: tcpCaseArbitrary },
);
