// Arbitrary xDS resources in the canonical form that decoding gives back: sorted, addresses canonical, globs merged.
import { AMBIGUOUS_PATHS } from '@weft/model/policy/ambiguous-path';
import type { DenialReply } from '@weft/model/policy/denials';
import type { StringMatcher } from '@weft/model/policy/rbac';
import type { ResourceByKind, ResourceKind } from '@weft/xds/resource';
import type { Cluster, OutlierDetection, UpstreamTls } from '@weft/xds/resources/cluster';
import type { ClusterLoadAssignment, Endpoint } from '@weft/xds/resources/endpoint';
import type {
  DownstreamTls,
  FilterChain,
  HttpConnectionManager,
  HttpFilter,
  Listener,
} from '@weft/xds/resources/listener';
import type { DnsDiscovery, OriginatedTls } from '@weft/xds/resources/egress';
import type { Route, RouteConfiguration } from '@weft/xds/resources/route';
import { type ExtAuthz, extAuthzPrefix, type HttpAuthorizer } from '@weft/xds/resources/ext-authz';
import { DRY_RUN_PREFIXES, type ShadowRules } from '@weft/xds/resources/shadow-rules';
import fc from 'fast-check';
import {
  balancing,
  circuitBreakers,
  hashPolicy,
  locality,
  retryPolicy,
} from './traffic-arbitraries.ts';
import { secret } from './secret-arbitraries.ts';
import { terminationTls } from './termination-arbitraries.ts';
import {
  address,
  anyText,
  cidr,
  durationMs,
  port,
  present,
  rbacRules,
  record,
  socketAddress,
  someText,
  stringMatcher,
  word,
  type Layer,
} from './rbac-arbitraries.ts';

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
            retry: fc.option(retryPolicy, { nil: undefined }),
            hashPolicies: fc.option(fc.array(hashPolicy, { minLength: 1, maxLength: 3 }), {
              nil: undefined,
            }),
          }).map((route) =>
            present<Route>({
              ...route,
              connectRetries: route.retry?.retries ?? route.connectRetries,
            }),
          ),
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

const headerNames = fc.array(
  record<StringMatcher>({
    kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const),
    value: fc.stringMatching(/^[a-z-]{1,9}$/),
    ignoreCase: fc.constant(true),
  }),
  { maxLength: 2 },
);

const extAuthz: fc.Arbitrary<ExtAuthz> = record({
  provider: fc.stringMatching(/^[a-zA-Z0-9._-]{1,9}$/),
  cluster: word,
  host: word,
  timeoutMs: durationMs,
  failOpen: fc.boolean(),
  statusOnError: fc.constantFrom(403, 429, 503),
  service: fc.oneof(
    fc.constant({ kind: 'grpc' as const }),
    record<HttpAuthorizer>({
      kind: fc.constant('http' as const),
      pathPrefix: fc.constantFrom('', '/check'),
      requestHeaders: headerNames,
      additionalHeaders: fc.array(fc.tuple(word, anyText), { maxLength: 2 }),
      toUpstreamOnAllow: headerNames,
      toDownstreamOnDeny: headerNames,
    }),
  ),
});

/** The rules that say about what, then who is asked. */
const asking = fc
  .tuple(extAuthz, rbacRules('http'))
  .map(([authz, { policies }]): readonly HttpFilter[] => [
    {
      kind: 'shadowRbac',
      shadow: {
        statPrefix: extAuthzPrefix(authz.provider),
        rules: { action: 'DENY', policies },
      },
    },
    { kind: 'extAuthz', authz },
  ]);

const denials: fc.Arbitrary<readonly DenialReply[]> = fc.array(
  fc
    .record({
      rules: fc.constantFrom('none', 'ns[a]-', 'ns[a]-policy[b]-', 'weft-ambiguous-path['),
      status: fc.option(fc.integer({ min: 200, max: 599 }), { nil: undefined }),
      body: fc.option(anyText, { nil: undefined }),
      explain: fc.constantFrom(undefined, 'header' as const, 'problem' as const),
    })
    .map((reply) => present<DenialReply>(reply)),
  { minLength: 1, maxLength: 3 },
);

const httpConnectionManager: fc.Arbitrary<HttpConnectionManager> = fc
  .record({
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
        fc.array(asking, { maxLength: 2 }),
        fc.array(fc.oneof(httpRbac, httpShadow), { maxLength: 2 }),
      )
      .map(([refused, asked, all]): readonly HttpFilter[] => [
        ...(refused.length === 1 ? [] : [{ kind: 'refusePaths' as const, refused }]),
        ...asked.flat(),
        ...all,
        { kind: 'router' as const },
      ]),
    forwardClientCert: fc.constantFrom(
      'sanitize' as const,
      'sanitizeSet' as const,
      'sanitizeSetClient' as const,
    ),
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
    denials: fc.option(denials, { nil: undefined }),
  })
  .map((value) => present<HttpConnectionManager>(value));

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
    secured: fc.oneof(
      fc.constant({}),
      downstreamTls.map((tls) => ({ tls })),
      terminationTls.map((termination) => ({ termination })),
    ),
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
  .map(({ secured, ...chain }) => present<FilterChain>({ ...chain, ...secured }));

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

