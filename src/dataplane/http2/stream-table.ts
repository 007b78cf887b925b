// Knows the streams of one connection: which are open, which ids are still to come, and which we have ended ourselves.
import { MAX_STREAM_ID } from './frames.ts';
import type { H2Stream } from './h2-stream.ts';

/** Streams that we have reset and about which frames may be on their way; older ones are forgotten. */
const MAX_REMEMBERED_RESETS = 1_024;
/** A client's ids run out at 2³¹: long before, another connection takes over. */
const MAX_OWN_STREAM_ID = 2 ** 30;

export class StreamTable {
  readonly #isServer: boolean;
  readonly #open = new Map<number, H2Stream>();
  /** In the order in which they were reset. */
  readonly #resets = new Set<number>();
  #nextOwnId = 1;
  /** The highest stream of the peer's that we have taken; 0 when there was none. */
  lastPeerId = 0;
  /** What our last GOAWAY said: streams beyond it are not ours. */
  finalPeerId = MAX_STREAM_ID;

  constructor(isServer: boolean) {
    this.#isServer = isServer;
  }

  get size(): number {
    return this.#open.size;
  }

  get(id: number): H2Stream | undefined {
    return this.#open.get(id);
  }

  values(): readonly H2Stream[] {
    return [...this.#open.values()];
  }

  get hasOwnIds(): boolean {
    return this.#nextOwnId < MAX_OWN_STREAM_ID;
  }

  takeOwnId(): number {
    const id = this.#nextOwnId;
    this.#nextOwnId += 2;
    return id;
  }

  add(stream: H2Stream): void {
    this.#open.set(stream.id, stream);
  }

  delete(stream: H2Stream): void {
    this.#open.delete(stream.id);
  }

  /**
   * Nobody has begun such a stream yet, or nobody may: we never push, nor do our peers. What a peer has begun beyond
   * our last GOAWAY is not ours, and not idle either.
   */
  isIdle(id: number): boolean {
    if (id % 2 === 0) return true;
    return this.#isServer ? id > this.lastPeerId && id <= this.finalPeerId : id >= this.#nextOwnId;
  }

  rememberReset(id: number): void {
    this.#resets.add(id);
    if (this.#resets.size <= MAX_REMEMBERED_RESETS) return;
    for (const oldest of this.#resets) {
      this.#resets.delete(oldest);
      return;
    }
  }

  /** Whether what comes about it was sent before the peer could know that it had ended. */
  isForgiven(id: number): boolean {
    return id > this.finalPeerId || this.#resets.has(id);
  }
}
