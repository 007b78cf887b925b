// Arbitrary xDS resources in the canonical form that decoding gives back: sorted, addresses canonical, globs merged.
import { parseCidr } from '@weft/model/ip';
import { AMBIGUOUS_PATHS } from '@weft/model/policy/ambiguous-path';
import type {
  CidrRange,
  GlobPart,
  HeaderMatcher,
  MetadataMatcher,
  Permission,
  Principal,
  RbacRules,
  StringMatcher,
  ValueMatcher,
} from '@weft/model/policy/rbac';
import type { ResourceByKind, ResourceKind } from '@weft/xds/resource';
import type { Cluster, UpstreamTls } from '@weft/xds/resources/cluster';
import type { ClusterLoadAssignment, Endpoint } from '@weft/xds/resources/endpoint';
import type {
  DownstreamTls,
  FilterChain,
  HttpConnectionManager,
  Listener,
} from '@weft/xds/resources/listener';
import type { RouteConfiguration } from '@weft/xds/resources/route';
import type { Secret } from '@weft/xds/resources/secret';
import { DRY_RUN_PREFIXES, type ShadowRules } from '@weft/xds/resources/shadow-rules';
import fc from 'fast-check';

/** `T` without the keys whose value is undefined, as exactOptionalPropertyTypes has them. */
function present<T extends object>(record: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;
}

/** Ordinary objects: those of `fc.record` may lack a prototype, which nothing decoded does. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

const anyText = fc.string({ unit: 'binary', maxLength: 12 });
const someText = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
const word = fc.stringMatching(/^[a-z][a-z0-9.|_-]{0,15}$/);
const port = fc.integer({ min: 1, max: 65_535 });
const durationMs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000_000 }));

const cidr: fc.Arbitrary<CidrRange> = fc
  .oneof(
    fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })),
    fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })),
  )
  .map(([address, length]) => parseCidr(`${address}/${length}`))
  .filter((range) => range !== undefined);
const address = cidr.map((range) => range.address);
const socketAddress = record({ address, port: fc.integer({ min: 0, max: 65_535 }) });

const globPart: fc.Arbitrary<GlobPart> = fc.oneof(
  record({ kind: fc.constant('literal' as const), text: someText }),
  record({ kind: fc.constantFrom('any' as const, 'some' as const, 'segment' as const) }),
);

/** Adjacent literals are one literal. */
export const glob: fc.Arbitrary<readonly GlobPart[]> = fc
  .array(globPart, { minLength: 1, maxLength: 6 })
  .map((parts) => {
    const merged: GlobPart[] = [];
    for (const part of parts) {
      const last = merged.at(-1);
      if (part.kind === 'literal' && last?.kind === 'literal')
        merged[merged.length - 1] = { kind: 'literal', text: last.text + part.text };
      else merged.push(part);
    }
    return merged;
  });

export const stringMatcher: fc.Arbitrary<StringMatcher> = fc.oneof(
  record({ kind: fc.constant('exact' as const), value: anyText, ignoreCase: fc.boolean() }),
  record({
    kind: fc.constantFrom('prefix' as const, 'suffix' as const, 'contains' as const),
    value: someText,
    ignoreCase: fc.boolean(),
  }),
  glob.map((parts): StringMatcher => ({ kind: 'glob', parts })),
);

const header: fc.Arbitrary<HeaderMatcher> = record({
  name: fc.oneof(
    fc.constantFrom(':authority', ':method', ':path'),
    fc.stringMatching(/^[a-z][a-z0-9-]{0,9}$/),
  ),
  match: fc.oneof(
    fc.constant({ kind: 'present' as const }),
    record({ kind: fc.constant('string' as const), string: stringMatcher }),
  ),
  invert: fc.boolean(),
});

const { value: valueMatcher } = fc.letrec<{ value: ValueMatcher }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant({ kind: 'present' as const }),
    stringMatcher.map((string): ValueMatcher => ({ kind: 'string', string })),
    tie('value').map((oneOf): ValueMatcher => ({ kind: 'list', oneOf })),
    fc
      .array(tie('value'), { minLength: 2, maxLength: 3 })
      .map((values): ValueMatcher => ({ kind: 'or', values })),
  ),
}));

