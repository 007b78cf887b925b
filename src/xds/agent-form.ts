// What listeners and clusters are for an Envoy with an agent beside it, and what they were before: the one place that knows both.
import type { Cluster } from './resources/cluster.ts';
import type {
  DownstreamTls,
  EnvoyAccessLog,
  FilterChain,
  Listener,
  NetworkFilter,
} from './resources/listener.ts';

/** In the metadata of the node of such an Envoy. */
export const AGENT_METADATA = {
  /** `agent`: its own certificate comes from the agent. */
  secrets: 'WEFT_SDS',
  /** `errors` or `all`; anything else: nothing is logged. */
  accessLog: 'WEFT_ACCESS_LOG',
  /** Where the application is dialled: what listens on loopback alone is not shown to the mesh. */
  podIp: 'WEFT_POD_IP',
} as const;

/** The static clusters of an Envoy's bootstrap that lead to the agent. */
export const AGENT_CLUSTERS = {
  /** ADS and SDS. */
  discovery: 'weft-agent',
  /** Answers what shows that the proxy gets the traffic. */
  proofs: 'weft-agent-proofs',
  /** Answers the kubelet's question that came by the redirect. */
  probes: 'weft-agent-probes',
} as const;

/** Ports that nobody listens on: what arrives there has come by the redirect. */
export const PROOF_PORTS = { inbound: 15_998, outbound: 15_999, arrival: 15_022 } as const;

export interface AgentForm {
  readonly accessLog: EnvoyAccessLog['what'] | undefined;
  readonly podIp: string | undefined;
}

const INBOUND = 'inbound';
const OWN_PORTS: readonly (readonly [number, string])[] = [
  [PROOF_PORTS.inbound, AGENT_CLUSTERS.proofs],
  [PROOF_PORTS.arrival, AGENT_CLUSTERS.probes],
];

/** Between a chain's name and the version of the listener that it is part of. */
const AT = '@';

/**
 * Of the workload's own listener; answered to anybody, as a sidecar answers them. Their names say which version of the
 * listener is active: Envoy's own word for it stays the old one where it changes filter chains in place.
 */
const ownChains = (version: string): readonly FilterChain[] =>
  OWN_PORTS.map(([destinationPort, cluster]) => ({
    name: cluster + AT + version,
    match: {
      destinationPort,
      destinationRanges: [],
      applicationProtocols: [],
      serverNames: [],
    },
    filters: [{ kind: 'tcpProxy', statPrefix: cluster, cluster }],
  }));

const isOwn = (name: string): boolean =>
  OWN_PORTS.some(([, cluster]) => name.startsWith(cluster + AT));

/** @returns the version of a listener by the name of one of its filter chains; `undefined` for other chains. */
export const versionOfChain = (name: string): string | undefined =>
  isOwn(name) ? name.slice(name.lastIndexOf(AT) + AT.length) : undefined;

/** @param version of the listener as everybody else is told it. */
export function listenerForAgent(
  listener: Listener,
  version: string,
  { accessLog: what }: AgentForm,
): Listener {
  const accessLog = what && { what, direction: listener.direction };
  const chainOf = (chain: FilterChain): FilterChain => ({
    ...chain,
    ...(chain.tls && { tls: { ...chain.tls, certificateFrom: 'agent' } }),
    filters: chain.filters.map((filter) => logged(filter, accessLog)),
  });
  const { filterChains, defaultFilterChain } = listener;
  const own = listener.name === INBOUND ? ownChains(version) : [];
  return {
    ...listener,
    filterChains: [...own, ...filterChains.map(chainOf)],
    ...(defaultFilterChain && { defaultFilterChain: chainOf(defaultFilterChain) }),
  };
}

/** The listener as everybody else is told it: its digest says which rules it carries. */
export function listenerOfAgent(listener: Listener): Listener {
  const { filterChains, defaultFilterChain } = listener;
  const chains = filterChains.filter(({ name }) => !isOwn(name));
  return {
    ...listener,
    filterChains: chains.map(plainChain),
    ...(defaultFilterChain && { defaultFilterChain: plainChain(defaultFilterChain) }),
  };
}

function plainChain({ tls, filters, ...chain }: FilterChain): FilterChain {
  return {
    ...chain,
    ...(tls && { tls: plainTls(tls) }),
    filters: filters.map((filter) => logged(filter, undefined)),
  };
}

function plainTls(tls: DownstreamTls): DownstreamTls {
  const { certificateFrom: _, ...plain } = tls;
  return plain;
}

function logged(filter: NetworkFilter, accessLog: EnvoyAccessLog | undefined): NetworkFilter {
  if (filter.kind === 'http') {
    const { accessLog: _, ...http } = filter.http;
    return { kind: 'http', http: { ...http, ...(accessLog && { accessLog }) } };
  }
  if (filter.kind !== 'tcpProxy') return filter;
  const { accessLog: _, ...tcp } = filter;
  return { ...tcp, ...(accessLog && { accessLog }) };
}

export function clusterForAgent(cluster: Cluster, { podIp }: AgentForm): Cluster {
  const { meshTls, discovery } = cluster;
  if (meshTls !== undefined)
    return { ...cluster, meshTls: { ...meshTls, certificateFrom: 'agent' } };
  if (!isInbound(cluster.name) || podIp === undefined || discovery.kind !== 'static')
    return cluster;
  const endpoints = discovery.endpoints.map(({ port }) => ({ address: podIp, port }));
  return { ...cluster, discovery: { ...discovery, endpoints } };
}

/** The application's own ports: the one kind of cluster that is not the same for two Pods. */
export const isInbound = (name: string): boolean => name.startsWith('inbound|');
