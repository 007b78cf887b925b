// Writes HTTP/2 frames of one connection into buffers, until everything that one turn produced is taken out at once.
import { ERROR, FLAG, FRAME, FRAME_HEAD_BYTES, MAX_FRAME_BYTES, PREFACE } from './frames.ts';
import type { Fields } from './h2-stream.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import { OUTPUT_BUFFER_BYTES, type OutputBuffers } from './output-buffers.ts';

/** Longer payloads go out as the bytes they came in: from here on a copy costs more than a piece more in the write. */
const MAX_COPIED_BYTES = 4_096;

/** A quarter of a buffer: the rest of the one before it is left empty. */
const MAX_ENCODED_IN_PLACE = OUTPUT_BUFFER_BYTES / 4;

const NO_BUFFER = Buffer.alloc(0);

/** Pieces in their order, and the buffers to be given back once the last has been written. */
export interface Output {
  readonly pieces: readonly Buffer[];
  readonly lent: readonly Buffer[];
  readonly bytes: number;
}

export class FrameWriter {
  readonly #buffers: OutputBuffers;
  #pieces: Buffer[] = [];
  #lent: Buffer[] = [];
  #buffer: Buffer = NO_BUFFER;
  /** Where in the buffer the bytes begin that are in no piece yet, and where they end. */
  #from = 0;
  #at = 0;
  #pendingBytes = 0;

  constructor(buffers: OutputBuffers) {
    this.#buffers = buffers;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  preface(): void {
    this.#copy(PREFACE);
  }

  /** @param settings `[setting, value, …]`. */
  settings(settings: readonly number[]): void {
    const bytes = (settings.length / 2) * 6;
    let at = this.#begin(bytes, FRAME.settings, 0, 0);
    for (let index = 0; index + 1 < settings.length; index += 2) {
      at = this.#buffer.writeUInt16BE(settings[index] ?? 0, at);
      at = this.#buffer.writeUInt32BE(settings[index + 1] ?? 0, at);
    }
    this.#end(at);
  }

  settingsAck(): void {
    this.#end(this.#begin(0, FRAME.settings, FLAG.ack, 0));
  }

  pingAck(payload: Buffer): void {
    const at = this.#begin(8, FRAME.ping, FLAG.ack, 0);
    this.#end(at + payload.copy(this.#buffer, at, 0, 8));
  }

  goaway(lastStreamId: number, code: number, reason: string): void {
    const text = code === ERROR.none ? '' : reason;
    const bytes = 8 + text.length;
    const at = this.#begin(bytes, FRAME.goaway, 0, 0);
    this.#buffer.writeUInt32BE(lastStreamId, at);
    this.#buffer.writeUInt32BE(code, at + 4);
    this.#end(at + 8 + this.#buffer.write(text, at + 8, 'latin1'));
  }

  reset(streamId: number, code: number): void {
    const at = this.#begin(4, FRAME.reset, 0, streamId);
    this.#end(this.#buffer.writeUInt32BE(code, at));
  }

  windowUpdate(streamId: number, increment: number): void {
    const at = this.#begin(4, FRAME.windowUpdate, 0, streamId);
    this.#end(this.#buffer.writeUInt32BE(increment, at));
  }

  /**
   * A block that its encoder writes where it is sent from; a long one is copied there.
   * @param encoder whose table is the peer's.
   */
  fields(
    encoder: HpackEncoder,
    streamId: number,
    { raw, neverIndexed }: Fields,
    isEndStream: boolean,
  ): void {
    const bound = HpackEncoder.boundOf(raw);
    if (bound > MAX_ENCODED_IN_PLACE) {
      this.headers(streamId, encoder.encode(raw, neverIndexed), isEndStream);
      return;
    }
    const buffer = this.#withRoom(FRAME_HEAD_BYTES + bound);
    const at = this.#at;
    const end = encoder.encodeInto(buffer, at + FRAME_HEAD_BYTES, raw, neverIndexed);
    const flags = FLAG.endHeaders | (isEndStream ? FLAG.endStream : 0);
    this.#begin(end - at - FRAME_HEAD_BYTES, FRAME.headers, flags, streamId);
    this.#end(end);
  }