const metadata: fc.Arbitrary<MetadataMatcher> = record({
  filter: word,
  path: fc.array(someText, { minLength: 1, maxLength: 3 }),
  value: valueMatcher,
  invert: fc.boolean(),
});

export const template: fc.Arbitrary<string> = fc
  .tuple(
    fc.array(fc.oneof(fc.constant('{*}'), fc.stringMatching(/^[a-z0-9.%~]{1,6}$/)), {
      minLength: 1,
      maxLength: 4,
    }),
    fc.constantFrom('', '/', '/{**}', '/{**}/cart'),
  )
  .map(([segments, end]) => `/${segments.join('/')}${end}`);

type Layer = 'http' | 'tcp';

const permissionOf = (layer: Layer): fc.Arbitrary<Permission> =>
  fc.letrec<{ permission: Permission }>((tie) => ({
    permission: fc.oneof(
      { maxDepth: 3 },
      fc.constant({ kind: 'any' as const }),
      port.map((value): Permission => ({ kind: 'destinationPort', port: value })),
      cidr.map((range): Permission => ({ kind: 'destinationIp', cidr: range })),
      stringMatcher.map((name): Permission => ({ kind: 'requestedServerName', name })),
      metadata.map((value): Permission => ({ kind: 'metadata', metadata: value })),
      ...(layer === 'tcp'
        ? []
        : [
            header.map((value): Permission => ({ kind: 'header', header: value })),
            stringMatcher.map((path): Permission => ({ kind: 'urlPath', path })),
            template.map((value): Permission => ({ kind: 'uriTemplate', template: value })),
          ]),
      tie('permission').map((rule): Permission => ({ kind: 'not', rule })),
      record({
        kind: fc.constantFrom('and' as const, 'or' as const),
        rules: fc.array(tie('permission'), { minLength: 1, maxLength: 3 }),
      }),
    ),
  })).permission;

const principalOf = (layer: Layer): fc.Arbitrary<Principal> =>
  fc.letrec<{ principal: Principal }>((tie) => ({
    principal: fc.oneof(
      { maxDepth: 3 },
      fc.constant({ kind: 'any' as const }),
      fc.constant({ kind: 'authenticated' as const }),
      stringMatcher.map((name): Principal => ({ kind: 'authenticated', name })),
      cidr.map((range): Principal => ({ kind: 'directRemoteIp', cidr: range })),
      cidr.map((range): Principal => ({ kind: 'remoteIp', cidr: range })),
      metadata.map((value): Principal => ({ kind: 'metadata', metadata: value })),
      ...(layer === 'tcp'
        ? []
        : [
            header.map((value): Principal => ({ kind: 'header', header: value })),
            stringMatcher.map((path): Principal => ({ kind: 'urlPath', path })),
          ]),
      tie('principal').map((id): Principal => ({ kind: 'not', id })),
      record({
        kind: fc.constantFrom('and' as const, 'or' as const),
        ids: fc.array(tie('principal'), { minLength: 1, maxLength: 3 }),
      }),
    ),
  })).principal;

export const rbacRules = (layer: Layer): fc.Arbitrary<RbacRules> =>
  record({
    action: fc.constantFrom('ALLOW' as const, 'DENY' as const, 'LOG' as const),
    policies: fc
      .uniqueArray(
        record({
          name: fc.oneof(someText, fc.constantFrom('1', '__proto__', 'ns[a]-policy[b]-rule[0]')),
          permissions: fc.array(permissionOf(layer), { minLength: 1, maxLength: 3 }),
          principals: fc.array(principalOf(layer), { minLength: 1, maxLength: 3 }),
        }),
        { maxLength: 3, selector: ({ name }) => name },
      )
      .map((policies) => policies.sort((a, b) => (a.name < b.name ? -1 : 1))),
  });

