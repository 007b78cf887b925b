// Builds what a caller sees of hosts outside the mesh: clusters, listeners and routes by name, and what the one outbound port does.
import type { EgressView, ExternalDestination } from '@weft/model/egress/egress';
import type { ExternalTls, PemSource } from '@weft/model/egress/external-service';
import { isWildcard } from '@weft/model/egress/parse-external-service';
import { parseIp } from '@weft/model/ip';
import { isHttp } from '@weft/model/mesh/protocol';
import type { CidrRange } from '@weft/model/policy/rbac';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { OriginatedTls, ServerName } from '@weft/xds/resources/egress';
import type { FilterChain, Listener } from '@weft/xds/resources/listener';
import type { RouteConfiguration, VirtualHost } from '@weft/xds/resources/route';
import { BLACKHOLE_CLUSTER, FORBIDDEN_CLUSTER, PASSTHROUGH_CLUSTER } from './cluster-names.ts';
import { clusterRules } from './call-rules.ts';
import { clusterProtocol } from './clusters.ts';
import {
  ANY,
  buildOutbound,
  buildVirtualOutbound,
  httpManager,
  PLAIN_HTTP,
  routeTo,
  tcpProxy,
} from './outbound.ts';

const ROUTE_PREFIX = 'egress|';
/** Secrets of hosts outside, on the stream. */
const SECRET_PREFIX = 'egress/';

/** Where requests of one port go that come to the one outbound port. */
export const egressRouteName = (port: number): string => `${ROUTE_PREFIX}${port}`;

export function portOfEgressRoute(name: string): number | undefined {
  const port = name.startsWith(ROUTE_PREFIX) ? Number(name.slice(ROUTE_PREFIX.length)) : 0;
  return Number.isInteger(port) && port > 0 ? port : undefined;
}

/** `egress/Secret/shop/pay-client`, `egress/ConfigMap/shop/pay-ca/ca.crt`. */
const caSecretName = (
  namespace: string,
  ca: Extract<PemSource, { readonly name: string }>,
): string =>
  `${SECRET_PREFIX}${ca.kind === 'secret' ? 'Secret' : 'ConfigMap'}/${namespace}/${ca.name}/${ca.key}`;
const clientSecretName = (namespace: string, name: string): string =>
  `${SECRET_PREFIX}Secret/${namespace}/${name}`;

/** Of the roots and certificates that a destination's TLS is made with. */
export function secretNamesOf({ service, port }: ExternalDestination): readonly string[] {
  const { tls, namespace } = service;
  if (tls === undefined || port.protocol === 'tls') return [];
  const { ca, client } = tls;
  return [
    ...(ca === undefined || ca.kind === 'file' ? [] : [caSecretName(namespace, ca)]),
    ...(client?.kind === 'secret' ? [clientSecretName(namespace, client.name)] : []),
  ];
}

/** What a name of a secret stands for; `undefined` when it is none of these. */
export function dataOfSecret(
  name: string,
): { readonly data: string; readonly key: string | undefined } | undefined {
  if (!name.startsWith(SECRET_PREFIX)) return undefined;
  const [of = '', namespace = '', object = '', ...key] = name
    .slice(SECRET_PREFIX.length)
    .split('/');
  return {
    data: `${of}/${namespace}/${object}`,
    key: key.length === 0 ? undefined : key.join('/'),
  };
}

export function buildExternalCluster(destination: ExternalDestination): Cluster {
  const { name, host, port, service } = destination;
  const originatedTls = originationOf(destination);
  return {
    name,
    discovery: discoveryOf(destination),
    ...clusterRules(undefined),
    ...(isWildcard(host) && { balancing: 'roundRobin' as const }),
    protocol: clusterProtocol(port.protocol),
    ...(originatedTls && { originatedTls }),
    destination: { service: host, namespace: service.namespace, name: service.name },
  };
}

