// Gathers one header block: the fragment of a HEADERS frame and those of its continuations, bounded in bytes and frames.
import { ERROR, FLAG } from './frames.ts';
import { HEADER_LIST_BYTES_MAX } from './header-list.ts';

/** Encoded. No list within the limit needs more; what is longer is not read to its end (CVE-2024-27919, CVE-2024-30255). */
const MAX_BLOCK_BYTES = HEADER_LIST_BYTES_MAX;
/** Frames of one block: `MAX_BLOCK_BYTES` in whole frames is 4; more than these carry next to nothing (CVE-2019-9518). */
const MAX_CONTINUATIONS = 32;
/** Stream dependency and weight, in front of the fragment where the flag says so. */
const PRIORITY_BYTES = 5;
const EMPTY = Buffer.alloc(0);

interface Refusal {
  readonly code: number;
  readonly reason: string;
}

const TOO_LARGE: Refusal = { code: ERROR.enhanceYourCalm, reason: 'a header block too large' };
const TOO_PADDED: Refusal = { code: ERROR.protocol, reason: 'padding longer than its frame' };
const SELF_DEPENDENT: Refusal = { code: ERROR.protocol, reason: 'a stream depends on itself' };

/** Where the bytes of a block are; good for as long as nobody says otherwise. */
export interface Block {
  readonly bytes: Buffer;
  readonly from: number;
  readonly end: number;
}

export class HeaderBlock implements Block {
  bytes: Buffer = EMPTY;
  from = 0;
  end = 0;
  #more: Buffer[] | undefined;
  #size = 0;
  /** Whether continuations are to come. */
  isOpen = false;
  streamId = 0;
  isEndStream = false;

  /** @param head of the HEADERS frame whose payload is in `bytes` from `at` to `end`. @returns why the connection ends. */
  begin(
    bytes: Buffer,
    head: {
      readonly at: number;
      readonly end: number;
      readonly streamId: number;
      readonly flags: number;
    },
  ): Refusal | undefined {
    const { streamId, flags } = head;
    let from = head.at;
    let { end } = head;
    if ((flags & FLAG.padded) !== 0) {
      if (from === end) return TOO_PADDED;
      end -= bytes[from] ?? 0;
      from++;
    }
    if ((flags & FLAG.priority) !== 0) {
      if (end - from < PRIORITY_BYTES) return TOO_PADDED;
      if ((bytes.readUInt32BE(from) & 0x7fffffff) === streamId) return SELF_DEPENDENT;
      from += PRIORITY_BYTES;
    }
    if (end < from) return TOO_PADDED;
    this.streamId = streamId;
    this.isEndStream = (flags & FLAG.endStream) !== 0;
    this.isOpen = (flags & FLAG.endHeaders) === 0;
    this.#size = end - from;
    /** What waits for continuations must not be a view on bytes of the moment. */
    if (this.isOpen) this.#set(Buffer.from(bytes.subarray(from, end)), 0, this.#size);
    else this.#set(bytes, from, end);
    return undefined;
  }

  #set(bytes: Buffer, from: number, end: number): void {
    this.bytes = bytes;
    this.from = from;
    this.end = end;
  }

  /** @param fragment of CONTINUATION. */
  add(fragment: Buffer): Refusal | undefined {
    this.#more ??= [];
    this.#size += fragment.length;
    if (this.#size > MAX_BLOCK_BYTES || this.#more.length >= MAX_CONTINUATIONS) return TOO_LARGE;
    this.#more.push(Buffer.from(fragment));
    return undefined;
  }

  /** No continuation is to come: all of the block is where it says. */
  close(): void {
    this.isOpen = false;
    if (this.#more === undefined) return;
    this.#set(Buffer.concat([this.bytes, ...this.#more]), 0, this.#size);
    this.#more = undefined;
  }

  /** It has been read: nothing of what was received is held any more. */
  clear(): void {
    this.bytes = EMPTY;
  }
}
