// Keeps one token bucket for each key in a table of fixed size: never more than the bucket allows, for any key, however many there are.

export interface BucketRate {
  readonly requests: number;
  readonly intervalMs: number;
  readonly burst: number;
}

/** Places of one set, of which a key may have any. */
const WAYS = 8;
/** Sets are a power of two, and a key's set is chosen by so many bits at most. */
const MAX_SETS = 131_072;
/** Of a step: sums of steps are not exact, and the last token of a burst is one all the same. */
const ROUNDING = 1e-6;
/** 12 B a place: half of a key's hash, and when its bucket is full again. */
const HALF = 67_108_864;

/**
 * Buckets as "virtual scheduling" has them (GCRA, ITU-T I.371): of each only the time at which it is full again. A
 * place whose bucket is full says nothing and is anybody's. Where all places of a set are taken by buckets that are not
 * full, a new key takes over the bucket that is fullest, as it is: it may be refused too early, and no key ever gets
 * more than its own bucket would allow, for a bucket that was given up is found again no fuller than it was left.
 */
export class BucketTable {
  readonly #tags: Uint32Array;
  /** By place; milliseconds. */
  readonly #fullAt: Float64Array;
  readonly #setMask: number;
  readonly #stepMs: number;
  readonly #toleranceMs: number;
  /** Keys that had to take over the bucket of another that was not full. */
  takenOver = 0;
  /** Of the key looked at last. */
  #place = 0;
  #fullAtMs = 0;

  constructor({ requests, intervalMs, burst }: BucketRate, maxKeys: number) {
    let sets = 1;
    while (sets * WAYS < maxKeys && sets < MAX_SETS) sets *= 2;
    this.#tags = new Uint32Array(sets * WAYS);
    this.#fullAt = new Float64Array(sets * WAYS);
    this.#setMask = sets - 1;
    this.#stepMs = intervalMs / requests;
    this.#toleranceMs = burst * this.#stepMs;
  }

  /** Of what it holds; it never grows. */
  get bytes(): number {
    return this.#tags.byteLength + this.#fullAt.byteLength;
  }

  /**
   * Finds the bucket of a key. Takes nothing: `take` does, if the request goes through.
   * @param nowMs of a clock that never goes back.
   * @returns how long until there is a token, 0 when there is one.
   */
  look(high: number, low: number, nowMs: number): number {
    const first = (low & this.#setMask) * WAYS;
    // A tag of 0 is an empty place.
    const tag = (high % HALF) + 1;
    let fullest = first;
    for (let place = first; place < first + WAYS; place++) {
      if (this.#tags[place] === tag) {
        fullest = place;
        break;
      }
      if ((this.#fullAt[place] ?? 0) < (this.#fullAt[fullest] ?? 0)) fullest = place;
    }
    const fullAtMs = this.#fullAt[fullest] ?? 0;
    if (this.#tags[fullest] !== tag) {
      if (fullAtMs > nowMs) this.takenOver++;
      this.#tags[fullest] = tag;
    }
    this.#place = fullest;
    this.#fullAtMs = Math.max(fullAtMs, nowMs) + this.#stepMs;
    const waitMs = this.#fullAtMs - nowMs - this.#toleranceMs;
    return waitMs > this.#stepMs * ROUNDING ? waitMs : 0;
  }

  /** Takes the token that `look` has just found. */
  take(): void {
    this.#fullAt[this.#place] = this.#fullAtMs;
  }

  /** Tokens that were left before one is taken, whole ones. */
  leftAt(nowMs: number): number {
    const usedMs = Math.max(0, this.#fullAtMs - this.#stepMs - nowMs);
    return Math.max(0, Math.floor((this.#toleranceMs - usedMs) / this.#stepMs));
  }
}