function discoveryOf({ host, port, service }: ExternalDestination): Cluster['discovery'] {
  const { resolution, allowedNetworks } = service;
  if (resolution.kind === 'static') {
    const endpoints = resolution.addresses.map((address) => ({ address, port: port.targetPort }));
    return { kind: 'static', endpoints };
  }
  const rules = {
    minTtlMs: resolution.minTtlSeconds * 1_000,
    maxTtlMs: resolution.maxTtlSeconds * 1_000,
    allowedNetworks,
  };
  // Nobody can list what a star stands for: it is the name that each caller asks for.
  return isWildcard(host)
    ? { kind: 'originalDst', byServerName: rules }
    : { kind: 'dns', host, port: port.targetPort, ...rules };
}

function originationOf({ host, port, service }: ExternalDestination): OriginatedTls | undefined {
  const { tls, namespace } = service;
  if (tls === undefined || port.protocol === 'tls') return undefined;
  const { client } = tls;
  const alpn = { http1: ['http/1.1'], http2: ['h2'], grpc: ['h2'], tcp: [] }[port.protocol];
  return {
    sni: tls.sni ?? host,
    alpn,
    minVersion: tls.minVersion,
    names: (tls.subjectAltNames ?? [tls.sni ?? host]).map(serverName),
    trust: trustOf(tls, namespace),
    ...(client !== undefined && {
      certificate:
        client.kind === 'secret'
          ? { kind: 'secret', name: clientSecretName(namespace, client.name) }
          : client,
    }),
  };
}

function trustOf({ ca }: ExternalTls, namespace: string): OriginatedTls['trust'] {
  if (ca === undefined) return { kind: 'system' };
  if (ca.kind === 'file') return ca;
  return { kind: 'secret', name: caSecretName(namespace, ca) };
}

function serverName(value: string): ServerName {
  if (value.startsWith('spiffe://')) return { kind: 'uri', value };
  return { kind: parseIp(value) === undefined ? 'dns' : 'ip', value };
}

/** By name: for callers that say which host they mean. */
export const buildExternalListener = ({ name, port }: ExternalDestination): Listener =>
  buildOutbound({
    name,
    address: { address: '0.0.0.0', port: port.port },
    protocol: port.protocol,
    cluster: name,
    routes: { kind: 'rds', name },
  });

/** For those who may not call it, so that they are told. */
export const buildForbiddenListener = ({ name, port }: ExternalDestination): Listener =>
  buildOutbound({
    name,
    address: { address: '0.0.0.0', port: port.port },
    protocol: port.protocol,
    cluster: FORBIDDEN_CLUSTER,
    routes: {
      kind: 'inline',
      config: {
        name,
        virtualHosts: [{ name, domains: ['*'], routes: [routeTo(FORBIDDEN_CLUSTER)] }],
      },
    },
  });

/** Who calls by name may have called a local port: the host outside is told its own name. */
export const buildExternalRoute = ({
  name,
  host,
  port: { port },
}: ExternalDestination): RouteConfiguration => {
  const authority = WELL_KNOWN_PORTS.has(port) ? host : `${host}:${port}`;
  const routes = [{ ...routeTo(name), rule: { host: authority } }];
  return { name, virtualHosts: [{ name, domains: ['*'], routes }] };
};

/** Clients leave them out. */
const WELL_KNOWN_PORTS: ReadonlySet<number> = new Set([80, 443]);

/** What stands for a host in one view: where it leads, or that it must not be called. */
interface Led {
  readonly destination: ExternalDestination;
  readonly cluster: string;
}

function ledBy({ allowed, refused }: EgressView): readonly Led[] {
  const all = [
    ...[...allowed.values()].map((destination) => ({ destination, cluster: destination.name })),
    ...[...refused.values()].map((destination) => ({ destination, cluster: FORBIDDEN_CLUSTER })),
  ];
  return all.sort((a, b) => (a.destination.name < b.destination.name ? -1 : 1));
}

