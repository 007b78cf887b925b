// Listeners on the wire: what a proxy must refuse because it would not enforce it, each with the path to the field at fault.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeMessage, type PlainMessage } from '../registry.ts';
import type { HttpConnectionManager, Listener } from '../resources/listener.ts';
import { encodeAny } from './fields.ts';
import { encodeHttpConnectionManager } from './http.ts';
import { encodeListener } from './listener.ts';
import { decodeResource } from './resource-codec.ts';
import { encodeDownstreamTls } from './tls.ts';

const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const TLS = 'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext';

const http: HttpConnectionManager = {
  statPrefix: 'inbound',
  routes: { kind: 'rds', name: 'r' },
  filters: [{ kind: 'rbac', rules: { action: 'ALLOW', policies: [] } }, { kind: 'router' }],
  forwardClientCert: 'sanitizeSet',
  trustedHops: 0,
  pathNormalization: 'BASE',
  upgrades: ['websocket'],
  requestHeadersTimeoutMs: 1500,
  streamIdleTimeoutMs: 0,
};
const tls = {
  alpn: ['weft'],
  certificateSecret: 'default',
  validationSecret: 'ROOTCA',
  peerUris: [{ kind: 'prefix' as const, value: 'spiffe://td/', ignoreCase: false }],
};
const listener: Listener = {
  name: 'inbound',
  address: { address: '127.0.0.1', port: 15_006 },
  direction: 'inbound',
  bindToPort: true,
  inspectors: ['originalDst', 'tls'],
  inspectTimeoutMs: 1000,
  filterChains: [
    {
      name: 'c',
      match: {
        destinationPort: 80,
        destinationRanges: [],
        applicationProtocols: [],
        serverNames: [],
      },
      tls,
      filters: [{ kind: 'http', http }],
    },
  ],
};

function problemsOf(message: PlainMessage): readonly string[] {
  const bytes = encodeMessage('envoy.config.listener.v3.Listener', message);
  return decodeResource('listener', bytes).problems.map(
    ({ field, message }) => `${field}: ${message}`,
  );
}

const good = encodeListener(listener);
const withChain = (change: PlainMessage): PlainMessage => {
  const [chain] = Array.isArray(good['filter_chains']) ? good['filter_chains'] : [];
  return { ...good, filter_chains: [{ ...chain, ...change }] };
};
const filter = (name: string, typeName: string, config: PlainMessage): PlainMessage => ({
  name,
  typed_config: encodeAny(typeName, config),
});
const withHttp = (change: PlainMessage): PlainMessage =>
  withChain({
    filters: [
      filter('envoy.filters.network.http_connection_manager', HCM, {
        ...encodeHttpConnectionManager(http),
        ...change,
      }),
    ],
  });
const router = filter(
  'envoy.filters.http.router',
  'envoy.extensions.filters.http.router.v3.Router',
  {},
);
const tcpProxy = filter(
  'envoy.filters.network.tcp_proxy',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
  {
    stat_prefix: 's',
    cluster: 'c',
  },
);
const socket = { name: 'envoy.transport_sockets.tls' };

test('the listener that the refusals below vary is itself taken', () => {
  assert.deepEqual(problemsOf(good), []);
  assert.deepEqual(problemsOf(withHttp({})), []);
});

