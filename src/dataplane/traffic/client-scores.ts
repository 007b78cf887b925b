// How much of what each client has done of late, in a table of fixed size: counts that fade with time.
import { KeyHash } from './key-hash.ts';

/** Places of one set, of which a client may have any. */
const WAYS = 8;
const MAX_SETS = 131_072;
const HALF = 67_108_864;
/** Below this share of its threshold a client that was flooding does so no more. */
const CALM = 0.5;

/** What a client is found to do. */
export interface Finding {
  readonly isFlooding: boolean;
  /** It was not doing so before. */
  readonly isNew: boolean;
}

/**
 * A count fades by e⁻¹ in each window: who does r a second comes to r times the window, and stays there. Where all
 * places of a set are taken, the client that has done least of what it may is forgotten, so that clients who do much
 * stay known; who is forgotten begins at nothing.
 */
export class ClientScores {
  readonly #windowMs: number;
  /** By event; Infinity where it is not counted. */
  readonly #thresholds: readonly number[];
  readonly #setMask: number;
  readonly #tags: Uint32Array;
  readonly #atMs: Float64Array;
  readonly #isFlooding: Uint8Array;
  /** By place, then event: how many, faded. */
  readonly #counts: Float32Array;
  readonly #hash = new KeyHash();

  constructor(of: {
    readonly windowMs: number;
    readonly thresholds: readonly number[];
    readonly maxClients: number;
  }) {
    let sets = 1;
    while (sets * WAYS < of.maxClients && sets < MAX_SETS) sets *= 2;
    const places = sets * WAYS;
    this.#windowMs = of.windowMs;
    this.#thresholds = of.thresholds;
    this.#setMask = sets - 1;
    this.#tags = new Uint32Array(places);
    this.#atMs = new Float64Array(places);
    this.#isFlooding = new Uint8Array(places);
    this.#counts = new Float32Array(places * of.thresholds.length);
  }

  /** Of what it holds; it never grows. */
  get bytes(): number {
    const { byteLength } = this.#counts;
    return this.#tags.byteLength + this.#atMs.byteLength + this.#isFlooding.byteLength + byteLength;
  }

  /** @param event its index. @param nowMs of a clock that never goes back. */
  note(client: string, event: number, nowMs: number): Finding {
    const place = this.#placeOf(client, nowMs);
    const first = place * this.#thresholds.length;
    this.#fade(place, nowMs);
    this.#counts[first + event] = (this.#counts[first + event] ?? 0) + 1;
    const most = this.#mostOf(place);
    const was = this.#isFlooding[place] === 1;
    const isFlooding = most > (was ? CALM : 1);
    this.#isFlooding[place] = isFlooding ? 1 : 0;
    return { isFlooding, isNew: isFlooding && !was };
  }

  /** The largest share of its threshold that any count has come to. */
  #mostOf(place: number): number {
    const first = place * this.#thresholds.length;
    let most = 0;
    for (let at = 0; at < this.#thresholds.length; at++) {
      most = Math.max(most, (this.#counts[first + at] ?? 0) / (this.#thresholds[at] ?? Infinity));
    }
    return most;
  }

  #fade(place: number, nowMs: number): void {
    const first = place * this.#thresholds.length;
    const kept = Math.exp(((this.#atMs[place] ?? 0) - nowMs) / this.#windowMs);
    for (let at = first; at < first + this.#thresholds.length; at++) {
      this.#counts[at] = (this.#counts[at] ?? 0) * kept;
    }
    this.#atMs[place] = nowMs;
  }

  #placeOf(client: string, nowMs: number): number {
    const hash = this.#hash;
    hash.begin();
    hash.addText(client);
    const first = (hash.low & this.#setMask) * WAYS;
    const tag = (hash.high % HALF) + 1;
    for (let place = first; place < first + WAYS; place++) {
      if (this.#tags[place] === tag) return place;
    }
    const place = this.#leastIn(first, nowMs);
    this.#tags[place] = tag;
    this.#isFlooding[place] = 0;
    this.#counts.fill(0, place * this.#thresholds.length, (place + 1) * this.#thresholds.length);
    return place;
  }

  #leastIn(first: number, nowMs: number): number {
    let least = first;
    let leastDone = Infinity;
    for (let place = first; place < first + WAYS; place++) {
      if (this.#tags[place] === 0) return place;
      this.#fade(place, nowMs);
      const done = this.#mostOf(place);
      if (done < leastDone) [least, leastDone] = [place, done];
    }
    return least;
  }
}
