// What an Envoy is started with: who it is, and that everything else comes from the agent beside it.
import { isIP } from 'node:net';
import type { Locality } from '@weft/model/mesh/locality';
import { AGENT_CLUSTERS, AGENT_METADATA, PROOF_PORTS } from '@weft/xds/agent-form';
import { PROOF_ADDRESS } from '../../listener/capture.ts';
import type { AccessLogMode } from '../../telemetry/access-log.ts';

export interface BootstrapOptions {
  readonly node: { readonly id: string; readonly cluster: string };
  readonly podIp: string;
  readonly locality: Locality | undefined;
  readonly accessLog: AccessLogMode;
  /** Unix sockets: of the agent, that Envoy calls, and of Envoy's own admin endpoints. */
  readonly sockets: {
    readonly discovery: string;
    readonly proofs: string;
    readonly probes: string;
    readonly admin: string;
  };
}

/** Wildcards of policies are regular expressions in Envoy, and its own limit of 100 is for smaller ones. */
const MAX_REGEX_PROGRAM = 32_768;
const ADMIN_MODE = 0o600;

/** In Envoy's JSON. No key and no token is in it. */
export function bootstrapOf(options: BootstrapOptions): object {
  const { node, podIp, locality, accessLog, sockets } = options;
  const ads = { ads: {}, resource_api_version: 'V3' };
  return {
    node: {
      ...node,
      ...(locality && { locality: { region: locality.region, zone: locality.zone } }),
      metadata: {
        [AGENT_METADATA.secrets]: 'agent',
        [AGENT_METADATA.podIp]: podIp,
        [AGENT_METADATA.accessLog]: accessLog,
      },
    },
    admin: { address: { pipe: { path: sockets.admin, mode: ADMIN_MODE } } },
    layered_runtime: {
      layers: [
        {
          name: 'weft',
          static_layer: {
            're2.max_program_size.error_level': MAX_REGEX_PROGRAM,
            /** The contract cuts a fragment off; by itself Envoy answers 400. */
            'envoy.reloadable_features.http_reject_path_with_fragment': false,
          },
        },
      ],
    },
    overload_manager: { resource_monitors: [connectionLimit] },
    dynamic_resources: {
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: AGENT_CLUSTERS.discovery, retry_policy } }],
      },
      lds_config: ads,
      cds_config: ads,
    },
    static_resources: {
      clusters: [
        pipeCluster(AGENT_CLUSTERS.discovery, sockets.discovery, HTTP2),
        pipeCluster(AGENT_CLUSTERS.proofs, sockets.proofs),
        pipeCluster(AGENT_CLUSTERS.probes, sockets.probes),
      ],
      listeners: [proofListener(podIp)],
    },
  };
}

/** As Weft's own sidecar: file descriptors run out about there. By itself Envoy has no limit. */
const MAX_CONNECTIONS = 65_536;
const connectionLimit = {
  name: 'envoy.resource_monitors.global_downstream_max_connections',
  typed_config: {
    '@type':
      'type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
    max_active_downstream_connections: MAX_CONNECTIONS,
  },
};

/** The agent is on this machine, and holds a stream itself while there is no control plane: Envoy's 30 s are not for it. */
const retry_policy = {
  retry_back_off: { base_interval: '0.1s', max_interval: '2s' },
};

const OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const HTTP2 = {
  typed_extension_protocol_options: {
    [OPTIONS]: {
      '@type': `type.googleapis.com/${OPTIONS}`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

const pipeCluster = (name: string, path: string, more: object = {}): object => ({
  name,
  type: 'STATIC',
  connect_timeout: '1s',
  ...more,
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
  },
});

/** Of the call by which the agent sees that outbound connections are redirected: the port of redirected ones hands it here. */
function proofListener(podIp: string): object {
  const address = PROOF_ADDRESS[isIP(podIp) === 6 ? 6 : 4];
  return {
    name: AGENT_CLUSTERS.proofs,
    address: { socket_address: { address, port_value: PROOF_PORTS.outbound } },
    bind_to_port: false,
    traffic_direction: 'OUTBOUND',
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.tcp_proxy',
            typed_config: {
              '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
              stat_prefix: AGENT_CLUSTERS.proofs,
              cluster: AGENT_CLUSTERS.proofs,
            },
          },
        ],
      },
    ],
  };
}
