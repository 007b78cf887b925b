// What a destination is made of: clusters and how connections to it are secured, as Weft emits and reads them.

/** `envoy.config.cluster.v3.Cluster`. Names: `outbound|PORT||HOST`, `endpoint|PORT||IP`, `inbound|PORT||`, `passthrough`, `blackhole`. */
export interface Cluster {
  readonly name: string;
  readonly discovery: /** Endpoints come by EDS under `serviceName`. */
    | { readonly kind: 'eds'; readonly serviceName: string }
    | {
        readonly kind: 'static';
        readonly endpoints: readonly { readonly address: string; readonly port: number }[];
      }
    /** Where the client was going in the first place. */
    | { readonly kind: 'originalDst' };
  readonly connectTimeoutMs: number;
  /** Of no meaning where the client has chosen the endpoint (`originalDst`); read as `roundRobin` there. */
  readonly balancing: 'leastRequest' | 'roundRobin';
  /** `useDownstream`: as the client spoke; fixed where the port's protocol is declared. */
  readonly protocol: 'http1' | 'http2' | 'useDownstream';
  /** Absent: endpoints that fail are not ejected. */
  readonly outlierDetection?: OutlierDetection;
  /**
   * Mutual TLS towards endpoints that are in the mesh (`Endpoint.tlsMode` is `mesh`); plaintext towards the others.
   * On the wire: transport_socket_matches on endpoint metadata, with a raw_buffer default. Absent: plaintext to all.
   * Endpoints written into a `static` cluster are all in the mesh when this is set.
   */
  readonly meshTls?: UpstreamTls;
  /** Labels for telemetry. */
  readonly destination?: {
    readonly service: string;
    readonly namespace: string;
    readonly name: string;
  };
}

export interface OutlierDetection {
  readonly consecutiveFailures: number;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionPercent: number;
}

/** `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`, TLS 1.3. */
export interface UpstreamTls {
  readonly sni: string;
  readonly alpn: readonly string[];
  readonly certificateSecret: string;
  readonly validationSecret: string;
  /** Exact SPIFFE ids, of which the server's must be one; never empty. An endpoint's own `identity` narrows it to one. */
  readonly peerUris: readonly string[];
}
