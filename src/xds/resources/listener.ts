// What a proxy does with a connection: listeners, their filter chains and the filters in them, as Weft emits and reads them.
import type { AmbiguousPath } from '@weft/model/policy/ambiguous-path';
import type { DenialReply } from '@weft/model/policy/denials';
import type { CidrRange, RbacRules, StringMatcher } from '@weft/model/policy/rbac';
import type { BasicAuth } from './basic-auth.ts';
import type { JwtAuthentication } from './jwt-authn.ts';
import type { ExtAuthz } from './ext-authz.ts';
import type { RouteConfiguration } from './route.ts';
import type { ShadowRules } from './shadow-rules.ts';
import type { TerminationTls } from './termination.ts';
import type { FloodsConfig, LimitsConfig, TrafficControl } from './traffic.ts';

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/**
 * `envoy.config.listener.v3.Listener`. Names:
 * `inbound` is the asking proxy's own workload; `VIP_PORT` and `PODIP_PORT` (`10.0.0.7_80`, `fd00::7_80`) are
 * destinations by address; `outbound|PORT||HOST` is the same destination by name.
 */
export interface Listener {
  readonly name: string;
  readonly address: SocketAddress;
  readonly direction: 'inbound' | 'outbound';
  /** False for destinations that are only reached through the sidecar's one outbound port. */
  readonly bindToPort: boolean;
  /** Listener filters, each by its upstream name; `originalDst` reads where a redirected connection was going. */
  readonly inspectors: readonly ('originalDst' | 'tls' | 'http')[];
  /** How long inspectors may wait for the client's first bytes; then the connection is what its chain says without them. */
  readonly inspectTimeoutMs: number;
  /** Clients that do too much are noticed; for this sidecar alone, an Envoy passes over it. Absent: nobody is. */
  readonly floods?: FloodsConfig;
  readonly filterChains: readonly FilterChain[];
  /** Taken when no chain matches; absent means that the connection is closed. */
  readonly defaultFilterChain?: FilterChain;
}

/** All set fields must match. Empty lists match everything. */
export interface FilterChainMatch {
  readonly destinationPort?: number;
  readonly destinationRanges: readonly CidrRange[];
  /** `tls` when the first bytes are a TLS ClientHello, else `raw_buffer`. */
  readonly transportProtocol?: 'tls' | 'raw_buffer';
  /** ALPN values offered in the ClientHello, or `http/1.1`, `h2c` as the HTTP inspector found them. */
  readonly applicationProtocols: readonly string[];
  readonly serverNames: readonly string[];
}

export interface FilterChain {
  readonly name: string;
  readonly match: FilterChainMatch;
  /** Absent: the bytes are passed to the filters as they are. */
  readonly tls?: DownstreamTls;
  /** TLS of clients outside the mesh; never beside `tls`. */
  readonly termination?: TerminationTls;
  /** In order; the last one is terminal (`http` or `tcpProxy`). */
  readonly filters: readonly NetworkFilter[];
}

/** `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`; always requires a client certificate, TLS 1.3. */
export interface DownstreamTls {
  readonly alpn: readonly string[];
  /** SDS names, by default `default` and `ROOTCA`. */
  readonly certificateSecret: string;
  /** `agent`: the agent beside the proxy serves it; absent: the proxy has it. */
  readonly certificateFrom?: 'agent';
  readonly validationSecret: string;
  /** A peer's URI SAN must match one of these; never empty. */
  readonly peerUris: readonly StringMatcher[];
}

export type NetworkFilter =
  | { readonly kind: 'rbac'; readonly statPrefix: string; readonly rules: RbacRules }
  | { readonly kind: 'shadowRbac'; readonly statPrefix: string; readonly shadow: ShadowRules }
  | { readonly kind: 'http'; readonly http: HttpConnectionManager }
  | {
      readonly kind: 'tcpProxy';
      readonly statPrefix: string;
      readonly cluster: string;
      readonly accessLog?: EnvoyAccessLog;
    };

