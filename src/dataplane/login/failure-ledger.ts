// Counts failed logins by a key, a user's name or a client's address, and says who has to wait: guessing becomes slow, and costs nobody else.

/** Failures that cost nothing: people mistype. */
const FREE = 10;
/** From then on each failure doubles the wait, from one second to five minutes. */
const FIRST_WAIT_MS = 1_000;
const LAST_WAIT_MS = 300_000;
/** A name or address that fails no more is forgotten after so long. */
const FORGET_MS = 900_000;
/** Keys that are remembered; each that is forgotten has cost whoever did it a comparison by bcrypt. */
const MAX_KEYS = 20_000;

interface Entry {
  failures: number;
  /** Attempts under way count as failures until they have ended: many at once get no more guesses than one by one. */
  pending: number;
  lastMs: number;
  untilMs: number;
}

export class FailureLedger {
  /** Longest unused first. */
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** @returns how long the key has to wait; 0 when it may try now. */
  waitMs(key: string, nowMs: number): number {
    const entry = this.#entries.get(key);
    if (entry === undefined) return 0;
    if (isForgotten(entry, nowMs)) {
      this.#entries.delete(key);
      return 0;
    }
    // Who keeps asking is not the one to be forgotten.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (entry.untilMs > nowMs) return entry.untilMs - nowMs;
    return entry.failures + entry.pending >= FREE && entry.pending > 0 ? FIRST_WAIT_MS : 0;
  }

  /** Of an attempt that was let through. */
  begin(key: string, nowMs: number): void {
    const entry = this.#take(key, nowMs);
    entry.pending++;
  }

  end(
    key: string,
    { isFailure, nowMs }: { readonly isFailure: boolean; readonly nowMs: number },
  ): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.pending = Math.max(0, entry.pending - 1);
    if (!isFailure) {
      if (entry.failures === 0 && entry.pending === 0) this.#entries.delete(key);
      return;
    }
    entry.failures++;
    entry.lastMs = nowMs;
    if (entry.failures < FREE) return;
    // The exponent is bounded so that the number stays one.
    const doublings = Math.min(entry.failures - FREE, 20);
    entry.untilMs = nowMs + Math.min(FIRST_WAIT_MS * 2 ** doublings, LAST_WAIT_MS);
  }

  #take(key: string, nowMs: number): Entry {
    const known = this.#entries.get(key);
    const entry =
      known === undefined || isForgotten(known, nowMs)
        ? { failures: 0, pending: 0, lastMs: nowMs, untilMs: 0 }
        : known;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > MAX_KEYS) {
      const oldest = this.#entries.keys().next();
      if (oldest.done !== true) this.#entries.delete(oldest.value);
    }
    return entry;
  }
}

const isForgotten = ({ pending, lastMs, untilMs }: Entry, nowMs: number): boolean =>
  pending === 0 && untilMs <= nowMs && nowMs - lastMs >= FORGET_MS;
