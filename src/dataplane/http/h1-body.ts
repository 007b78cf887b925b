// Finds the end of a chunked body in bytes as they pass, validating every byte of its framing (RFC 9112 §7.1).
import { isTokenCode } from './h1-fields.ts';
import { Framing } from './h1-head.ts';

/** Hexadecimal digits of one chunk's size: more than 2^53 is nobody's chunk. */
const MAX_SIZE_DIGITS = 16;
/** Chunk extensions of a whole body: nobody uses them, and unbounded ones have cost others dear (CVE-2024-22019). */
const MAX_EXTENSION_BYTES = 16_384;
/** A trailer section, with the field lines in it. */
const MAX_TRAILER_BYTES = 16_384;

const State = {
  SizeStart: 0,
  Size: 1,
  SizeLf: 2,
  Data: 3,
  DataCr: 4,
  DataLf: 5,
  ExtensionNameStart: 6,
  ExtensionName: 7,
  ExtensionValueStart: 8,
  ExtensionValue: 9,
  ExtensionQuoted: 10,
  ExtensionEscape: 11,
  ExtensionEnd: 12,
  Trailer: 13,
  Done: 14,
  Failed: 15,
} as const;

/**
 * The state of one chunked body. Framing passes as it came up to the trailer section, which is held back until
 * it is whole: `trailerText`.
 */
export class ChunkedBody {
  #state: number = State.SizeStart;
  #digits = 0;
  #remaining = 0;
  #extensionBytes = 0;
  #trailer = '';
  /** How far the bytes given last may be sent on as they are. */
  passEnd = 0;
  /** Of the chunks so far, without what is around them. */
  dataBytes = 0;
  reasonCode = '';
  /** When set, the data of each chunk is noted here as `start, end, …`: for a receiver that knows no chunks. */
  ranges: number[] | undefined = undefined;

  reset(): void {
    this.#state = State.SizeStart;
    this.#digits = 0;
    this.#remaining = 0;
    this.#extensionBytes = 0;
    this.#trailer = '';
    this.passEnd = 0;
    this.dataBytes = 0;
    this.reasonCode = '';
    this.ranges = undefined;
  }

  get isDone(): boolean {
    return this.#state === State.Done;
  }

  get isFailed(): boolean {
    return this.#state === State.Failed;
  }

  /** What was held back, with the empty line that ends it; '' when all of it passed. */
  get trailerText(): string {
    return this.#trailer;
  }

