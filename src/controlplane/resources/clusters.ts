// Builds clusters: where connections go, and how those into the mesh are secured.
import type { DestinationUpstream, InboundPort, Workload } from '@weft/model/mesh/mesh';
import { meshIdentityAt } from '@weft/model/mesh/mesh-identity';
import type { PortProtocol } from '@weft/model/mesh/protocol';
import type { Cluster, UpstreamTls } from '@weft/xds/resources/cluster';
import { MESH_OFFERS, MESH_SERVER_NAMES } from '@weft/xds/resources/listener';
import { BUNDLE_SECRET, OWN_CERTIFICATE_SECRET } from '@weft/xds/resources/secret';
import { clusterRules, CONNECT_TIMEOUT_MS } from './call-rules.ts';
import {
  BLACKHOLE_CLUSTER,
  endpointClusterName,
  FORBIDDEN_CLUSTER,
  inboundClusterName,
  PASSTHROUGH_CLUSTER,
} from './cluster-names.ts';

/** Own application: it listens or it does not. */
const LOCAL_CONNECT_TIMEOUT_MS = 1_000;

export function clusterProtocol(protocol: PortProtocol): Cluster['protocol'] {
  switch (protocol) {
    case 'http1':
      return 'http1';
    case 'http2':
    case 'grpc':
      return 'http2';
    case 'tcp':
    case 'tls':
    case 'auto':
      return 'useDownstream';
    default:
      return protocol satisfies never;
  }
}

/** Of an undeclared protocol nothing is said: each client offers what it carries then. */
function meshAlpn(protocol: PortProtocol): readonly string[] {
  switch (protocol) {
    case 'http1':
      return MESH_OFFERS.http1;
    case 'http2':
    case 'grpc':
      return MESH_OFFERS.http2;
    case 'tcp':
    case 'tls':
      return MESH_OFFERS.tcp;
    case 'auto':
      return [];
    default:
      return protocol satisfies never;
  }
}

function meshTls(
  sni: string,
  protocol: PortProtocol,
  peerUris: readonly string[],
): { readonly meshTls: UpstreamTls } | undefined {
  if (peerUris.length === 0) return undefined;
  return {
    meshTls: {
      sni: protocol === 'auto' ? `${sni}${MESH_SERVER_NAMES}` : sni,
      alpn: meshAlpn(protocol),
      certificateSecret: OWN_CERTIFICATE_SECRET,
      validationSecret: BUNDLE_SECRET,
      peerUris,
    },
  };
}

export function buildOutboundCluster({ target, identities }: DestinationUpstream): Cluster {
  return {
    name: target.name,
    discovery: { kind: 'eds', serviceName: target.name },
    ...clusterRules(target.calls),
    protocol: clusterProtocol(target.protocol),
    ...meshTls(`outbound_.${target.port}_._.${target.host}`, target.protocol, identities),
    destination: { service: target.host, namespace: target.namespace, name: target.service },
  };
}

/** A Pod called by its address, as members of a headless Service are. */
export function buildEndpointCluster(workload: Workload, port: InboundPort, ip: string): Cluster {
  const identity = meshIdentityAt(workload, port.port);
  // A server name is no address: colons are not for names.
  const sni = `endpoint_.${port.port}_._.${ip.replaceAll(':', '-')}`;
  return {
    name: endpointClusterName(port.port, ip),
    discovery: { kind: 'static', endpoints: [{ address: ip, port: port.port }] },
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    balancing: 'roundRobin',
    protocol: clusterProtocol(port.protocol),
    ...meshTls(sni, port.protocol, identity === undefined ? [] : [identity]),
    destination: { service: workload.id, namespace: workload.namespace, name: workload.name },
  };
}

export const buildInboundCluster = ({ port, protocol }: InboundPort): Cluster => ({
  name: inboundClusterName(port),
  discovery: { kind: 'static', endpoints: [{ address: '127.0.0.1', port }] },
  connectTimeoutMs: LOCAL_CONNECT_TIMEOUT_MS,
  balancing: 'roundRobin',
  protocol: clusterProtocol(protocol),
});

export const PASSTHROUGH: Cluster = {
  name: PASSTHROUGH_CLUSTER,
  discovery: { kind: 'originalDst' },
  connectTimeoutMs: CONNECT_TIMEOUT_MS,
  balancing: 'roundRobin',
  protocol: 'useDownstream',
};

export const BLACKHOLE: Cluster = {
  name: BLACKHOLE_CLUSTER,
  discovery: { kind: 'static', endpoints: [] },
  connectTimeoutMs: LOCAL_CONNECT_TIMEOUT_MS,
  balancing: 'roundRobin',
  protocol: 'useDownstream',
};

export const FORBIDDEN: Cluster = { ...BLACKHOLE, name: FORBIDDEN_CLUSTER };
