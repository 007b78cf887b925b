// When a request is sent again: retry policies of routes, as Weft emits and reads them.

/** Envoy's words for what may be tried again; those from `cancelled` on are statuses of gRPC. */
export const RETRY_CONDITIONS = [
  'connect-failure',
  'refused-stream',
  'reset',
  'gateway-error',
  '5xx',
  'retriable-4xx',
  'retriable-status-codes',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;

export type RetryCondition = (typeof RETRY_CONDITIONS)[number];

/** `envoy.config.route.v3.RetryPolicy`. */
export interface RetryPolicy {
  /** In the order of `RETRY_CONDITIONS`, each once; never empty. */
  readonly on: readonly RetryCondition[];
  /** For `retriable-status-codes`; by number. */
  readonly statusCodes: readonly number[];
  /** Besides the first attempt; 1 to 100. */
  readonly retries: number;
  /** Of one attempt, from its request's last byte to its answer's head; 0: none. Whole milliseconds. */
  readonly perTryTimeoutMs: number;
  /** Before the n-th retry waits anything from nothing to `baseMs` × (2^n − 1), at most `maxMs`. 1 or more. */
  readonly backOff: { readonly baseMs: number; readonly maxMs: number };
  /**
   * Requests of other methods are not sent again once they may have reached an application. On the wire:
   * `retriable_request_headers` on `:method`, by which Envoy sends others again in no case at all. Sorted; empty: any.
   */
  readonly methods: readonly string[];
}