const CHAIN = 'filter_chains[0]';
const IN_HTTP = `${CHAIN}.filters[0].typed_config`;
const REFUSED: readonly [string, PlainMessage, string][] = [
  ['without a name', { ...good, name: undefined }, 'name: is missing'],
  ['without an address', { ...good, address: undefined }, 'address: is missing'],
  [
    'with a host name for an address',
    { ...good, address: { socket_address: { address: 'a.b', port_value: 1 } } },
    'address.socket_address.address: is "a.b", not an IP address',
  ],
  [
    'with a port beyond 65535',
    { ...good, address: { socket_address: { address: '::', port_value: 70_000 } } },
    'address.socket_address.port_value: is 70000, not within 0 to 65535',
  ],
  [
    'without a direction',
    { ...good, traffic_direction: undefined },
    'traffic_direction: is missing',
  ],
  [
    'that closes connections when inspection takes long',
    { ...good, continue_on_listener_filters_timeout: undefined },
    'continue_on_listener_filters_timeout: must be true',
  ],
  [
    'that hands off what it must serve itself',
    { ...good, use_original_dst: { value: true } },
    'use_original_dst: is true for this listener',
  ],
  [
    'with an unknown listener filter',
    { ...good, listener_filters: [filter('x', HCM, {})] },
    'listener_filters[0].name: is "x", which is not known here',
  ],
  [
    'with an unknown network filter',
    withChain({ filters: [filter('envoy.filters.network.ext_authz', HCM, {}), tcpProxy] }),
    `${CHAIN}.filters[0].name: is "envoy.filters.network.ext_authz", which is not known here`,
  ],
  [
    'with a network filter of the wrong type',
    withChain({ filters: [filter('envoy.filters.network.rbac', HCM, {}), tcpProxy] }),
    `${CHAIN}.filters[0].typed_config: is of type "type.googleapis.com/${HCM}", which is not known here`,
  ],
  [
    'with a filter that has no configuration',
    withChain({ filters: [{ name: 'envoy.filters.network.rbac' }, tcpProxy] }),
    `${CHAIN}.filters[0].typed_config: is missing`,
  ],
  [
    'with a network RBAC filter without rules',
    withChain({
      filters: [
        filter('envoy.filters.network.rbac', 'envoy.extensions.filters.network.rbac.v3.RBAC', {
          stat_prefix: 's',
        }),
        tcpProxy,
      ],
    }),
    `${CHAIN}.filters[0].typed_config.rules: is missing`,
  ],
  [
    'without filters',
    withChain({ filters: [] }),
    `${CHAIN}.filters: must end in the one http_connection_manager or tcp_proxy`,
  ],
  [
    'with a filter behind the last',
    withChain({ filters: [tcpProxy, tcpProxy] }),
    `${CHAIN}.filters: must end in the one http_connection_manager or tcp_proxy`,
  ],
  [
    'with port 0 to match',
    withChain({ filter_chain_match: { destination_port: { value: 0 } } }),
    `${CHAIN}.filter_chain_match.destination_port: is 0`,
  ],
  [
    'with an unknown transport to match',
    withChain({ filter_chain_match: { transport_protocol: 'quic' } }),
    `${CHAIN}.filter_chain_match.transport_protocol: is "quic"`,
  ],
  [
    'with an HTTP RBAC filter without rules',
    withHttp({
      http_filters: [
        filter('envoy.filters.http.rbac', 'envoy.extensions.filters.http.rbac.v3.RBAC', {}),
        router,
      ],
    }),
    `${IN_HTTP}.http_filters[0].typed_config.rules: is missing`,
  ],
  [
    'with an unknown HTTP filter',
    withHttp({ http_filters: [filter('envoy.filters.http.lua', HCM, {}), router] }),
    `${IN_HTTP}.http_filters[0].name: is "envoy.filters.http.lua", which is not known here`,
  ],
  [
    'without a router',
    withHttp({ http_filters: [] }),
    `${IN_HTTP}.http_filters: must end in the one router`,
  ],
  [
    'with two routers',
    withHttp({ http_filters: [router, router] }),
    `${IN_HTTP}.http_filters: must end in the one router`,
  ],
  [
    'without routes',
    withHttp({ rds: undefined }),
    `${IN_HTTP}: sets none of the known kinds of route_specifier`,
  ],
  [
    'whose routes do not come from the same stream',
    withHttp({ rds: { route_config_name: 'r', config_source: { resource_api_version: 'V3' } } }),
    `${IN_HTTP}.rds.config_source.ads: is missing`,
  ],
  [
    'that forwards the client certificate header',
    withHttp({
      forward_client_cert_details: 'ALWAYS_FORWARD_ONLY',
      set_current_client_cert_details: undefined,
    }),
    `${IN_HTTP}.forward_client_cert_details: is ALWAYS_FORWARD_ONLY, not one of SANITIZE, SANITIZE_SET`,
  ],
  [
    'that sets the header without the URI',
    withHttp({ set_current_client_cert_details: {} }),
    `${IN_HTTP}.set_current_client_cert_details.uri: must be true`,
  ],
  [
    'that takes the client address from the header alone',
    withHttp({ use_remote_address: undefined }),
    `${IN_HTTP}.use_remote_address: must be true`,
  ],
  [
    'that rejects escaped slashes, and not in its rules',
    withHttp({ path_with_escaped_slashes_action: 'REJECT_REQUEST' }),
    `${IN_HTTP}.normalize_path: is no known way to normalise paths, together with merge_slashes and path_with_escaped_slashes_action`,
  ],
  [
    'that merges slashes of paths it does not normalise',
    withHttp({ normalize_path: {}, merge_slashes: true }),
    `${IN_HTTP}.normalize_path: is no known way to normalise paths, together with merge_slashes and path_with_escaped_slashes_action`,
  ],
  [
    'without a timeout for request headers',
    withHttp({ request_headers_timeout: undefined }),
    `${IN_HTTP}.request_headers_timeout: is missing`,
  ],
  [
    'with a negative timeout',
    withHttp({ stream_idle_timeout: { seconds: -1 } }),
    `${IN_HTTP}.stream_idle_timeout: is negative or finer than a millisecond`,
  ],
  [
    'with an unknown transport socket',
    withChain({ transport_socket: filter('envoy.transport_sockets.raw_buffer', TLS, {}) }),
    `${CHAIN}.transport_socket.name: is "envoy.transport_sockets.raw_buffer", which is not known here`,
  ],
  [
    'with TLS of the wrong type',
    withChain({ transport_socket: filter(socket.name, HCM, {}) }),
    `${CHAIN}.transport_socket.typed_config: is of type "type.googleapis.com/${HCM}", which is not known here`,
  ],
];

