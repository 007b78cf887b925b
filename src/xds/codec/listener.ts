// Listeners on the wire: filter chains, what they match, and the network filters in them.
import type { PlainMessage } from '../registry.ts';
import type {
  FilterChain,
  FilterChainMatch,
  HttpConnectionManager,
  Listener,
  NetworkFilter,
} from '../resources/listener.ts';
import { encodeAccessLog, readAccessLog } from './access-log.ts';
import { encodeAddress, readAddress } from './address.ts';
import {
  choose,
  type Fields,
  flag,
  message,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
  texts,
} from './fields.ts';
import { encodeHttpConnectionManager, readHttpConnectionManager } from './http.ts';
import { encodeRbac, readRbac } from './rbac.ts';
import { encodeShadowRules, hasShadowRules, readShadowRules } from './shadow-rules.ts';
import { encodeCidr, MAX_PORT, readCidr } from './request-match.ts';
import { encodeFloodsMetadata, readFloodsMetadata } from './traffic.ts';
import { encodeDownstreamTls, encodeTerminationTls, readDownstreamTls } from './tls.ts';
import {
  boolValue,
  encodeBool,
  encodeDuration,
  encodeExtension,
  encodeUint,
  type Extension,
  nonEmpty,
  readExtension,
  requiredDurationMs,
  uintValue,
} from './well-known.ts';

type Inspector = Listener['inspectors'][number];

const INSPECTORS: { readonly [K in Inspector]: Extension<Inspector> } = {
  originalDst: {
    name: 'envoy.filters.listener.original_dst',
    typeName: 'envoy.extensions.filters.listener.original_dst.v3.OriginalDst',
    read: () => 'originalDst',
  },
  tls: {
    name: 'envoy.filters.listener.tls_inspector',
    typeName: 'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector',
    read: () => 'tls',
  },
  http: {
    name: 'envoy.filters.listener.http_inspector',
    typeName: 'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector',
    read: () => 'http',
  },
};

const HTTP: Extension<NetworkFilter> = {
  name: 'envoy.filters.network.http_connection_manager',
  typeName: 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  read: (fields) => {
    const http: HttpConnectionManager | undefined = readHttpConnectionManager(fields);
    return http && { kind: 'http', http };
  },
};

const NETWORK_RBAC: Extension<NetworkFilter> = {
  name: 'envoy.filters.network.rbac',
  typeName: 'envoy.extensions.filters.network.rbac.v3.RBAC',
  read: (fields) => {
    const statPrefix = requiredText(fields, 'stat_prefix');
    if (hasShadowRules(fields)) {
      const shadow = readShadowRules(fields, 'tcp');
      return shadow && { kind: 'shadowRbac', statPrefix, shadow };
    }
    // Absent rules would enforce nothing, which nobody sends this filter for.
    const rules = requiredMessage(fields, 'rules', (rbac) => readRbac(rbac, 'tcp'));
    return rules && { kind: 'rbac', statPrefix, rules };
  },
};

const TCP_PROXY: Extension<NetworkFilter> = {
  name: 'envoy.filters.network.tcp_proxy',
  typeName: 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
  read: (fields) => {
    const statPrefix = requiredText(fields, 'stat_prefix');
    if (oneOf(fields, 'cluster_specifier') !== 'cluster') return undefined;
    const cluster = requiredText(fields, 'cluster');
    return { kind: 'tcpProxy', statPrefix, cluster, ...readAccessLog(fields, 'tcp') };
  },
};

/** The one port that takes redirected connections hands each to the listener of the address it was going to. */
const handsOff = ({ direction, bindToPort, inspectors }: Listener): boolean =>
  direction === 'outbound' && bindToPort && inspectors.includes('originalDst');

export function encodeListener(listener: Listener): PlainMessage {
  const { defaultFilterChain } = listener;
  return {
    name: listener.name,
    address: encodeAddress(listener.address),
    filter_chains: listener.filterChains.map(encodeFilterChain),
    use_original_dst: handsOff(listener) ? encodeBool(true) : undefined,
    default_filter_chain: defaultFilterChain && encodeFilterChain(defaultFilterChain),
    listener_filters: listener.inspectors.map((kind) => encodeExtension(INSPECTORS[kind])),
    listener_filters_timeout: encodeDuration(listener.inspectTimeoutMs),
    // A client that waits for the server to speak first is served, by a chain that needs no inspection.
    continue_on_listener_filters_timeout: true,
    metadata: listener.floods && encodeFloodsMetadata(listener.floods),
    traffic_direction: listener.direction === 'inbound' ? 'INBOUND' : 'OUTBOUND',
    bind_to_port: encodeBool(listener.bindToPort),
  };
}

function encodeFilterChain(chain: FilterChain): PlainMessage {
  return {
    filter_chain_match: encodeMatch(chain.match),
    filters: chain.filters.map(encodeNetworkFilter),
    transport_socket: encodeTls(chain),
    name: nonEmpty(chain.name),
  };
}

/** @throws {TypeError} for a chain that would take TLS in two ways. */
function encodeTls({ name, tls, termination }: FilterChain): PlainMessage | undefined {
  if (termination === undefined) return tls && encodeDownstreamTls(tls);
  if (tls !== undefined)
    throw new TypeError(`Cannot encode filter chain ${name}: it takes TLS in two ways`);
  return encodeTerminationTls(termination);
}

