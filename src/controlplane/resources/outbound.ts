// Builds what callers see of a destination: its listeners and routes, by name and by address.
import type { DestinationTarget, InboundPort, MeshSettings } from '@weft/model/mesh/mesh';
import type { CallTraffic } from '@weft/model/traffic/compose-calls';
import { isHttp, type PortProtocol } from '@weft/model/mesh/protocol';
import type {
  FilterChain,
  FilterChainMatch,
  HttpConnectionManager,
  Listener,
  SocketAddress,
} from '@weft/xds/resources/listener';
import type { Route, RouteConfiguration } from '@weft/xds/resources/route';
import { routeRules } from './call-rules.ts';
import { BLACKHOLE_CLUSTER, endpointClusterName, PASSTHROUGH_CLUSTER } from './cluster-names.ts';
import { REQUEST_HEADERS_TIMEOUT_MS, STREAM_IDLE_TIMEOUT_MS, UPGRADES } from './http-limits.ts';

export const VIRTUAL_OUTBOUND = 'virtualOutbound';
/** Istio's number, which people's redirect rules know. */
export const OUTBOUND_PORT = 15_001;
/** 200 ms for the first bytes of a port whose protocol nobody declared: a server that speaks first is delayed by it once. */
export const INSPECT_TIMEOUT_MS = 200;
export const ANY: FilterChainMatch = {
  destinationRanges: [],
  applicationProtocols: [],
  serverNames: [],
};
/** As the HTTP inspector names what it found. */
export const PLAIN_HTTP: FilterChainMatch = {
  ...ANY,
  transportProtocol: 'raw_buffer',
  applicationProtocols: ['http/1.0', 'http/1.1', 'h2c'],
};

interface OutboundSpec {
  readonly name: string;
  readonly address: SocketAddress;
  readonly protocol: PortProtocol;
  readonly cluster: string;
  readonly routes: HttpConnectionManager['routes'];
}

export function buildOutbound({
  name,
  address,
  protocol,
  cluster,
  routes,
}: OutboundSpec): Listener {
  const http: FilterChain = {
    name: 'http',
    match: protocol === 'auto' ? PLAIN_HTTP : ANY,
    filters: [{ kind: 'http', http: httpManager(cluster, routes) }],
  };
  const tcp: FilterChain = { name: 'tcp', match: ANY, filters: [tcpProxy(cluster)] };
  /**
   * One for each transport: Envoy settles on a transport before it looks at application protocols, and plaintext that
   * is no HTTP would find nothing beside the chain that names plaintext.
   */
  const rest = (['raw_buffer', 'tls'] as const).map((transport) => ({
    ...tcp,
    name: `tcp-${transport}`,
    match: { ...ANY, transportProtocol: transport },
  }));
  const detected = protocol === 'auto' ? [http, ...rest] : [tcp];
  return {
    name,
    address,
    direction: 'outbound',
    bindToPort: false,
    inspectors: protocol === 'auto' ? ['tls', 'http'] : [],
    inspectTimeoutMs: INSPECT_TIMEOUT_MS,
    filterChains: isHttp(protocol) ? [http] : detected,
  };
}

const statName = (cluster: string): string => cluster.replaceAll('|', '_');

export const tcpProxy = (cluster: string): FilterChain['filters'][number] => ({
  kind: 'tcpProxy',
  statPrefix: statName(cluster),
  cluster,
});

/** Paths pass as they are: the one called decides by what it understands, and normalises them itself. */
export const httpManager = (
  cluster: string,
  routes: HttpConnectionManager['routes'],
): HttpConnectionManager => ({
  statPrefix: statName(cluster),
  routes,
  filters: [{ kind: 'router' }],
  forwardClientCert: 'sanitize',
  trustedHops: 0,
  pathNormalization: 'NONE',
  upgrades: UPGRADES,
  requestHeadersTimeoutMs: REQUEST_HEADERS_TIMEOUT_MS,
  streamIdleTimeoutMs: STREAM_IDLE_TIMEOUT_MS,
});

/** By name nothing is listened on; the address says which destination is meant where it has one. */
export function buildTargetListener(target: DestinationTarget, vip: string | undefined): Listener {
  return buildOutbound({
    name: vip === undefined ? target.name : `${vip}_${target.port}`,
    address: { address: vip ?? target.vips[0] ?? '0.0.0.0', port: target.port },
    protocol: target.protocol,
    cluster: target.name,
    routes: { kind: 'rds', name: target.name },
  });
}

export function buildEndpointListener({ port, protocol }: InboundPort, ip: string): Listener {
  const cluster = endpointClusterName(port, ip);
  const virtualHost = { name: cluster, domains: ['*'], routes: [routeTo(cluster)] };
  return buildOutbound({
    name: `${ip}_${port}`,
    address: { address: ip, port },
    protocol,
    cluster,
    routes: { kind: 'inline', config: { name: cluster, virtualHosts: [virtualHost] } },
  });
}

export const routeTo = (cluster: string, calls?: CallTraffic): Route => ({
  match: { kind: 'prefix', value: '/' },
  cluster,
  ...routeRules(calls),
});

/** A destination has been chosen before the route is asked: every authority leads there, the known ones by name. */
export const buildRoute = (target: DestinationTarget): RouteConfiguration => ({
  name: target.name,
  virtualHosts: [
    { name: target.name, domains: domainsOf(target), routes: [routeTo(target.name, target.calls)] },
  ],
});

export function domainsOf(target: DestinationTarget): readonly string[] {
  const { service, namespace, host, port } = target;
  const short = [service, `${service}.${namespace}`, `${service}.${namespace}.svc`];
  const addresses = target.vips.map((vip) => (vip.includes(':') ? `[${vip}]` : vip));
  const names = [host, ...short, ...addresses].flatMap((name) => [name, `${name}:${port}`]);
  // A domain that is there twice would make a proxy refuse the whole configuration.
  return [...new Set([...names, '*'])];
}

/** For proxies that take everything: the one port that hands each connection to the listener of its address. */
export function buildVirtualOutbound({
  outboundTrafficPolicy,
}: Pick<MeshSettings, 'outboundTrafficPolicy'>): Listener {
  const isOpen = outboundTrafficPolicy === 'ALLOW_ANY';
  const cluster = isOpen ? PASSTHROUGH_CLUSTER : BLACKHOLE_CLUSTER;
  return {
    name: VIRTUAL_OUTBOUND,
    address: { address: '0.0.0.0', port: OUTBOUND_PORT },
    direction: 'outbound',
    bindToPort: true,
    inspectors: ['originalDst'],
    inspectTimeoutMs: INSPECT_TIMEOUT_MS,
    filterChains: [],
    defaultFilterChain: { name: cluster, match: ANY, filters: [tcpProxy(cluster)] },
  };
}