/** What an Envoy with an agent logs for it; absent: nothing. Weft's sidecar is told so by its options. */
export interface EnvoyAccessLog {
  readonly what: 'errors' | 'all';
  readonly direction: Listener['direction'];
}

export type HttpFilter =
  | { readonly kind: 'rbac'; readonly rules: RbacRules }
  | { readonly kind: 'shadowRbac'; readonly shadow: ShadowRules }
  /** Verifies tokens; before the rules that read their claims. */
  | { readonly kind: 'jwt'; readonly jwt: JwtAuthentication }
  /** Behind shadow rules of its provider. */
  | { readonly kind: 'extAuthz'; readonly authz: ExtAuthz }
  /** Refuses paths that can be read in several ways, with 400: before everything else, by the path as it came. */
  | { readonly kind: 'refusePaths'; readonly refused: readonly AmbiguousPath[] }
  /** Asks for user and password: before authorizers, tokens and rules. */
  | { readonly kind: 'basicAuth'; readonly login: BasicAuth }
  /** Before all others that look at requests. */
  | { readonly kind: 'requestLimits'; readonly limits: LimitsConfig }
  /** Behind the rules. */
  | { readonly kind: 'traffic'; readonly traffic: TrafficControl }
  | { readonly kind: 'router' };

export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';

/** `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`. */
export interface HttpConnectionManager {
  readonly statPrefix: string;
  readonly routes:
    | { readonly kind: 'rds'; readonly name: string }
    | { readonly kind: 'inline'; readonly config: RouteConfiguration };
  /** In order; `router` last. */
  readonly filters: readonly HttpFilter[];
  /**
   * X-Forwarded-Client-Cert: `sanitizeSet` strips what came and sets the verified peer's URI (mTLS chains),
   * `sanitize` strips only (plaintext and outbound), `sanitizeSetClient` sets subject and names of a verified client
   * outside the mesh.
   */
  readonly forwardClientCert: 'sanitize' | 'sanitizeSet' | 'sanitizeSetClient';
  /** Trusted hops in X-Forwarded-For; 0: the peer's address is the client's. */
  readonly trustedHops: number;
  /** Envoy's normalize_path, merge_slashes and path_with_escaped_slashes_action together. */
  readonly pathNormalization: PathNormalization;
  /** Upgrades that are passed on, lower case; others are answered as plain requests without the upgrade. */
  readonly upgrades: readonly string[];
  readonly requestHeadersTimeoutMs: number;
  readonly streamIdleTimeoutMs: number;
  /** How requests that rules refuse are answered; absent: all alike. */
  readonly denials?: readonly DenialReply[];
  readonly accessLog?: EnvoyAccessLog;
}

/** ALPN of the mesh alone: which protocol runs inside its mutual TLS. */
export const MESH_ALPN = { http1: 'weft-http/1.1', http2: 'weft-h2', tcp: 'weft' } as const;

/**
 * What a client of the mesh offers: the mesh's own name, by which a listener tells its TLS from an application's, and
 * the registered one, which is agreed on: Envoy and gRPC know HTTP/2 behind TLS by `h2` alone.
 */
export const MESH_OFFERS = {
  http1: [MESH_ALPN.http1, 'http/1.1'],
  http2: [MESH_ALPN.http2, 'h2'],
  tcp: [MESH_ALPN.tcp],
} as const satisfies { readonly [K in keyof typeof MESH_ALPN]: readonly string[] };

/** What a listener of the mesh takes, best first. */
export const MESH_ACCEPTS: readonly string[] = [
  'h2',
  'http/1.1',
  MESH_ALPN.http2,
  MESH_ALPN.http1,
  MESH_ALPN.tcp,
];

/**
 * Ends the server name of calls by who cannot offer the mesh's ALPN, so that this name is what tells the mesh's TLS from
 * an application's: Envoy at ports of undeclared protocol, where it offers what it carries by its registered name or
 * nothing, and gRPC without a proxy.
 */
export const MESH_SERVER_NAMES = '.mesh.weft.dev';
