// Counts what a peer makes a connection do for nothing, and says when it is too much: budgets that refill with time and with use.

/** So many at once, so many a second, and so many for each frame of use. */
interface Allowance {
  readonly burst: number;
  readonly perSecond: number;
  readonly perUse: number;
}

export const ALLOWANCES = {
  /**
   * Streams that end by RST_STREAM, be it the peer's (CVE-2023-44487) or one that its frames made us send
   * (CVE-2025-8671), and streams beyond the limit.
   */
  resets: { burst: 1_000, perSecond: 33, perUse: 0 },
  /** Each may change the window of every stream (CVE-2019-9515). */
  settings: { burst: 100, perSecond: 5, perUse: 0 },
  /** gRPC measures bandwidth with one a round trip while data comes (CVE-2019-9512). */
  pings: { burst: 5_000, perSecond: 1_000, perUse: 2 },
  /** DATA of no bytes, PRIORITY, frames of unknown kinds or of streams that are over (CVE-2019-9518, CVE-2019-9513). */
  empties: { burst: 1_000, perSecond: 100, perUse: 4 },
} as const satisfies Readonly<Record<string, Allowance>>;

export type Wasted = keyof typeof ALLOWANCES;

class Budget {
  readonly #allowance: Allowance;
  #left: number;
  #atMs: number;
  #uses = 0;

  constructor(allowance: Allowance, nowMs: number) {
    this.#allowance = allowance;
    this.#left = allowance.burst;
    this.#atMs = nowMs;
  }

  /** @returns whether there was one left. */
  spend(nowMs: number, uses: number): boolean {
    const { burst, perSecond, perUse } = this.#allowance;
    const refilled = ((nowMs - this.#atMs) * perSecond) / 1_000 + (uses - this.#uses) * perUse;
    this.#atMs = nowMs;
    this.#uses = uses;
    this.#left = Math.min(burst, this.#left + refilled) - 1;
    return this.#left >= 0;
  }
}

export class FloodGuard {
  readonly #now: () => number;
  readonly #budgets = new Map<Wasted, Budget>();
  #uses = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Notes a frame that carries a request, an answer or bytes of one. */
  noteUse(): void {
    this.#uses++;
  }

  /** Counts one. @returns whether the peer has gone beyond what it may. */
  isTooMuch(kind: Wasted): boolean {
    const nowMs = this.#now();
    let budget = this.#budgets.get(kind);
    if (budget === undefined) {
      budget = new Budget(ALLOWANCES[kind], nowMs);
      this.#budgets.set(kind, budget);
    }
    return !budget.spend(nowMs, this.#uses);
  }
}