const network = fc
  .tuple(address, fc.integer({ min: 0, max: 32 }))
  .map(([text, bits]) => `${text}/${bits}`);

const dnsDiscovery: fc.Arbitrary<DnsDiscovery> = record({
  kind: fc.constant('dns' as const),
  host: fc.constantFrom('a.example', 'db.b-2.example'),
  port,
  minTtlMs: fc.integer({ min: 1, max: 60_000 }),
  maxTtlMs: fc.integer({ min: 60_000, max: 600_000 }),
  allowedNetworks: fc.array(network, { maxLength: 3 }),
}).filter(({ port: number }) => number > 0);

const originatedTls: fc.Arbitrary<OriginatedTls> = record({
  sni: word,
  alpn: fc.constantFrom([], ['h2'], ['http/1.1']),
  minVersion: fc.constantFrom('TLSv1.2' as const, 'TLSv1.3' as const),
  names: fc.array(
    record({ kind: fc.constantFrom('dns' as const, 'uri' as const, 'ip' as const), value: word }),
    { minLength: 1, maxLength: 3 },
  ),
  trust: fc.oneof(
    fc.constant({ kind: 'system' as const }),
    word.map((name) => ({ kind: 'secret' as const, name })),
    word.map((name) => ({ kind: 'file' as const, path: `/${name}` })),
  ),
  certificate: fc.option(
    fc.oneof(
      word.map((name) => ({ kind: 'secret' as const, name })),
      word.map((name) => ({ kind: 'files' as const, certificate: `/${name}`, key: `/k${name}` })),
    ),
    { nil: undefined },
  ),
}).map((value) => present<OriginatedTls>(value));

export const cluster: fc.Arbitrary<Cluster> = fc
  .record({
    name: word,
    discovery: fc.oneof(
      word.map((serviceName) => ({ kind: 'eds' as const, serviceName })),
      fc
        .array(socketAddress, { maxLength: 3 })
        .map((endpoints) => ({ kind: 'static' as const, endpoints })),
      fc.constant({ kind: 'originalDst' as const }),
      dnsDiscovery.map(({ minTtlMs, maxTtlMs, allowedNetworks }) => ({
        kind: 'originalDst' as const,
        byServerName: { minTtlMs, maxTtlMs, allowedNetworks },
      })),
      dnsDiscovery,
    ),
    connectTimeoutMs: durationMs,
    balancing,
    protocol: fc.constantFrom('http1' as const, 'http2' as const, 'useDownstream' as const),
    outlierDetection: fc.option(
      record({
        consecutiveFailures: fc.integer({ min: 0, max: 1000 }),
        consecutive5xx: fc.option(fc.integer({ min: 1, max: 1000 }), { nil: undefined }),
        intervalMs: durationMs,
        baseEjectionMs: durationMs,
        maxEjectionPercent: fc.integer({ min: 0, max: 100 }),
      }).map((value) => present<OutlierDetection>(value)),
      { nil: undefined },
    ),
    circuitBreakers: fc.option(circuitBreakers, { nil: undefined }),
    prefersLocal: fc.constantFrom(true as const, undefined),
    meshTls: fc.option(upstreamTls, { nil: undefined }),
    originatedTls: fc.option(originatedTls, { nil: undefined }),
    destination: fc.option(record({ service: anyText, namespace: word, name: word }), {
      nil: undefined,
    }),
  })
  .map((value) =>
    value.discovery.kind === 'originalDst'
      ? { ...value, balancing: 'roundRobin' as const, prefersLocal: undefined }
      : value,
  )
  .map((value) => (value.meshTls === undefined ? value : { ...value, originatedTls: undefined }))
  .map((value) => present<Cluster>(value));

const endpoint: fc.Arbitrary<Endpoint> = fc
  .record({
    address,
    port,
    health: fc.constantFrom('healthy' as const, 'draining' as const, 'unhealthy' as const),
    weight: fc.integer({ min: 1, max: 0xffff_ffff }),
    tlsMode: fc.constantFrom('mesh' as const, 'disabled' as const),
    locality: fc.option(locality, { nil: undefined }),
    identity: fc.option(someText, { nil: undefined }),
    workload: fc.option(word, { nil: undefined }),
    namespace: fc.option(word, { nil: undefined }),
  })
  .map((value) => present<Endpoint>(value));

/** Region first; a space sorts before every letter. */
const placeOf = ({ locality: at }: Endpoint): string => `${at?.region ?? ''} ${at?.zone ?? ''}`;

export const endpoints: fc.Arbitrary<ClusterLoadAssignment> = record({
  clusterName: word,
  endpoints: fc
    .uniqueArray(endpoint, { maxLength: 5, selector: (value) => `${value.address} ${value.port}` })
    .map((list) =>
      list.sort((a, b) => {
        const [one, other] = [placeOf(a), placeOf(b)];
        if (one !== other) return one < other ? -1 : 1;
        return a.address === b.address ? a.port - b.port : a.address < b.address ? -1 : 1;
      }),
    ),
});

export const RESOURCES: { readonly [K in ResourceKind]: fc.Arbitrary<ResourceByKind[K]> } = {
  cluster,
  endpoints,
  listener,
  route: routeConfiguration(word),
  secret,
};
