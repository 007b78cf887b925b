// Bytes that came from a peer and are not read yet.

/** Room for a head that comes in pieces; doubled as it grows, so that a head sent byte by byte costs its length. */
const FIRST_ROOM = 1_024;

/**
 * Usually one chunk as the socket gave it. Pieces of an unfinished head are gathered in a buffer of its own; who
 * uses it bounds how much.
 */
export class Input {
  bytes: Buffer = EMPTY;
  /** Where the unread part begins. */
  at = 0;
  #room: Buffer | undefined;

  get isEmpty(): boolean {
    return this.at >= this.bytes.length;
  }

  append(chunk: Buffer): void {
    if (this.isEmpty) {
      this.bytes = chunk;
      this.at = 0;
      this.#room = undefined;
      return;
    }
    const used = this.bytes.length;
    const size = used + chunk.length;
    let room = this.#room;
    if (room === undefined || room.length < size) {
      room = Buffer.allocUnsafe(Math.max(FIRST_ROOM, size * 2));
      this.bytes.copy(room, 0);
      this.#room = room;
    }
    chunk.copy(room, used);
    this.bytes = room.subarray(0, size);
  }

  clear(): void {
    this.bytes = EMPTY;
    this.at = 0;
    this.#room = undefined;
  }
}

const EMPTY = Buffer.alloc(0);
