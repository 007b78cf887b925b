// Clusters on the wire: where endpoints come from, how they are spoken to, and when they are left alone.
import type { PlainMessage } from '../registry.ts';
import type { Cluster, UpstreamTls } from '../resources/cluster.ts';
import { encodeAddress, readAddress } from './address.ts';
import {
  choose,
  type Fields,
  isSet,
  message,
  messageMap,
  messages,
  missing,
  oneOf,
  type Read,
  readAny,
  report,
  requiredMessage,
  requiredText,
  shown,
  encodeAny,
} from './fields.ts';
import { encodeBalancing, readBalancing, readPrefersLocal } from './balancing.ts';
import { encodeCircuitBreakers, readCircuitBreakers } from './circuit-breakers.ts';
import {
  EGRESS_METADATA,
  encodeDns,
  encodeDnsMetadata,
  encodeNameRules,
  readDns,
  readNameRules,
  withDnsMetadata,
} from './dns-discovery.ts';
import { encodeOriginatedTls, optionalOriginatedTls } from './originated-tls.ts';
import { encodeOutlierDetection, readOutlierDetection } from './outlier-detection.ts';
import {
  isMeshMatch,
  MESH_ENDPOINT_METADATA,
  MESH_TLS_MATCH,
  readMetadata,
  SOCKET_MATCH,
  WEFT_METADATA,
} from './endpoint.ts';
import {
  ADS_SOURCE,
  checkAdsSource,
  encodeRawBuffer,
  encodeUpstreamTls,
  readRawBuffer,
  readUpstreamTls,
} from './tls.ts';
import { encodeDuration, encodeTexts, readTexts, requiredDurationMs } from './well-known.ts';

const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const MESH_MATCH = 'mesh';
const PLAINTEXT_MATCH = 'plaintext';

const PROTOCOLS: { readonly [K in Cluster['protocol']]: PlainMessage } = {
  http1: { explicit_http_config: { http_protocol_options: {} } },
  http2: { explicit_http_config: { http2_protocol_options: {} } },
  useDownstream: {
    use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} },
  },
};

export function encodeCluster(cluster: Cluster): PlainMessage {
  const { circuitBreakers, meshTls, originatedTls, outlierDetection } = cluster;
  return {
    name: cluster.name,
    ...encodeDiscovery(cluster),
    connect_timeout: encodeDuration(cluster.connectTimeoutMs),
    ...encodeBalancing(cluster),
    circuit_breakers: circuitBreakers && encodeCircuitBreakers(circuitBreakers),
    outlier_detection: outlierDetection && encodeOutlierDetection(outlierDetection),
    transport_socket_matches: meshTls && encodeSocketMatches(meshTls),
    transport_socket: originatedTls && encodeOriginatedTls(originatedTls),
    typed_extension_protocol_options: {
      [HTTP_OPTIONS]: encodeAny(HTTP_OPTIONS, PROTOCOLS[cluster.protocol]),
    },
    metadata: encodeMetadata(cluster),
  };
}

function rulesOf(discovery: Cluster['discovery']): PlainMessage | undefined {
  if (discovery.kind === 'dns') return encodeDnsMetadata(discovery);
  const byName = discovery.kind === 'originalDst' ? discovery.byServerName : undefined;
  return byName && encodeNameRules(byName);
}

function encodeMetadata({ destination, discovery }: Cluster): PlainMessage | undefined {
  const rules = rulesOf(discovery);
  if (destination === undefined && rules === undefined) return undefined;
  return {
    filter_metadata: {
      ...(destination && {
        [WEFT_METADATA]: encodeTexts({
          service: destination.service,
          namespace: destination.namespace,
          name: destination.name,
        }),
      }),
      ...(rules && { [EGRESS_METADATA]: rules }),
    },
  };
}

function encodeDiscovery({ name, discovery, meshTls }: Cluster): PlainMessage {
  switch (discovery.kind) {
    case 'eds': {
      const { serviceName } = discovery;
      return {
        type: 'EDS',
        eds_cluster_config: { eds_config: ADS_SOURCE, service_name: serviceName },
      };
    }
    case 'static': {
      // Endpoints that are written into a cluster with mutual TLS are meant by it, all of them.
      const metadata = meshTls && MESH_ENDPOINT_METADATA;
      const hosts = discovery.endpoints.map((endpoint) => ({
        endpoint: { address: encodeAddress(endpoint) },
        metadata,
      }));
      const endpoints = hosts.length === 0 ? [] : [{ lb_endpoints: hosts }];
      return { type: 'STATIC', load_assignment: { cluster_name: name, endpoints } };
    }
    case 'originalDst':
      return { type: 'ORIGINAL_DST' };
    case 'dns':
      return encodeDns(name, discovery);
    default:
      return discovery satisfies never;
  }
}

