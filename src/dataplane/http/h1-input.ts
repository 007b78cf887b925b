// Bytes that came from a peer and are not read yet.

const EMPTY = Buffer.alloc(0);
/** Room for a head that comes in pieces; doubled as it grows, so that a head sent byte by byte costs its length. */
const FIRST_ROOM = 1_024;

/**
 * Usually one chunk as the socket gave it. Pieces of an unfinished head are gathered in a buffer of its own; who
 * uses it bounds how much. Bytes once given out are never overwritten: they may be queued on a socket.
 */
export class Input {
  bytes: Buffer = EMPTY;
  /** Where the unread part begins. */
  at = 0;
  /** How far the end of a head has been looked for. */
  scanFrom = 0;
  #room: Buffer | undefined;

  get isEmpty(): boolean {
    return this.at >= this.bytes.length;
  }

  append(chunk: Buffer): void {
    if (this.isEmpty) {
      this.bytes = chunk;
      this.at = 0;
      this.scanFrom = 0;
      this.#room = undefined;
      return;
    }
    const used = this.bytes.length;
    let room = this.#room;
    if (room !== undefined && used + chunk.length <= room.length) {
      chunk.copy(room, used);
      this.bytes = room.subarray(0, used + chunk.length);
      return;
    }
    const kept = used - this.at;
    const size = kept + chunk.length;
    room = Buffer.allocUnsafe(Math.max(FIRST_ROOM, size * 2));
    this.bytes.copy(room, 0, this.at);
    chunk.copy(room, kept);
    this.bytes = room.subarray(0, size);
    this.scanFrom = Math.max(0, this.scanFrom - this.at);
    this.at = 0;
    this.#room = room;
  }

  /** The head is not whole: up to here its end is not. */
  markScanned(): void {
    this.scanFrom = Math.max(this.at, this.bytes.length - 3);
  }

  /** Keeps nothing of what has been read: the socket's whole buffer of 64 KiB stays as long as a piece of it is held. */
  forgetRead(): void {
    if (this.isEmpty) this.clear();
  }

  clear(): void {
    this.bytes = EMPTY;
    this.at = 0;
    this.scanFrom = 0;
    this.#room = undefined;
  }
}