  /** @param block is copied. */
  headers(streamId: number, block: Uint8Array, isEndStream: boolean): void {
    const end = isEndStream ? FLAG.endStream : 0;
    if (block.length <= MAX_FRAME_BYTES) {
      this.#end(this.#begin(block.length, FRAME.headers, end | FLAG.endHeaders, streamId));
      this.#copy(block);
      return;
    }
    for (let at = 0; at < block.length; at += MAX_FRAME_BYTES) {
      const part = block.subarray(at, at + MAX_FRAME_BYTES);
      const isLast = at + part.length === block.length;
      const type = at === 0 ? FRAME.headers : FRAME.continuation;
      const flags = (at === 0 ? end : 0) | (isLast ? FLAG.endHeaders : 0);
      this.#end(this.#begin(part.length, type, flags, streamId));
      this.#copy(part);
    }
  }

  /** @param payload of one frame at most; a long one is kept as it is until it is written. */
  data(streamId: number, payload: Buffer, isEndStream: boolean): void {
    const flags = isEndStream ? FLAG.endStream : 0;
    this.#end(this.#begin(payload.length, FRAME.data, flags, streamId));
    if (payload.length <= MAX_COPIED_BYTES) {
      this.#copy(payload);
      return;
    }
    this.#cutPiece();
    this.#pieces.push(payload);
    this.#pendingBytes += payload.length;
  }

  /** All that was written since it was taken last. */
  take(): Output {
    this.#cutPiece();
    const output = { pieces: this.#pieces, lent: this.#lent, bytes: this.#pendingBytes };
    this.#pieces = [];
    this.#lent = [];
    this.#buffer = NO_BUFFER;
    this.#from = 0;
    this.#at = 0;
    this.#pendingBytes = 0;
    return output;
  }

  /**
   * Writes a frame's head. What every frame but HEADERS and DATA carries fits the same buffer after it.
   * @returns where the payload goes.
   */
  #begin(length: number, type: number, flags: number, streamId: number): number {
    const isLong = type === FRAME.headers || type === FRAME.continuation || type === FRAME.data;
    const buffer = this.#withRoom(FRAME_HEAD_BYTES + (isLong ? 0 : length));
    const at = this.#at;
    buffer.writeUInt32BE(((length << 8) | type) >>> 0, at);
    buffer[at + 4] = flags;
    buffer.writeUInt32BE(streamId, at + 5);
    return at + FRAME_HEAD_BYTES;
  }

  #end(at: number): void {
    this.#pendingBytes += at - this.#at;
    this.#at = at;
  }

  #withRoom(bytes: number): Buffer {
    const buffer = this.#buffer;
    if (buffer.length - this.#at >= bytes) return buffer;
    return this.#nextBuffer();
  }

  #nextBuffer(): Buffer {
    this.#cutPiece();
    const buffer = this.#buffers.take();
    this.#lent.push(buffer);
    this.#buffer = buffer;
    this.#from = 0;
    this.#at = 0;
    return buffer;
  }

  #cutPiece(): void {
    if (this.#at > this.#from) {
      this.#pieces.push(this.#buffer.subarray(this.#from, this.#at));
      this.#from = this.#at;
    }
  }

  #copy(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length) {
      const buffer = this.#withRoom(1);
      const part = Math.min(bytes.length - from, OUTPUT_BUFFER_BYTES - this.#at);
      const isWhole = from === 0 && part === bytes.length;
      buffer.set(isWhole ? bytes : bytes.subarray(from, from + part), this.#at);
      this.#end(this.#at + part);
      from += part;
    }
  }
}
