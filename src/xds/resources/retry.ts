// When a request is sent again: retry policies of routes, as Weft emits and reads them.
import type { RetryCondition } from '@weft/model/traffic/retry-conditions';

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