const downstreamTls: fc.Arbitrary<DownstreamTls> = record({
  alpn: fc.array(word, { maxLength: 3 }),
  certificateSecret: word,
  validationSecret: word,
  peerUris: fc.array(stringMatcher, { minLength: 1, maxLength: 3 }),
});

const upstreamTls: fc.Arbitrary<UpstreamTls> = record({
  sni: fc.oneof(fc.constant(''), word),
  alpn: fc.array(word, { maxLength: 3 }),
  certificateSecret: word,
  validationSecret: word,
  peerUris: fc.array(someText, { minLength: 1, maxLength: 3 }),
});

const routeConfiguration = (name: fc.Arbitrary<string>): fc.Arbitrary<RouteConfiguration> =>
  record({
    name,
    virtualHosts: fc.array(
      record({
        name: word,
        domains: fc.array(fc.oneof(word, fc.constant('*')), { minLength: 1, maxLength: 3 }),
        routes: fc.array(
          record({
            match: record({
              kind: fc.constantFrom('prefix' as const, 'path' as const),
              value: anyText.map((text) => `/${text}`),
            }),
            cluster: word,
            timeoutMs: durationMs,
            connectRetries: fc.integer({ min: 0, max: 100 }),
          }),
          { maxLength: 2 },
        ),
      }),
      { maxLength: 2 },
    ),
  });

const shadowRules = (layer: Layer): fc.Arbitrary<ShadowRules> =>
  rbacRules(layer).map(({ policies, action }) => {
    const kept = action === 'LOG' ? 'DENY' : action;
    return { statPrefix: DRY_RUN_PREFIXES[kept], rules: { action: kept, policies } };
  });
const httpRbac = rbacRules('http').map((rules) => ({ kind: 'rbac' as const, rules }));
const httpShadow = shadowRules('http').map((shadow) => ({ kind: 'shadowRbac' as const, shadow }));

const httpConnectionManager: fc.Arbitrary<HttpConnectionManager> = record({
  statPrefix: word,
  routes: fc.oneof(
    word.map((name) => ({ kind: 'rds' as const, name })),
    routeConfiguration(fc.oneof(word, fc.constant(''))).map((config) => ({
      kind: 'inline' as const,
      config,
    })),
  ),
  filters: fc
    .tuple(
      fc.subarray([...AMBIGUOUS_PATHS], { minLength: 1 }),
      fc.array(fc.oneof(httpRbac, httpShadow), { maxLength: 2 }),
    )
    .map(([refused, all]) => [
      ...(refused.length === 1 ? [] : [{ kind: 'refusePaths' as const, refused }]),
      ...all,
      { kind: 'router' as const },
    ]),
  forwardClientCert: fc.constantFrom('sanitize' as const, 'sanitizeSet' as const),
  trustedHops: fc.integer({ min: 0, max: 100 }),
  pathNormalization: fc.constantFrom(
    'NONE' as const,
    'BASE' as const,
    'MERGE_SLASHES' as const,
    'DECODE_AND_MERGE_SLASHES' as const,
  ),
  upgrades: fc.array(fc.stringMatching(/^[a-z]{1,9}$/), { maxLength: 2 }),
  requestHeadersTimeoutMs: durationMs,
  streamIdleTimeoutMs: durationMs,
});

const tcpRbac = record({
  kind: fc.constant('rbac' as const),
  statPrefix: word,
  rules: rbacRules('tcp'),
});
const tcpShadow = record({
  kind: fc.constant('shadowRbac' as const),
  statPrefix: word,
  shadow: shadowRules('tcp'),
});

