// Bounds how often something is written to the API server: so many at once, and so many a second in the long run.

export interface WriteBudgetOptions {
  readonly perSecond: number;
  /** It begins with these. */
  readonly burst: number;
  readonly nowMs: number;
}

export class WriteBudget {
  readonly #perSecond: number;
  readonly #burst: number;
  #left: number;
  #atMs: number;

  constructor({ perSecond, burst, nowMs }: WriteBudgetOptions) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#left = burst;
    this.#atMs = nowMs;
  }

  /** @returns whether there may be one more write now, which is counted then. A clock that goes back gives and takes nothing. */
  take(nowMs: number): boolean {
    const grown = ((nowMs - this.#atMs) / 1_000) * this.#perSecond;
    this.#left = Math.min(this.#burst, this.#left + Math.max(grown, 0));
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
