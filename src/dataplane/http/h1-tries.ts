// What has been tried to get one request answered, and what may be tried yet.
import type { AcquireWant } from './h1-contract.ts';

const NONE: ReadonlySet<string> = new Set();

/** One for each downstream connection; `reset` uses it again. */
export class Tries implements AcquireWant {
  #tried: Set<string> | undefined;
  mustBeFresh = false;
  mayRepeat = false;
  hash: bigint | undefined;
  /** Why the endpoint that was tried last did not take the request; '' when none was. */
  failure = '';

  reset(hash: bigint | undefined, mayRepeat: boolean): void {
    this.#tried = undefined;
    this.mustBeFresh = false;
    this.mayRepeat = mayRepeat;
    this.hash = hash;
    this.failure = '';
  }

  get tried(): ReadonlySet<string> {
    return this.#tried ?? NONE;
  }

  /** Whether a pooled connection was closed already: it happens to no second one, which is not from the pool. */
  get hasMetStale(): boolean {
    return this.mustBeFresh;
  }

  /** @returns whether another endpoint may be asked instead of this one, up to `retries` times. */
  mayGoOn(address: string, retries: number): boolean {
    this.#tried ??= new Set();
    if (this.#tried.size >= retries || this.#tried.has(address)) return false;
    this.#tried.add(address);
    return true;
  }

  /** A new attempt, rather at another endpoint than this one. */
  beginAnew(address: string): void {
    this.#tried = new Set([address]);
    this.mustBeFresh = false;
  }
}
