// What the load generator is asked to do, and what it answers.

export interface LoadJob {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Connections that ask at the same time, each one request after the other. */
  readonly connections: number;
  readonly durationMs: number;
  /** Further bound: no more requests than this. */
  readonly maxRequests: number;
  /** Requests a second over all connections; absent: as many as are answered. */
  readonly rate?: number;
  /** A connection for each request. */
  readonly isConnectionEach?: boolean;
  /** Speaks mutual TLS itself, full handshakes only. */
  readonly tls?: {
    readonly keyPem: string;
    readonly chainPem: string;
    readonly bundlePem: string;
    /** The server's SPIFFE id, nobody else. */
    readonly serverId: string;
  };
}

export interface LoadResult {
  readonly requests: number;
  /** Connections that broke and answers that were not 200. */
  readonly failures: number;
  readonly firstFailure: string | undefined;
  readonly elapsedMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
}