  /** @returns where the body ends in `bytes`, or `bytes.length` when it goes on. */
  consume(bytes: Buffer, start: number): number {
    const end = bytes.length;
    let at = start;
    while (at < end && this.#state < State.Trailer) {
      if (this.#state === State.Data) at = this.#skipData(at, end);
      else {
        this.#step(bytes[at] ?? 0);
        at++;
      }
    }
    this.passEnd = at;
    if (this.#state !== State.Trailer) return at;
    if (this.#trailer === '' && bytes[at] === 0x0d && bytes[at + 1] === 0x0a) {
      this.#state = State.Done;
      this.passEnd = at + 2;
      return this.passEnd;
    }
    return this.#readTrailer(bytes, at);
  }

  #skipData(at: number, end: number): number {
    const taken = Math.min(this.#remaining, end - at);
    this.ranges?.push(at, at + taken);
    this.#remaining -= taken;
    this.dataBytes += taken;
    if (this.#remaining === 0) this.#state = State.DataCr;
    return at + taken;
  }

  #step(code: number): void {
    switch (this.#state) {
      case State.SizeStart:
      case State.Size:
        this.#stepSize(code);
        return;
      case State.SizeLf:
        if (code !== 0x0a) this.#fail('chunk-bare-cr');
        else this.#state = this.#remaining === 0 ? State.Trailer : State.Data;
        return;
      case State.DataCr:
        if (code === 0x0d) this.#state = State.DataLf;
        else this.#fail('chunk-without-end');
        return;
      case State.DataLf:
        if (code !== 0x0a) this.#fail('chunk-without-end');
        else {
          this.#state = State.SizeStart;
          this.#digits = 0;
        }
        return;
      default:
        if (++this.#extensionBytes > MAX_EXTENSION_BYTES) this.#fail('chunk-extensions-too-large');
        else this.#stepExtension(code);
    }
  }

  /** `;name`, `;name=token` or `;name="text"`, without the blanks that RFC 9112 tolerates. */
  #stepExtension(code: number): void {
    const state = this.#state;
    if (state === State.ExtensionQuoted || state === State.ExtensionEscape) {
      if (code !== 0x09 && (code < 0x20 || code > 0x7e)) this.#fail('chunk-extension-bad');
      else if (state === State.ExtensionEscape) this.#state = State.ExtensionQuoted;
      else if (code === 0x5c) this.#state = State.ExtensionEscape;
      else if (code === 0x22) this.#state = State.ExtensionEnd;
      return;
    }
    if (isTokenCode(code) && state !== State.ExtensionEnd) {
      if (state === State.ExtensionNameStart) this.#state = State.ExtensionName;
      else if (state === State.ExtensionValueStart) this.#state = State.ExtensionValue;
      return;
    }
    const isWhole = state !== State.ExtensionNameStart && state !== State.ExtensionValueStart;
    if (code === 0x0d && isWhole) this.#state = State.SizeLf;
    else if (code === 0x3b && isWhole) this.#state = State.ExtensionNameStart;
    else if (code === 0x3d && state === State.ExtensionName) {
      this.#state = State.ExtensionValueStart;
    } else if (code === 0x22 && state === State.ExtensionValueStart) {
      this.#state = State.ExtensionQuoted;
    } else this.#fail('chunk-extension-bad');
  }

  #stepSize(code: number): void {
    const digit = hexDigit(code);
    if (digit !== -1) {
      this.#remaining = this.#remaining * 16 + digit;
      this.#state = State.Size;
      if (++this.#digits > MAX_SIZE_DIGITS || this.#remaining > Number.MAX_SAFE_INTEGER) {
        this.#fail('chunk-size-too-large');
      }
    } else if (this.#state === State.SizeStart) this.#fail('chunk-size-bad');
    else if (code === 0x0d) this.#state = State.SizeLf;
    else if (code === 0x3b) this.#state = State.ExtensionNameStart;
    else this.#fail('chunk-size-bad');
  }

  #readTrailer(bytes: Buffer, start: number): number {
    let at = start;
    while (at < bytes.length) {
      const lf = bytes.indexOf(0x0a, at);
      const stop = lf === -1 ? bytes.length : lf + 1;
      if (this.#trailer.length + stop - at > MAX_TRAILER_BYTES) {
        this.#fail('trailers-too-large');
        return at;
      }
      this.#trailer += bytes.toString('latin1', at, stop);
      at = stop;
      if (lf === -1) return at;
      if (this.#trailer === '\r\n' || this.#trailer.endsWith('\r\n\r\n')) {
        this.#state = State.Done;
        return at;
      }
      if (!this.#trailer.endsWith('\r\n')) {
        this.#fail('bare-lf');
        return at;
      }
    }
    return at;
  }

  #fail(reasonCode: string): void {
    this.#state = State.Failed;
    this.reasonCode = reasonCode;
  }
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** One body of either direction: how many of the bytes that came belong to it, and what may be sent on. */
export class Body {
  #framing: number = Framing.None;
  #remaining = 0;
  readonly #chunked = new ChunkedBody();
  isDone = true;
  /** How far the bytes given last may be sent on as they are. */
  passEnd = 0;

  begin(framing: number, contentLength: number): void {
    this.#framing = framing;
    this.#remaining = contentLength;
    this.isDone = framing === Framing.None || (framing === Framing.Length && contentLength === 0);
    if (framing === Framing.Chunked) this.#chunked.reset();
  }

  /** From now on chunk data is noted in `ranges`. */
  unwrapChunks(): void {
    if (this.#framing === Framing.Chunked) this.#chunked.ranges = [];
  }

  get ranges(): number[] | undefined {
    return this.#framing === Framing.Chunked ? this.#chunked.ranges : undefined;
  }

  get isChunked(): boolean {
    return this.#framing === Framing.Chunked;
  }

  /** Of chunks: what was in them. */
  get chunkedBytes(): number {
    return this.#chunked.dataBytes;
  }

  get isUntilClose(): boolean {
    return this.#framing === Framing.UntilClose;
  }

  /** Bytes that must still come; 0 when nobody knows. */
  get remaining(): number {
    return this.#remaining;
  }

  /** Why the body is not one; '' when all is well. */
  get reasonCode(): string {
    return this.#framing === Framing.Chunked ? this.#chunked.reasonCode : '';
  }

  /** The trailer section as it came; '' when there is none. */
  get trailerText(): string {
    return this.#framing === Framing.Chunked ? this.#chunked.trailerText : '';
  }

  /** @returns where the body ends in `bytes`, or `bytes.length` when it goes on. */
  consume(bytes: Buffer, start: number): number {
    if (this.#framing === Framing.Chunked) {
      const end = this.#chunked.consume(bytes, start);
      this.passEnd = this.#chunked.passEnd;
      this.isDone = this.#chunked.isDone;
      return end;
    }
    let end = bytes.length;
    if (this.#framing === Framing.Length) {
      end = Math.min(end, start + this.#remaining);
      this.#remaining -= end - start;
      this.isDone = this.#remaining === 0;
    }
    this.passEnd = end;
    return end;
  }
}
