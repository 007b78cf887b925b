// Writes Envoy's static configuration for both halves of the pair: the same certificates, the same policies, the same identity checks as Weft's.
import type { PlainMessage } from '@weft/xds/registry';
import type { Credential } from '../identities.ts';
import type { BenchPolicy } from '../policies.ts';

type Json =
  | string
  | number
  | boolean
  | readonly Json[]
  | { readonly [key: string]: Json | PlainMessage };

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface EnvoyHalf {
  readonly admin: Endpoint;
  readonly listen: Endpoint;
  readonly upstream: Endpoint;
  readonly own: Credential;
  readonly bundlePem: string;
  /** HTTP/2 on every hop; default: HTTP/1.1. */
  readonly isHttp2?: boolean;
}

const typed = (name: string, fields: { readonly [key: string]: Json | PlainMessage }): Json => ({
  '@type': `type.googleapis.com/${name}`,
  ...fields,
});
const address = ({ host, port }: Endpoint): Json => ({
  socket_address: { address: host, port_value: port },
});

/** Between sidecars TLS 1.3 alone, as Weft has it. */
const commonTls = (half: EnvoyHalf, peerId?: string): Json => ({
  tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
  alpn_protocols: [half.isHttp2 === true ? 'h2' : 'http/1.1'],
  tls_certificates: [
    {
      certificate_chain: { inline_string: half.own.chainPem },
      private_key: { inline_string: half.own.keyPem },
    },
  ],
  validation_context: {
    trusted_ca: { inline_string: half.bundlePem },
    ...(peerId !== undefined && {
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peerId } }],
    }),
  },
});

const HTTP2_UPSTREAM: Json = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': typed(
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    { explicit_http_config: { http2_protocol_options: {} } },
  ),
};

const cluster = (name: string, half: EnvoyHalf, transport?: Json): Json => ({
  name,
  type: 'STATIC',
  connect_timeout: '10s',
  lb_policy: 'LEAST_REQUEST',
  ...(transport !== undefined && { transport_socket: transport }),
  ...(half.isHttp2 === true && { typed_extension_protocol_options: HTTP2_UPSTREAM }),
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: address(half.upstream) } }] }],
  },
});

const httpManager = (
  upstream: string,
  filters: readonly Json[],
  more: { readonly [key: string]: Json },
): Json => ({
  name: 'http',
  typed_config: typed(
    'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    {
      stat_prefix: upstream,
      codec_type: 'AUTO',
      normalize_path: true,
      merge_slashes: true,
      route_config: {
        name: upstream,
        virtual_hosts: [
          {
            name: upstream,
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster: upstream, timeout: '0s' } }],
          },
        ],
      },
      http_filters: [
        ...filters,
        {
          name: 'router',
          typed_config: typed('envoy.extensions.filters.http.router.v3.Router', {}),
        },
      ],
      ...more,
    },
  ),
});

const bootstrap = (half: EnvoyHalf, listener: Json, clusters: readonly Json[]): string =>
  JSON.stringify({
    admin: { address: address(half.admin) },
    static_resources: { listeners: [listener], clusters },
  });

/** The caller's side: plain HTTP in, mutual TLS out. */
export function outboundConfig(half: EnvoyHalf, serverId: string): string {
  const transport: Json = {
    name: 'tls',
    typed_config: typed('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
      common_tls_context: commonTls(half, serverId),
    }),
  };
  return bootstrap(
    half,
    {
      name: 'outbound',
      address: address(half.listen),
      filter_chains: [{ filters: [httpManager('prices', [], {})] }],
    },
    [cluster('prices', half, transport)],
  );
}

/** The two policies of `policies.ts`, written by hand. */
export const rulesOf = (policy: BenchPolicy): readonly PlainMessage[] => [
  {
    action: 'DENY',
    policies: {
      bench: {
        permissions: [{ url_path: { path: { exact: policy.deniedPath } } }],
        principals: [{ any: true }],
      },
    },
  },
  {
    action: 'ALLOW',
    policies: {
      bench: {
        permissions: policy.methods.map((method) => ({
          header: { name: ':method', string_match: { exact: method } },
        })),
        principals: [{ authenticated: { principal_name: { exact: policy.callerId } } }],
      },
    },
  },
];

const rbac = (rules: PlainMessage, at: number): Json => ({
  name: `rbac-${at}`,
  typed_config: typed('envoy.extensions.filters.http.rbac.v3.RBAC', { rules }),
});

/**
 * The called side: mutual TLS and rules, then the application.
 * @param rules sets of Envoy's own RBAC message, a filter each, in the order in which they are tried
 */
export function inboundConfig(half: EnvoyHalf, rules: readonly PlainMessage[]): string {
  return bootstrap(
    half,
    {
      name: 'inbound',
      address: address(half.listen),
      filter_chains: [
        {
          transport_socket: {
            name: 'tls',
            typed_config: typed('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
              require_client_certificate: true,
              common_tls_context: commonTls(half),
            }),
          },
          filters: [
            httpManager('app', rules.map(rbac), {
              forward_client_cert_details: 'SANITIZE_SET',
              set_current_client_cert_details: { uri: true },
            }),
          ],
        },
      ],
    },
    [cluster('app', half)],
  );
}