function encodeMatch(match: FilterChainMatch): PlainMessage {
  return {
    destination_port:
      match.destinationPort === undefined ? undefined : encodeUint(match.destinationPort),
    prefix_ranges: match.destinationRanges.map(encodeCidr),
    transport_protocol: match.transportProtocol,
    application_protocols: match.applicationProtocols,
    server_names: match.serverNames,
  };
}

function encodeNetworkFilter(filter: NetworkFilter): PlainMessage {
  switch (filter.kind) {
    case 'rbac': {
      const { statPrefix, rules } = filter;
      return encodeExtension(NETWORK_RBAC, { rules: encodeRbac(rules), stat_prefix: statPrefix });
    }
    case 'shadowRbac': {
      const { statPrefix, shadow } = filter;
      return encodeExtension(NETWORK_RBAC, {
        ...encodeShadowRules(shadow),
        stat_prefix: statPrefix,
      });
    }
    case 'http':
      return encodeExtension(HTTP, encodeHttpConnectionManager(filter.http));
    case 'tcpProxy':
      return encodeExtension(TCP_PROXY, {
        stat_prefix: filter.statPrefix,
        cluster: filter.cluster,
        access_log: encodeAccessLog('tcp', filter.accessLog),
      });
    default:
      return filter satisfies never;
  }
}

export const readListener: Read<Listener> = (fields) => {
  const name = requiredText(fields, 'name');
  const address = requiredMessage(fields, 'address', readAddress);
  const direction = choose(fields, 'traffic_direction', {
    INBOUND: 'inbound',
    OUTBOUND: 'outbound',
  } as const);
  const bindToPort = boolValue(fields, 'bind_to_port') ?? true;
  const inspectors = messages(fields, 'listener_filters', (filter) =>
    readExtension(filter, Object.values(INSPECTORS)),
  );
  const inspectTimeoutMs = requiredDurationMs(fields, 'listener_filters_timeout');
  if (!flag(fields, 'continue_on_listener_filters_timeout'))
    report(fields, 'continue_on_listener_filters_timeout', 'not-supported', 'must be true');
  const isHandingOff = boolValue(fields, 'use_original_dst') ?? false;
  const filterChains = messages(fields, 'filter_chains', readFilterChain);
  const defaultFilterChain = message(fields, 'default_filter_chain', readFilterChain);
  const floods = message(fields, 'metadata', readFloodsMetadata);
  if (address === undefined || direction === undefined) return undefined;
  const listener: Listener = {
    name,
    address,
    direction,
    bindToPort,
    inspectors,
    inspectTimeoutMs,
    ...(floods && { floods }),
    filterChains,
    ...(defaultFilterChain && { defaultFilterChain }),
  };
  if (isHandingOff !== handsOff(listener))
    report(fields, 'use_original_dst', 'not-supported', `is ${isHandingOff} for this listener`);
  return listener;
};

const readFilterChain: Read<FilterChain> = (fields) => {
  const name = text(fields, 'name');
  const match = message(fields, 'filter_chain_match', readMatch) ?? EMPTY_MATCH;
  const hasTls = fields.byName.has('transport_socket');
  const tls = message(fields, 'transport_socket', readDownstreamTls);
  const filters = readNetworkFilters(fields);
  // A chain whose TLS could not be read must never be taken for one without.
  if (hasTls && tls === undefined) return undefined;
  return { name, match, ...tls, filters };
};

const EMPTY_MATCH: FilterChainMatch = {
  destinationRanges: [],
  applicationProtocols: [],
  serverNames: [],
};

const readMatch: Read<FilterChainMatch> = (fields) => {
  const destinationPort = uintValue(fields, 'destination_port', MAX_PORT);
  if (destinationPort === 0) report(fields, 'destination_port', 'out-of-range', 'is 0');
  const protocol = text(fields, 'transport_protocol');
  if (protocol !== '' && protocol !== 'tls' && protocol !== 'raw_buffer')
    return report(fields, 'transport_protocol', 'unknown-value', `is ${shown(protocol)}`);
  return {
    ...(destinationPort !== undefined && { destinationPort }),
    destinationRanges: messages(fields, 'prefix_ranges', readCidr),
    ...(protocol !== '' && { transportProtocol: protocol }),
    applicationProtocols: texts(fields, 'application_protocols'),
    serverNames: texts(fields, 'server_names'),
  };
};

/** The last filter ends the connection, and no other does: a filter behind it would never run. */
function readNetworkFilters(fields: Fields): readonly NetworkFilter[] {
  const before = fields.reading.problems.length;
  const filters = messages(fields, 'filters', (filter) =>
    readExtension(filter, [NETWORK_RBAC, HTTP, TCP_PROXY]),
  );
  if (fields.reading.problems.length > before) return filters;
  const end = filters.findIndex(({ kind }) => kind === 'http' || kind === 'tcpProxy');
  if (end === -1 || end !== filters.length - 1)
    report(
      fields,
      'filters',
      'missing',
      'must end in the one http_connection_manager or tcp_proxy',
    );
  return filters;
}