for (const [what, message, problem] of REFUSED) {
  test(`decodeResource() refuses a listener ${what}`, () => {
    assert.deepEqual(problemsOf(message), [problem]);
  });
}

const IN_TLS = `${CHAIN}.transport_socket.typed_config`;
const sds = (name: string): PlainMessage => ({
  name,
  sds_config: { ads: {}, resource_api_version: 'V3' },
});
const ownCertificate = (path: string): PlainMessage => ({
  name: 'default',
  sds_config: { path_config_source: { path }, resource_api_version: 'V3' },
});
const common: { readonly [field: string]: unknown } = {
  tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
  tls_certificate_sds_secret_configs: [ownCertificate('weft/default.json')],
  combined_validation_context: {
    default_validation_context: {
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'spiffe://td/x' } }],
    },
    validation_context_sds_secret_config: sds('ROOTCA'),
  },
};
const withTls = (change: PlainMessage, context: PlainMessage = {}): PlainMessage =>
  withChain({
    transport_socket: filter(socket.name, TLS, {
      common_tls_context: { ...common, ...change },
      require_client_certificate: { value: true },
      ...context,
    }),
  });
const validation = (context: PlainMessage): PlainMessage => ({
  combined_validation_context: {
    default_validation_context: context,
    validation_context_sds_secret_config: sds('ROOTCA'),
  },
});
const IN_CONTEXT = `${IN_TLS}.common_tls_context.combined_validation_context.default_validation_context`;

const REFUSED_TLS: readonly [string, PlainMessage, string][] = [
  [
    'that lets clients go without a certificate',
    withTls({}, { require_client_certificate: {} }),
    `${IN_TLS}.require_client_certificate: must be true`,
  ],
  [
    'that does not say whether clients need a certificate',
    withTls({}, { require_client_certificate: undefined }),
    `${IN_TLS}.require_client_certificate: must be true`,
  ],
  [
    'that names no peer: no bundle of names is "accept any" (CVE-2020-8664)',
    withTls(validation({})),
    `${IN_CONTEXT}.match_typed_subject_alt_names: is missing`,
  ],
  [
    'that has no validation context',
    withTls({ combined_validation_context: undefined }),
    `${IN_TLS}.common_tls_context.combined_validation_context: is missing`,
  ],
  [
    'that names peers by DNS',
    withTls(
      validation({ match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'a' } }] }),
    ),
    `${IN_CONTEXT}.match_typed_subject_alt_names[0].san_type: is DNS, not one of URI`,
  ],
  [
    'that brings roots of its own',
    withTls(
      validation({
        match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'a' } }],
        trusted_ca: { inline_string: 'x' },
      }),
    ),
    `${IN_CONTEXT}.trusted_ca: is set, and has no meaning here`,
  ],
  [
    'that allows TLS 1.2',
    withTls({
      tls_params: {
        tls_minimum_protocol_version: 'TLSv1_2',
        tls_maximum_protocol_version: 'TLSv1_3',
      },
    }),
    `${IN_TLS}.common_tls_context.tls_params.tls_minimum_protocol_version: is TLSv1_2, not one of TLSv1_3`,
  ],
  [
    'that says nothing of TLS versions',
    withTls({ tls_params: undefined }),
    `${IN_TLS}.common_tls_context.tls_params: is missing`,
  ],
  [
    'without a certificate',
    withTls({ tls_certificate_sds_secret_configs: [] }),
    `${IN_TLS}.common_tls_context.tls_certificate_sds_secret_configs: must name one certificate`,
  ],
  [
    "whose own certificate is a file of the control plane's choice",
    withTls({ tls_certificate_sds_secret_configs: [ownCertificate('/etc/shadow')] }),
    `${IN_TLS}.common_tls_context.tls_certificate_sds_secret_configs[0].sds_config.path_config_source.path: must be weft/default.json`,
  ],
];
for (const [what, message, problem] of REFUSED_TLS) {
  test(`decodeResource() refuses a TLS context ${what}`, () => {
    assert.deepEqual(problemsOf(message), [problem]);
  });
}

test('encodeDownstreamTls() throws for a context that names no peer (CVE-2020-8664)', () => {
  assert.throws(() => encodeDownstreamTls({ ...tls, peerUris: [] }), /names no peer/);
});

test('decodeResource() reports every problem of a listener, up to a bound', () => {
  const { filter_chains: _, ...rest } = good;
  const three = { ...rest, name: undefined, address: undefined, traffic_direction: undefined };
  assert.equal(problemsOf(three).length, 3);
  const many = { ...good, filter_chains: Array.from({ length: 1000 }, () => ({})) };
  assert.equal(problemsOf(many).length, 64);
});

test("decodeResource() cuts a peer's text in its messages", () => {
  const [problem] = problemsOf({ ...good, listener_filters: [filter('n'.repeat(5000), HCM, {})] });
  assert.ok(problem !== undefined && problem.length < 200);
});
