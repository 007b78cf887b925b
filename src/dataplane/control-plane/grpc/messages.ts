// Puts gRPC's length before messages, and takes messages out of the bytes of a call, however they were cut.
import { CallFailure, STATUS } from './status.ts';

/** One byte of flags, four of length. */
const PREFIX_BYTES = 5;

export function frameMessage(bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + bytes.length);
  frame[0] = 0;
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, PREFIX_BYTES);
  return frame;
}

/** Holds one message that has not come as a whole, never more than the limit. */
export class MessageReader {
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  #heldBytes = 0;
  /** With its prefix, once that is known. */
  #wantedBytes = PREFIX_BYTES;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of a message that is not complete are held. */
  get isBetweenMessages(): boolean {
    return this.#heldBytes === 0;
  }

  /** @throws CallFailure when a message is too long, or compressed, which was not offered. */
  read(chunk: Buffer, take: (message: Buffer) => void): void {
    this.#pieces.push(chunk);
    this.#heldBytes += chunk.length;
    while (this.#heldBytes >= this.#wantedBytes) {
      const held = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
      if (held === undefined) return;
      const endsAt = PREFIX_BYTES + this.#lengthIn(held);
      if (held.length < endsAt) {
        this.#hold(held, endsAt);
        return;
      }
      this.#hold(held.subarray(endsAt), PREFIX_BYTES);
      take(held.subarray(PREFIX_BYTES, endsAt));
    }
  }

  #hold(rest: Buffer, wantedBytes: number): void {
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#heldBytes = rest.length;
    this.#wantedBytes = wantedBytes;
  }

  #lengthIn(held: Buffer): number {
    if (held[0] !== 0)
      throw new CallFailure(STATUS.INTERNAL, 'the answer is compressed, which was not offered');
    const length = held.readUInt32BE(1);
    if (length <= this.#maxBytes) return length;
    const why = `a message of ${length} bytes is longer than ${this.#maxBytes}`;
    throw new CallFailure(STATUS.RESOURCE_EXHAUSTED, why);
  }
}
