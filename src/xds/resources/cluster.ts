// What a destination is made of: clusters and how connections to it are secured, as Weft emits and reads them.
import type { DnsDiscovery, NameRules, OriginatedTls } from './egress.ts';

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
    | { readonly kind: 'originalDst'; readonly byServerName?: NameRules }
    | DnsDiscovery;
  readonly connectTimeoutMs: number;
  /** Of no meaning where the client has chosen the endpoint (`originalDst`); read as `roundRobin` there. */
  readonly balancing: Balancing;
  /** Endpoints of the caller's zone first, then those of its region. Absent: wherever they are. */
  readonly prefersLocal?: true;
  /** `useDownstream`: as the client spoke; fixed where the port's protocol is declared. */
  readonly protocol: 'http1' | 'http2' | 'useDownstream';
  /** Absent: endpoints that fail are not ejected. */
  readonly outlierDetection?: OutlierDetection;
  /** Absent: nothing is limited but retries, as `DEFAULT_RETRY_BUDGET` says. */
  readonly circuitBreakers?: CircuitBreakers;
  /**
   * Mutual TLS towards endpoints that are in the mesh (`Endpoint.tlsMode` is `mesh`); plaintext towards the others.
   * On the wire: transport_socket_matches on endpoint metadata, with a raw_buffer default. Absent: plaintext to all.
   * Endpoints written into a `static` cluster are all in the mesh when this is set.
   */
  readonly meshTls?: UpstreamTls;
  /** TLS to a host outside the mesh; never beside `meshTls`. */
  readonly originatedTls?: OriginatedTls;
  /** Labels for telemetry. */
  readonly destination?: {
    readonly service: string;
    readonly namespace: string;
    readonly name: string;
  };
}

/** How an endpoint is chosen. `ringHash`: by what the route hashes of a request, so that equal ones go to one endpoint. */
export type Balancing = 'leastRequest' | 'roundRobin' | 'random' | RingHash;

/** `RingHashLbConfig`; sizes are numbers of points, up to 8,388,608. */
export interface RingHash {
  readonly kind: 'ringHash';
  readonly minimumRingSize: number;
  readonly maximumRingSize: number;
}

/** `CircuitBreakers`, of the default priority. What is absent is not limited. */
export interface CircuitBreakers {
  /** HTTP/1 and TCP connections to all endpoints; with none to the chosen endpoint yet, one may always be made. */
  readonly maxConnections?: number;
  /** Requests that wait for a connection. */
  readonly maxPendingRequests?: number;
  /** Requests under way, those that wait among them. */
  readonly maxRequests?: number;
  /** Absent: `DEFAULT_RETRY_BUDGET`. */
  readonly retryBudget?: RetryBudget;
}

/** Retries under way may be this share of the requests under way, or `minConcurrency` where that is more. */
export interface RetryBudget {
  readonly percent: number;
  readonly minConcurrency: number;
}

/** Envoy's own defaults for a budget. */
export const DEFAULT_RETRY_BUDGET: RetryBudget = { percent: 20, minConcurrency: 3 };

export interface OutlierDetection {
  /** Failed connections, resets, 502, 503 and 504, in a row. */
  readonly consecutiveFailures: number;
  /** Any 5xx in a row. Absent: a 500 is the application's own word, and a caller could provoke it at will. */
  readonly consecutive5xx?: number;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionPercent: number;
}

/** `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`, TLS 1.3. */
export interface UpstreamTls {
  readonly sni: string;
  readonly alpn: readonly string[];
  readonly certificateSecret: string;
  /** `agent`: the agent beside the proxy serves it; absent: the proxy has it. */
  readonly certificateFrom?: 'agent';
  readonly validationSecret: string;
  /** Exact SPIFFE ids, of which the server's must be one; never empty. An endpoint's own `identity` narrows it to one. */
  readonly peerUris: readonly string[];
}
