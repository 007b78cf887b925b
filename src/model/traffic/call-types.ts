// What TrafficPolicies say to those who call a Service: how long they wait, what they send again, how much they ask and of whom.
import type { RetryCondition } from './retry-conditions.ts';

/** The sections of `spec` that callers follow; each is read in its own file. */
export interface CallSections {
  readonly timeouts?: Timeouts;
  readonly retries?: RetryRules;
  readonly circuitBreaking?: CircuitBreaking;
  readonly outlierDetection?: OutlierRules;
  readonly loadBalancing?: LoadBalancing;
}

export const CALL_SECTIONS = [
  'timeouts',
  'retries',
  'circuitBreaking',
  'outlierDetection',
  'loadBalancing',
] as const satisfies readonly (keyof CallSections)[];

export interface Timeouts {
  /** Of a whole request with its retries; 0: none. A route's own holds before it. */
  readonly requestMs?: number;
  /** Until a connection is there, TLS included. */
  readonly connectMs?: number;
}

export interface RetryRules {
  /** Besides the first attempt; 0: none at all. */
  readonly attempts?: number;
  readonly on?: readonly RetryCondition[];
  readonly statusCodes?: readonly number[];
  readonly perTryTimeoutMs?: number;
  readonly backOff?: { readonly baseMs: number; readonly maxMs: number };
  /** Methods that may be sent twice. */
  readonly methods?: readonly string[];
  /** Of all requests of one caller to the Service. */
  readonly budget?: { readonly percent: number; readonly minConcurrency: number };
}

export interface CircuitBreaking {
  readonly maxConnections?: number;
  readonly maxPendingRequests?: number;
  readonly maxRequests?: number;
}

export interface OutlierRules {
  /** In a row: failed connections, resets, 502, 503, 504. */
  readonly consecutiveFailures?: number;
  /** In a row: any 5xx. */
  readonly consecutive5xx?: number;
  readonly intervalMs?: number;
  readonly baseEjectionMs?: number;
  readonly maxEjectionPercent?: number;
}

export type LoadBalancing = {
  /** Endpoints of the caller's zone first, then of its region. */
  readonly prefersLocal?: true;
} & (
  | { readonly policy: 'LEAST_REQUEST' | 'ROUND_ROBIN' | 'RANDOM' }
  | {
      readonly policy: 'RING_HASH';
      readonly hash: readonly HashRule[];
      readonly minimumRingSize: number;
    }
);

export type HashRule =
  /** Its name in lower case. */
  | { readonly kind: 'header'; readonly name: string }
  /** With a life it is set when it is missing; 0: as long as the client's session. */
  | {
      readonly kind: 'cookie';
      readonly name: string;
      readonly path: string;
      readonly ttlMs?: number;
    };
