// How long to wait before the next try: doubling, capped, and spread so that a fleet does not come back at once.

export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
  /** 0 ≤ r < 1. */
  readonly random: () => number;
}

/**
 * Of streams to the control plane, but for those that promise more: all of a sidecar go over one connection. 200 ms: one
 * that was restarted is found again before anybody notices. 10 s: and is not besieged while it is away.
 */
export const STREAM_BACKOFF = { baseMs: 200, maxMs: 10_000 } as const;

/** Full jitter: anything from nothing to the doubled delay, but never less than a tenth of the base. */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get failures(): number {
    return this.#failures;
  }

  next(): number {
    const { baseMs, maxMs, random } = this.#options;
    const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    return Math.max(baseMs / 10, random() * ceiling);
  }

  reset(): void {
    this.#failures = 0;
  }
}
