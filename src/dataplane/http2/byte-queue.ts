// Bytes that wait to be sent: long slices as they came, short ones copied together, so that what waits costs what it counts.

/** A slice keeps the whole chunk in memory that it was received in (64 KiB); from here on that is little enough. */
const MIN_KEPT_BYTES = 8_192;
const TAIL_BYTES = 4_096;
const EMPTY = Buffer.alloc(0);

export class ByteQueue {
  readonly #slices: Buffer[] = [];
  /** What short slices are copied to, and how far it is filled; the last slice is a view on it. */
  #tail: Buffer = EMPTY;
  #tailUsed = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get slices(): readonly Buffer[] {
    return this.#slices;
  }

  /** The first slice is kept as it is: most requests have no other. */
  push(slice: Buffer): void {
    if (slice.length === 0) return;
    this.#bytes += slice.length;
    if (this.#slices.length > 0 && slice.length < MIN_KEPT_BYTES) {
      this.#pushCopy(slice);
      return;
    }
    this.#slices.push(slice);
    this.#tail = EMPTY;
    this.#tailUsed = 0;
  }

  #pushCopy(slice: Buffer): void {
    if (this.#tail.length - this.#tailUsed < slice.length) {
      this.#tail = Buffer.allocUnsafeSlow(Math.max(TAIL_BYTES, slice.length));
      this.#tailUsed = 0;
    }
    const isGrowing = this.#tailUsed > 0;
    const end = this.#tailUsed + slice.copy(this.#tail, this.#tailUsed);
    const begin = isGrowing ? this.#tailUsed - (this.#slices.pop()?.length ?? 0) : 0;
    this.#slices.push(this.#tail.subarray(begin, end));
    this.#tailUsed = end;
  }

  /** Takes at most `max` bytes off the front, in one piece. */
  take(max: number): Buffer {
    const [first = EMPTY] = this.#slices;
    const taken = first.length <= max ? first : first.subarray(0, max);
    if (taken === first) this.#slices.shift();
    else this.#slices[0] = first.subarray(max);
    if (this.#slices.length === 0) {
      this.#tail = EMPTY;
      this.#tailUsed = 0;
    }
    this.#bytes -= taken.length;
    return taken;
  }

  clear(): void {
    this.#slices.length = 0;
    this.#tail = EMPTY;
    this.#tailUsed = 0;
    this.#bytes = 0;
  }
}
