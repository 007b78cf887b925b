// Says how many bytes one connection's peer may send at once: little to begin with, more for who uses it, and bounded over all connections.
import { DEFAULT_WINDOW_BYTES } from './frames.ts';

/** 256 MiB: what all peers together may make this process hold beyond the first 64 KiB of each connection. */
const POOL_BYTES = 268_435_456;
/** 16 MiB: the product of a fast link's bandwidth and delay. */
const MAX_WINDOW_BYTES = 16_777_216;
/** 256 KiB: enough for small requests, and for a thousand connections. */
const FIRST_WINDOW_BYTES = 262_144;

/** Windows that have been promised to peers: a promise cannot be taken back before the connection ends. */
export class WindowPool {
  #left: number;

  constructor(bytes: number = POOL_BYTES) {
    this.#left = bytes;
  }

  take(wanted: number): number {
    const given = Math.max(0, Math.min(wanted, this.#left));
    this.#left -= given;
    return given;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

export class ReceiveWindow {
  readonly #pool: WindowPool;
  #size = DEFAULT_WINDOW_BYTES;
  /** What the peer may still send. */
  #left = DEFAULT_WINDOW_BYTES;
  /** Bytes that have gone on, and that the peer has not been told of. */
  #owed = 0;

  constructor(pool: WindowPool) {
    this.#pool = pool;
  }

  /** The first growth. @returns the increment to announce; 0 when there is none. */
  open(): number {
    return this.#grow(FIRST_WINDOW_BYTES);
  }

  #grow(size: number): number {
    const more = this.#pool.take(Math.min(size, MAX_WINDOW_BYTES) - this.#size);
    this.#size += more;
    this.#left += more;
    return more;
  }

  /** @returns whether the peer was allowed to send so much. */
  receive(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  /** Bytes have gone on. @returns the increment to announce; 0 while it is not worth a frame. */
  credit(bytes: number): number {
    this.#owed += bytes;
    if (this.#owed * 2 < this.#size) return 0;
    const owed = this.#owed;
    this.#owed = 0;
    this.#left += owed;
    /** Half of it is used and gone on already: more would be used as well. */
    const waiting = this.#size - this.#left;
    return owed + (waiting * 4 < this.#size ? this.#grow(this.#size * 2) : 0);
  }

  [Symbol.dispose](): void {
    this.#pool.give(this.#size - DEFAULT_WINDOW_BYTES);
    this.#size = DEFAULT_WINDOW_BYTES;
  }
}
