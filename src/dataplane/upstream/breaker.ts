// How much a destination is asked to do at once: what goes beyond waits, or is refused, so that it is not drowned.
import type { Clock } from '@weft/model/clock';
import type { CircuitBreakers } from '@weft/xds/resources/cluster';

/** Envoy's default: requests that wait for a connection where only connections are limited. */
const DEFAULT_MAX_PENDING = 1_024;

/** Which limit was met; Envoy's statistics call them alike, but for copies of requests. */
export type Overflow = 'cx' | 'pending' | 'rq' | 'mirror';

interface Waiter {
  readonly run: () => void;
  readonly limit: Disposable;
}

export class CircuitBreaker {
  readonly #clock: Clock;
  readonly #onOverflow: (limit: Overflow) => void;
  #limits: CircuitBreakers = {};
  #requests = 0;
  #waiting: Waiter[] = [];

  constructor(clock: Clock, onOverflow: (limit: Overflow) => void) {
    this.#clock = clock;
    this.#onOverflow = onOverflow;
  }

  setLimits(limits: CircuitBreakers = {}): void {
    this.#limits = limits;
    this.onFree();
  }

  /** Whether requests have to be counted. */
  get limitsRequests(): boolean {
    return this.#limits.maxRequests !== undefined;
  }

  /** @returns whether the request may go on; it then counts until `endRequest`. */
  tryRequest(): boolean {
    const { maxRequests } = this.#limits;
    if (maxRequests !== undefined && this.#requests >= maxRequests) {
      this.#onOverflow('rq');
      return false;
    }
    this.#requests++;
    return true;
  }

  endRequest(): void {
    this.#requests--;
  }

  /** A copy of a request that was left out, or cut off. */
  dropMirror(): void {
    this.#onOverflow('mirror');
  }

  /** @param count of connections that are open or being opened; asked only where there is a limit. */
  mayConnect(count: () => number): boolean {
    const { maxConnections } = this.#limits;
    return maxConnections === undefined || count() < maxConnections;
  }

  /** A connection that nothing can wait for. */
  refuseConnection(): void {
    this.#onOverflow('cx');
  }

  /**
   * Waits for a connection to come free.
   * @param run tries again. @param onLate after `patienceMs`. @returns `undefined` when too many wait.
   */
  wait(run: () => void, onLate: () => void, patienceMs: number): Disposable | undefined {
    const { maxPendingRequests = DEFAULT_MAX_PENDING } = this.#limits;
    if (this.#waiting.length >= maxPendingRequests) {
      this.#onOverflow('pending');
      return undefined;
    }
    const leave = (): void => {
      this.#waiting = this.#waiting.filter((one) => one !== waiter);
    };
    const limit = this.#clock.setTimeout(() => {
      leave();
      onLate();
    }, patienceMs);
    const waiter = { run, limit };
    this.#waiting.push(waiter);
    return {
      [Symbol.dispose]: () => {
        limit[Symbol.dispose]();
        leave();
      },
    };
  }

  /** A connection has come free, or has ended: the one that waits longest tries again. */
  onFree(): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) return;
    waiter.limit[Symbol.dispose]();
    waiter.run();
  }
}