/** The first match wins: mutual TLS where the endpoint says so, plaintext for every other. */
const encodeSocketMatches = (meshTls: UpstreamTls): readonly PlainMessage[] => [
  { name: MESH_MATCH, match: MESH_TLS_MATCH, transport_socket: encodeUpstreamTls(meshTls) },
  { name: PLAINTEXT_MATCH, match: {}, transport_socket: encodeRawBuffer() },
];

export const readCluster: Read<Cluster> = (fields) => {
  const name = requiredText(fields, 'name');
  const hasTls = isSet(fields, 'transport_socket_matches');
  const meshTls = readSocketMatches(fields);
  const hasOriginated = isSet(fields, 'transport_socket');
  const originatedTls = optionalOriginatedTls(fields);
  if (hasTls && hasOriginated)
    report(fields, 'transport_socket', 'not-supported', 'is set beside transport_socket_matches');
  const metadata = message(fields, 'metadata', readMetadata);
  const discovery = readDiscovery(fields, { name, hasTls, metadata });
  const connectTimeoutMs = requiredDurationMs(fields, 'connect_timeout');
  const balancing = readBalancing(fields, discovery?.kind);
  const outlierDetection = message(fields, 'outlier_detection', readOutlierDetection);
  const circuitBreakers = message(fields, 'circuit_breakers', readCircuitBreakers);
  const prefersLocal = message(fields, 'common_lb_config', readPrefersLocal);
  const protocol = readProtocol(fields);
  const destination = metadata && readDestination(fields, metadata);
  const isNamed = discovery?.kind === 'dns' || discovery?.kind === 'originalDst';
  if (metadata?.has(EGRESS_METADATA) === true && discovery !== undefined && !isNamed)
    report(fields, 'metadata', 'not-supported', `${EGRESS_METADATA} is for names alone`);
  // TLS that could not be read must never be taken for none.
  if (hasOriginated && originatedTls === undefined) return undefined;
  if (discovery === undefined || balancing === undefined || protocol === undefined)
    return undefined;
  return {
    name,
    discovery,
    connectTimeoutMs,
    balancing,
    protocol,
    ...(outlierDetection && { outlierDetection }),
    ...(circuitBreakers && { circuitBreakers }),
    ...(prefersLocal && { prefersLocal }),
    ...(meshTls && { meshTls }),
    ...(originatedTls && { originatedTls }),
    ...(destination && { destination }),
  };
};

function readDiscovery(
  fields: Fields,
  cluster: {
    readonly name: string;
    readonly hasTls: boolean;
    readonly metadata: Metadata | undefined;
  },
): Cluster['discovery'] | undefined {
  oneOf(fields, 'cluster_discovery_type');
  const kind = choose(fields, 'type', {
    EDS: 'eds',
    STATIC: 'static',
    ORIGINAL_DST: 'originalDst',
    STRICT_DNS: 'dns',
  } as const);
  switch (kind) {
    case 'eds': {
      const serviceName = requiredMessage(fields, 'eds_cluster_config', (eds) => {
        checkAdsSource(eds, 'eds_config');
        return requiredText(eds, 'service_name');
      });
      return serviceName === undefined ? undefined : { kind, serviceName };
    }
    case 'static': {
      const endpoints = requiredMessage(fields, 'load_assignment', (assignment) =>
        readStaticEndpoints(assignment, cluster),
      );
      return endpoints && { kind, endpoints };
    }
    case 'originalDst': {
      const texts = cluster.metadata?.get(EGRESS_METADATA);
      if (texts === undefined) return { kind };
      const byServerName = readNameRules(fields, texts);
      // Without it connections would go to whatever address the client has dialled.
      return byServerName && { kind, byServerName };
    }
    case 'dns': {
      const dns = readDns(fields, cluster.name);
      return dns && withDnsMetadata(fields, dns, cluster.metadata?.get(EGRESS_METADATA));
    }
    default:
      return undefined;
  }
}

