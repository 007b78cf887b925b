// What a load driver is asked to do, and what it answers.
import type { LoadSpec } from '../scenario.ts';

export interface LoadJob extends LoadSpec {
  readonly host: string;
  readonly port: number;
  readonly durationMs: number;
  /** Further bound: no more requests than this. */
  readonly maxRequests: number;
  /** Further fields of every request, in lower case: `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
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
  /** Answered: requests, or whatever the scenario's unit is. */
  readonly requests: number;
  /** Connections that broke and answers that were not 200. */
  readonly failures: number;
  readonly firstFailure: string | undefined;
  readonly elapsedMs: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
}
