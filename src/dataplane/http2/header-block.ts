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

export class HeaderBlock {
  #first: Buffer = EMPTY;
  #more: Buffer[] | undefined;
  #bytes = 0;
  /** Whether continuations are to come. */
  isOpen = false;
  streamId = 0;
  isEndStream = false;

  /** @param payload of HEADERS. @returns why the connection ends. */
  begin(payload: Buffer, streamId: number, flags: number): Refusal | undefined {
    let from = 0;
    let end = payload.length;
    if ((flags & FLAG.padded) !== 0) {
      from = 1;
      end -= payload[0] ?? 0;
    }
    if ((flags & FLAG.priority) !== 0) {
      if (end - from < PRIORITY_BYTES) return TOO_PADDED;
      if ((payload.readUInt32BE(from) & 0x7fffffff) === streamId) return SELF_DEPENDENT;
      from += PRIORITY_BYTES;
    }
    if (end < from) return TOO_PADDED;
    const fragment = from === 0 && end === payload.length ? payload : payload.subarray(from, end);
    this.streamId = streamId;
    this.isEndStream = (flags & FLAG.endStream) !== 0;
    this.isOpen = (flags & FLAG.endHeaders) === 0;
    /** What waits for continuations must not be a view on bytes of the moment. */
    this.#first = this.isOpen ? Buffer.from(fragment) : fragment;
    this.#bytes = fragment.length;
    return undefined;
  }

  /** @param fragment of CONTINUATION. */
  add(fragment: Buffer): Refusal | undefined {
    this.#more ??= [];
    this.#bytes += fragment.length;
    if (this.#bytes > MAX_BLOCK_BYTES || this.#more.length >= MAX_CONTINUATIONS) return TOO_LARGE;
    this.#more.push(Buffer.from(fragment));
    return undefined;
  }

  /** The whole block; it is over then. */
  take(): Buffer {
    const whole =
      this.#more === undefined ? this.#first : Buffer.concat([this.#first, ...this.#more]);
    this.isOpen = false;
    this.#first = EMPTY;
    this.#more = undefined;
    return whole;
  }
}
