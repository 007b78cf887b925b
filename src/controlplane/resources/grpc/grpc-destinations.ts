// Builds what gRPC clients without a proxy see of a destination: its listener, its cluster and its endpoints.
import type {
  DestinationEndpoints,
  DestinationUpstream,
  MeshEndpoint,
} from '@weft/model/mesh/mesh';
import type { Locality } from '@weft/model/mesh/locality';
import { encodeAddress } from '@weft/xds/codec/address';
import { encodeCircuitBreakers } from '@weft/xds/codec/circuit-breakers';
import { encodeAny } from '@weft/xds/codec/fields';
import { ADS_SOURCE } from '@weft/xds/codec/tls';
import { encodeExtension, encodeUint, nonEmpty } from '@weft/xds/codec/well-known';
import type { PlainMessage } from '@weft/xds/registry';
import type { Balancing } from '@weft/xds/resources/cluster';
import { clusterRules } from '../call-rules.ts';
import type { GrpcLibrary } from '../../serve/view-source.ts';
import { encodeGrpcUpstreamTls } from './grpc-tls.ts';

export const HTTP_MANAGER =
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
/** The last of all filters, or gRPC refuses them. */
export const ROUTER: PlainMessage = encodeExtension({
  name: 'envoy.filters.http.router',
  typeName: 'envoy.extensions.filters.http.router.v3.Router',
});

/** What `xds:///NAME` leads to. */
export function buildApiListener(name: string, routeName: string): PlainMessage {
  const manager = {
    rds: { config_source: ADS_SOURCE, route_config_name: routeName },
    http_filters: [ROUTER],
  };
  return { name, api_listener: { api_listener: encodeAny(HTTP_MANAGER, manager) } };
}

/**
 * gRPC knows one way to connect for a whole cluster: mutual TLS where anybody of the mesh serves it, who alone is an
 * endpoint then; plaintext, by the credentials that the application falls back to, where nobody does.
 */
export function buildGrpcCluster(
  { target, identities }: DestinationUpstream,
  library: GrpcLibrary,
): PlainMessage {
  const { balancing, circuitBreakers } = clusterRules(target.calls);
  return {
    name: target.name,
    type: 'EDS',
    eds_cluster_config: { eds_config: ADS_SOURCE, service_name: target.name },
    ...encodeBalancing(balancing, library),
    circuit_breakers: circuitBreakers && encodeCircuitBreakers(circuitBreakers),
    transport_socket:
      identities.length === 0 ? undefined : encodeGrpcUpstreamTls(target.host, identities),
  };
}

function encodeBalancing(balancing: Balancing, library: GrpcLibrary): PlainMessage {
  if (typeof balancing === 'object') {
    return {
      lb_policy: 'RING_HASH',
      ring_hash_lb_config: {
        minimum_ring_size: encodeUint(balancing.minimumRingSize),
        maximum_ring_size: encodeUint(balancing.maximumRingSize),
      },
    };
  }
  const knowsLeast = library === 'go' && balancing === 'leastRequest';
  return { lb_policy: knowsLeast ? 'LEAST_REQUEST' : 'ROUND_ROBIN' };
}

/**
 * A locality without a name has one of no text, and each the weight of its endpoints: gRPC passes over what has none, and
 * refuses an address that is there twice.
 */
export function buildGrpcEndpoints({ clusterName, endpoints }: DestinationEndpoints): PlainMessage {
  const isSecured = endpoints.some(({ tlsMode }) => tlsMode === 'mesh');
  const usable = endpoints.filter(
    ({ health, tlsMode }) => health === 'healthy' && (tlsMode === 'mesh' || !isSecured),
  );
  const byAddress = new Map(usable.map((one) => [`${one.address} ${one.port}`, one]));
  const groups = new Map<string, MeshEndpoint[]>();
  for (const endpoint of byAddress.values()) {
    const key = `${endpoint.locality?.region ?? ''}\0${endpoint.locality?.zone ?? ''}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [endpoint]);
    else group.push(endpoint);
  }
  const sorted = [...groups.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    cluster_name: clusterName,
    endpoints: sorted.map(([, group]) => ({
      locality: localityOf(group[0]?.locality),
      lb_endpoints: group.map((one) => ({
        endpoint: { address: encodeAddress(one) },
        health_status: 'HEALTHY',
        load_balancing_weight: encodeUint(one.weight),
      })),
      load_balancing_weight: encodeUint(group.reduce((sum, { weight }) => sum + weight, 0)),
    })),
  };
}

const localityOf = (locality: Locality | undefined): PlainMessage => ({
  region: nonEmpty(locality?.region ?? ''),
  zone: nonEmpty(locality?.zone ?? ''),
});
