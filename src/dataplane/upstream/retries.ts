// Decides whether one request is sent again after an attempt that failed, and when.
import type { Clock } from '@weft/model/clock';
import type { RetryCondition } from '@weft/model/traffic/retry-conditions';
import type { RetryPolicy } from '@weft/xds/resources/retry';
import type { RetryAllowance } from './retry-budget.ts';

/** What a route says of retries, and what a destination allows. */
export interface RetryPlan {
  readonly policy: RetryPolicy;
  readonly allowance: RetryAllowance;
  readonly clock: Clock;
  readonly random: () => number;
  /** Told of each retry that begins, and of each that the budget forbids. */
  readonly onRetry: (isAllowed: boolean) => void;
}

/** How an attempt ended. */
export type AttemptEnd =
  | { readonly kind: 'answer'; readonly status: number; readonly grpcStatus: string | undefined }
  /** The connection or the stream broke off before an answer; `reset` may have been processed. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'try-timeout' };

/** What a retry policy may hold of a request's body so that it can be sent again; longer ones are sent once. */
export const MAX_RETRY_BODY_BYTES = 65_536;

const GRPC_CONDITIONS: ReadonlyMap<string, RetryCondition> = new Map([
  ['1', 'cancelled'],
  ['4', 'deadline-exceeded'],
  ['8', 'resource-exhausted'],
  ['13', 'internal'],
  ['14', 'unavailable'],
]);

/** Of one request; each attempt after the first takes one of its retries. */
export class Retries {
  readonly #plan: RetryPlan;
  readonly #isGrpc: boolean;
  readonly #isMethodSafe: boolean;
  #begun = 0;
  #isHolding = false;
  #limit: Disposable | undefined;

  constructor(plan: RetryPlan, method: string, isGrpc: boolean) {
    const { methods } = plan.policy;
    this.#plan = plan;
    this.#isGrpc = isGrpc;
    this.#isMethodSafe = methods.length === 0 || methods.includes(method);
  }

  /**
   * @returns whether there is to be another attempt, which then counts as under way; asked once for each end.
   * A gRPC call is sent again only on statuses by which its server says so itself, whatever its method.
   */
  mayFollow(end: AttemptEnd): boolean {
    const { policy, allowance, onRetry } = this.#plan;
    this.#letGo();
    if (this.#begun >= policy.retries || !this.#isRetriable(end)) return false;
    const isAllowed = allowance.tryBegin();
    onRetry(isAllowed);
    if (!isAllowed) return false;
    this.#isHolding = true;
    this.#begun++;
    return true;
  }

  #isRetriable(end: AttemptEnd): boolean {
    const { on, statusCodes } = this.#plan.policy;
    const has = (condition: RetryCondition): boolean => on.includes(condition);
    if (this.#isGrpc) {
      const said = end.kind === 'answer' ? GRPC_CONDITIONS.get(end.grpcStatus ?? '') : undefined;
      return said !== undefined && has(said);
    }
    if (!this.#isMethodSafe) return false;
    if (end.kind === 'reset') return has('reset') || has('5xx');
    if (end.kind === 'try-timeout') return has('gateway-error') || has('5xx') || has('reset');
    const { status } = end;
    return (
      (has('5xx') && status >= 500) ||
      (has('gateway-error') && isGatewayError(status)) ||
      (has('retriable-4xx') && status === 409) ||
      (has('retriable-status-codes') && statusCodes.includes(status))
    );
  }

  /** Runs the next attempt after a pause that grows, so that those who failed together do not come back together. */
  wait(run: () => void): Disposable {
    const { policy, clock, random } = this.#plan;
    const { baseMs, maxMs } = policy.backOff;
    const widest = Math.min(maxMs, baseMs * (2 ** this.#begun - 1));
    return clock.setTimeout(run, Math.floor(random() * widest));
  }

  /** An attempt is on its way. @param onTimeout once it has taken too long. */
  beginTry(onTimeout: () => void): void {
    const { policy, clock } = this.#plan;
    if (policy.perTryTimeoutMs === 0) return;
    this.#limit?.[Symbol.dispose]();
    this.#limit = clock.setTimeout(onTimeout, policy.perTryTimeoutMs);
  }

  /** It has been answered, or has failed. */
  endTry(): void {
    this.#limit?.[Symbol.dispose]();
    this.#limit = undefined;
  }

  #letGo(): void {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    this.#plan.allowance.end();
  }

  /** The request is over. */
  [Symbol.dispose](): void {
    this.endTry();
    this.#letGo();
  }
}

/** What a server in between says when it does not reach the one behind it. */
export const isGatewayError = (status: number): boolean => status >= 502 && status <= 504;