const filterChain: fc.Arbitrary<FilterChain> = fc
  .record({
    name: fc.oneof(fc.constant(''), word),
    match: fc
      .record({
        destinationPort: fc.option(port, { nil: undefined }),
        destinationRanges: fc.array(cidr, { maxLength: 2 }),
        transportProtocol: fc.constantFrom(undefined, 'tls' as const, 'raw_buffer' as const),
        applicationProtocols: fc.array(word, { maxLength: 2 }),
        serverNames: fc.array(word, { maxLength: 2 }),
      })
      .map((match) => present<FilterChain['match']>(match)),
    tls: fc.option(downstreamTls, { nil: undefined }),
    filters: fc
      .tuple(
        fc.array(fc.oneof(tcpRbac, tcpShadow), { maxLength: 2 }),
        fc.oneof(
          httpConnectionManager.map((http) => ({ kind: 'http' as const, http })),
          record({ kind: fc.constant('tcpProxy' as const), statPrefix: word, cluster: word }),
        ),
      )
      .map(([rbac, last]) => [...rbac, last]),
  })
  .map((chain) => present<FilterChain>(chain));

export const listener: fc.Arbitrary<Listener> = fc
  .record({
    name: word,
    address: socketAddress,
    direction: fc.constantFrom('inbound' as const, 'outbound' as const),
    bindToPort: fc.boolean(),
    inspectors: fc.uniqueArray(
      fc.constantFrom('originalDst' as const, 'tls' as const, 'http' as const),
    ),
    inspectTimeoutMs: durationMs,
    filterChains: fc.array(filterChain, { maxLength: 2 }),
    defaultFilterChain: fc.option(filterChain, { nil: undefined }),
  })
  .map((value) => present<Listener>(value));

export const cluster: fc.Arbitrary<Cluster> = fc
  .record({
    name: word,
    discovery: fc.oneof(
      word.map((serviceName) => ({ kind: 'eds' as const, serviceName })),
      fc
        .array(socketAddress, { maxLength: 3 })
        .map((endpoints) => ({ kind: 'static' as const, endpoints })),
      fc.constant({ kind: 'originalDst' as const }),
    ),
    connectTimeoutMs: durationMs,
    balancing: fc.constantFrom('leastRequest' as const, 'roundRobin' as const),
    protocol: fc.constantFrom('http1' as const, 'http2' as const, 'useDownstream' as const),
    outlierDetection: fc.option(
      record({
        consecutiveFailures: fc.integer({ min: 0, max: 1000 }),
        intervalMs: durationMs,
        baseEjectionMs: durationMs,
        maxEjectionPercent: fc.integer({ min: 0, max: 100 }),
      }),
      { nil: undefined },
    ),
    meshTls: fc.option(upstreamTls, { nil: undefined }),
    destination: fc.option(record({ service: anyText, namespace: word, name: word }), {
      nil: undefined,
    }),
  })
  .map((value) =>
    value.discovery.kind === 'originalDst' ? { ...value, balancing: 'roundRobin' as const } : value,
  )
  .map((value) => present<Cluster>(value));

const endpoint: fc.Arbitrary<Endpoint> = fc
  .record({
    address,
    port,
    health: fc.constantFrom('healthy' as const, 'draining' as const, 'unhealthy' as const),
    weight: fc.integer({ min: 1, max: 0xffff_ffff }),
    tlsMode: fc.constantFrom('mesh' as const, 'disabled' as const),
    identity: fc.option(someText, { nil: undefined }),
    workload: fc.option(word, { nil: undefined }),
    namespace: fc.option(word, { nil: undefined }),
  })
  .map((value) => present<Endpoint>(value));

export const endpoints: fc.Arbitrary<ClusterLoadAssignment> = record({
  clusterName: word,
  endpoints: fc
    .uniqueArray(endpoint, { maxLength: 5, selector: (value) => `${value.address} ${value.port}` })
    .map((list) =>
      list.sort((a, b) =>
        a.address === b.address ? a.port - b.port : a.address < b.address ? -1 : 1,
      ),
    ),
});

export const secret: fc.Arbitrary<Secret> = record({
  name: word,
  trustedCaPem: fc
    .base64String()
    .map((body) => `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`),
});

export const RESOURCES: { readonly [K in ResourceKind]: fc.Arbitrary<ResourceByKind[K]> } = {
  cluster,
  endpoints,
  listener,
  route: routeConfiguration(word),
  secret,
};