/** Ports at which requests are told apart by the host that they name. */
export const httpPortsOf = (view: EgressView): readonly number[] => [
  ...new Set(
    ledBy(view)
      .filter(({ destination }) => isHttp(destination.port.protocol))
      .map(({ destination }) => destination.port.port),
  ),
];

const restOf = ({ policy }: EgressView): string =>
  policy === 'ALLOW_ANY' ? PASSTHROUGH_CLUSTER : BLACKHOLE_CLUSTER;

/** A domain that is there twice would make a proxy refuse the whole configuration: the first has it. */
export function buildEgressRoute(view: EgressView, port: number): RouteConfiguration {
  const taken = new Set<string>();
  const hosts = ledBy(view).filter(
    ({ destination: { port: one } }) => one.port === port && isHttp(one.protocol),
  );
  const virtualHosts = hosts.map(({ destination, cluster }): VirtualHost => {
    const { name, host, service } = destination;
    const addresses = service.resolution.kind === 'static' ? service.resolution.addresses : [];
    const names = [host, ...addresses.map((ip) => (ip.includes(':') ? `[${ip}]` : ip))];
    const domains = names
      .flatMap((one) => [one, `${one}:${port}`])
      .filter((domain) => !taken.has(domain));
    for (const domain of domains) taken.add(domain);
    return { name, domains, routes: [routeTo(cluster)] };
  });
  const rest = restOf(view);
  return {
    name: egressRouteName(port),
    virtualHosts: [
      ...virtualHosts.filter(({ domains }) => domains.length > 0),
      { name: rest, domains: ['*'], routes: [routeTo(rest)] },
    ],
  };
}

/** The one port that takes redirected connections: known hosts by name or address, the rest as the policy says. */
export function buildEgressOutbound(view: EgressView): Listener {
  const listener = buildVirtualOutbound({ outboundTrafficPolicy: view.policy });
  const chains = [...httpPortsOf(view).map(httpChain), ...tlsChains(view), ...tcpChains(view)];
  if (chains.length === 0) return listener;
  return { ...listener, inspectors: ['originalDst', 'tls', 'http'], filterChains: chains };
}

const httpChain = (port: number): FilterChain => ({
  name: egressRouteName(port),
  match: { ...PLAIN_HTTP, destinationPort: port },
  filters: [
    {
      kind: 'http',
      http: httpManager(egressRouteName(port), { kind: 'rds', name: egressRouteName(port) }),
    },
  ],
});

/** By the server name that the caller's TLS asks for; it leads to where that name leads, whatever address was dialled. */
const tlsChains = (view: EgressView): readonly FilterChain[] =>
  ledBy(view)
    .filter(({ destination }) => destination.port.protocol === 'tls')
    .map(({ destination: { name, host, port }, cluster }) => ({
      name,
      match: {
        ...ANY,
        destinationPort: port.port,
        transportProtocol: 'tls',
        serverNames: [host],
      },
      filters: [tcpProxy(cluster)],
    }));

/** Bytes say nothing of a host: by addresses that were written down. */
function tcpChains(view: EgressView): readonly FilterChain[] {
  const taken = new Set<string>();
  return ledBy(view).flatMap(({ destination: { name, port, service }, cluster }) => {
    const { resolution } = service;
    if (port.protocol !== 'tcp' || resolution.kind !== 'static') return [];
    const own = resolution.addresses.filter((address) => !taken.has(`${address} ${port.port}`));
    for (const address of own) taken.add(`${address} ${port.port}`);
    if (own.length === 0) return [];
    const match = { ...ANY, destinationPort: port.port, destinationRanges: own.map(rangeOf) };
    return [{ name, match, filters: [tcpProxy(cluster)] }];
  });
}

const rangeOf = (address: string): CidrRange => ({
  address,
  prefixLength: address.includes(':') ? 128 : 32,
});

/** Hosts that are told by name: a star stands for names that nobody can list. */
export const isByName = ({ host }: ExternalDestination): boolean => !isWildcard(host);
