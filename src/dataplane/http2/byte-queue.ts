// Bytes that wait to be sent: long slices as they came, short ones copied together, so that what waits costs what it counts.

/** A slice keeps the whole chunk in memory that it was received in (64 KiB); from here on that is little enough. */
const MIN_KEPT_BYTES = 8_192;
const TAIL_BYTES = 4_096;
const EMPTY = Buffer.alloc(0);

export class ByteQueue {
  /** Most requests have no other: for one slice no list is made. */
  #first: Buffer | undefined;
  #more: Buffer[] | undefined;
  /** What short slices are copied to, and how far it is filled; the last slice is a view on it. */
  #tail: Buffer = EMPTY;
  #tailUsed = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** How many slices there are. */
  get length(): number {
    return this.#first === undefined ? 0 : 1 + (this.#more?.length ?? 0);
  }

  at(index: number): Buffer {
    return (index === 0 ? this.#first : this.#more?.[index - 1]) ?? EMPTY;
  }

  push(slice: Buffer): void {
    if (slice.length === 0) return;
    this.#bytes += slice.length;
    if (this.#first === undefined) {
      this.#first = slice;
      return;
    }
    const more = (this.#more ??= []);
    if (slice.length < MIN_KEPT_BYTES) {
      this.#pushCopy(more, slice);
      return;
    }
    more.push(slice);
    this.#dropTail();
  }

  #pushCopy(more: Buffer[], slice: Buffer): void {
    if (this.#tail.length - this.#tailUsed < slice.length) {
      this.#tail = Buffer.allocUnsafeSlow(Math.max(TAIL_BYTES, slice.length));
      this.#tailUsed = 0;
    }
    const isGrowing = this.#tailUsed > 0;
    const end = this.#tailUsed + slice.copy(this.#tail, this.#tailUsed);
    const begin = isGrowing ? this.#tailUsed - (more.pop()?.length ?? 0) : 0;
    more.push(this.#tail.subarray(begin, end));
    this.#tailUsed = end;
  }

  #dropTail(): void {
    this.#tail = EMPTY;
    this.#tailUsed = 0;
  }

  /** Takes at most `max` bytes off the front, in one piece. */
  take(max: number): Buffer {
    const first = this.#first ?? EMPTY;
    const isWhole = first.length <= max;
    const taken = isWhole ? first : first.subarray(0, max);
    if (!isWhole) this.#first = first.subarray(max);
    else {
      this.#first = this.#more?.shift();
      /** The front is not written to any more. */
      if (this.#more === undefined || this.#more.length === 0) this.#dropTail();
    }
    this.#bytes -= taken.length;
    return taken;
  }

  clear(): void {
    this.#first = undefined;
    this.#more = undefined;
    this.#dropTail();
    this.#bytes = 0;
  }
}