function readStaticEndpoints(
  fields: Fields,
  { name, hasTls }: { readonly name: string; readonly hasTls: boolean },
): readonly { readonly address: string; readonly port: number }[] {
  if (requiredText(fields, 'cluster_name') !== name)
    report(fields, 'cluster_name', 'not-supported', 'is not the name of the cluster');
  return messages(fields, 'endpoints', (locality) =>
    messages(locality, 'lb_endpoints', (endpoint) => {
      const metadata = message(endpoint, 'metadata', readMetadata);
      const fits = metadata?.size === 1 && isMeshMatch(metadata.get(SOCKET_MATCH));
      if (hasTls ? !fits : metadata !== undefined)
        report(endpoint, 'metadata', 'not-supported', 'does not fit the transport sockets');
      oneOf(endpoint, 'host_identifier');
      return requiredMessage(endpoint, 'endpoint', (host) =>
        requiredMessage(host, 'address', readAddress),
      );
    }),
  ).flat();
}

/** `undefined` for no mutual TLS at all, or with a problem. */
function readSocketMatches(fields: Fields): UpstreamTls | undefined {
  const name = 'transport_socket_matches';
  if (!isSet(fields, name)) return undefined;
  const before = fields.reading.problems.length;
  const matches = messages(fields, name, readSocketMatch);
  if (fields.reading.problems.length > before) return undefined;
  const [mesh, plaintext, ...more] = matches;
  if (
    mesh?.tls !== undefined &&
    plaintext !== undefined &&
    plaintext.tls === undefined &&
    more.length === 0
  )
    return mesh.tls;
  return report(fields, name, 'not-supported', `must be ${MESH_MATCH} and ${PLAINTEXT_MATCH}`);
}

const readSocketMatch: Read<{ readonly tls?: UpstreamTls }> = (fields) => {
  const name = requiredText(fields, 'name');
  const match = requiredMessage(fields, 'match', readTexts);
  if (name === MESH_MATCH) {
    const tls = requiredMessage(fields, 'transport_socket', readUpstreamTls);
    if (!isMeshMatch(match)) report(fields, 'match', 'not-supported', 'is not that of the mesh');
    return tls && { tls };
  }
  if (name !== PLAINTEXT_MATCH)
    return report(fields, 'name', 'not-supported', `is ${shown(name)}, which is not known here`);
  if (match === undefined || match.size > 0)
    report(fields, 'match', 'not-supported', 'must be empty');
  requiredMessage(fields, 'transport_socket', readRawBuffer);
  return {};
};

function readProtocol(fields: Fields): Cluster['protocol'] | undefined {
  const name = 'typed_extension_protocol_options';
  const options = messageMap(fields, name, (any) =>
    readAny(any, [{ typeName: HTTP_OPTIONS, read: readHttpOptions }]),
  );
  const protocol = options.get(HTTP_OPTIONS);
  if (protocol !== undefined && options.size === 1) return protocol;
  return missing(fields, `${name}[${shown(HTTP_OPTIONS)}]`);
}

const readHttpOptions: Read<Cluster['protocol']> = (fields) => {
  switch (oneOf(fields, 'upstream_protocol_options')) {
    case 'explicit_http_config':
      return message(fields, 'explicit_http_config', (explicit) => {
        const isHttp2 = oneOf(explicit, 'protocol_config') === 'http2_protocol_options';
        readEmptyOptions(explicit);
        return isHttp2 ? 'http2' : 'http1';
      });
    case 'use_downstream_protocol_config':
      return message(fields, 'use_downstream_protocol_config', (both) => {
        readEmptyOptions(both);
        return 'useDownstream';
      });
    default:
      return undefined;
  }
};

/** Options of either protocol, of which none is known: a set one is reported inside. */
function readEmptyOptions(fields: Fields): void {
  message(fields, 'http_protocol_options', () => true);
  message(fields, 'http2_protocol_options', () => true);
}

type Metadata = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** `undefined` for none, and with a problem. */
function readDestination(fields: Fields, metadata: Metadata): Cluster['destination'] {
  const labels = metadata.get(WEFT_METADATA);
  const others = [...metadata.keys()].filter(
    (key) => key !== WEFT_METADATA && key !== EGRESS_METADATA,
  );
  const service = labels?.get('service');
  const namespace = labels?.get('namespace');
  const name = labels?.get('name');
  const isEgressAlone = labels === undefined && metadata.has(EGRESS_METADATA);
  if (others.length === 0 && isEgressAlone) return undefined;
  const isWhole = others.length === 0 && labels?.size === 3;
  if (isWhole && service !== undefined && namespace !== undefined && name !== undefined)
    return { service, namespace, name };
  return report(
    fields,
    'metadata',
    'not-supported',
    `must be ${WEFT_METADATA} with service, namespace, name`,
  );
}
