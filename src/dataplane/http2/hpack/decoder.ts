// Decodes the header blocks of one connection (RFC 7541), strictly and within bounds: whatever is wrong ends the connection.
import { markOf } from '../field-marks.ts';
import { DecodingTable } from './decoding-table.ts';
import { decodeHuffman } from './huffman.ts';
import {
  DEFAULT_TABLE_BYTES,
  DYNAMIC_START,
  ENTRY_OVERHEAD_BYTES,
  STATIC_NAMES,
  STATIC_VALUES,
} from './static-table.ts';

/** A list of fields, in order. */
export interface DecodedFields {
  readonly ok: true;
  /** `[name, value, name, value, …]`, each character a byte. */
  readonly raw: string[];
  /** What `markOf` says of each field; good until the next block is decoded. */
  readonly marks: Uint8Array;
  /** Positions of fields that came never-indexed: who sends them on must not index them either (RFC 7541 §7.1.3). */
  readonly neverIndexed: readonly number[] | undefined;
  /** Whether there was more than is kept. The rest has been decoded nevertheless, so that the table is in step. */
  readonly isTooLarge: boolean;
}

export type DecodedList =
  | DecodedFields
  /** COMPRESSION_ERROR: the connection ends. */
  | { readonly ok: false; readonly reasonCode: string };

export interface HpackDecoderOptions {
  /** What our SETTINGS_HEADER_TABLE_SIZE says; default 4,096. */
  readonly maxTableBytes?: number;
  /** As SETTINGS_MAX_HEADER_LIST_SIZE counts: 32 more for each field. */
  readonly maxListBytes: number;
  readonly maxFields: number;
}

/** More than any block holds; so that five bytes cannot overflow. */
const MAX_INTEGER = 2 ** 31 - 1;
const MAX_INTEGER_BYTES = 5;

const STATIC_MARKS = Uint8Array.from(STATIC_NAMES, (name, index) =>
  markOf(name, STATIC_VALUES[index] ?? ''),
);

/** Where Huffman codes are unpacked; shared, for nothing waits in between. */
let unpacked = Buffer.alloc(1_024);
/** Where a list grows, to be copied once its length is known: arrays that grow are made anew again and again. */
const growing: string[] = [];

/** One direction of one connection. */
export class HpackDecoder {
  readonly #table = new DecodingTable();
  readonly #maxTableBytes: number;
  readonly #maxListBytes: number;
  readonly #maxFields: number;
  readonly #marks: Uint8Array;
  #bytes: Buffer = unpacked;
  #at = 0;
  #end = 0;
  /** The field that was read last. */
  #name = '';
  #value = '';
  #mark = 0;
  /** How many bytes the list has come to. */
  #size = 0;
  #problem = '';

  constructor(options: HpackDecoderOptions) {
    this.#maxTableBytes = options.maxTableBytes ?? DEFAULT_TABLE_BYTES;
    this.#maxListBytes = options.maxListBytes;
    this.#maxFields = options.maxFields;
    this.#marks = new Uint8Array(options.maxFields);
  }

  /** @param bytes hold a whole block, continuations included, from `start` to `end`; nothing of it is kept. */
  decode(bytes: Buffer, start = 0, end: number = bytes.length): DecodedList {
    let kept = 0;
    let neverIndexed: number[] | undefined;
    let fields = 0;
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#size = 0;
    this.#problem = '';
    while (this.#at < end) {
      const first = bytes[this.#at] ?? 0;
      if ((first & 0xe0) === 0x20) {
        if (fields > 0) return this.#fail('hpack-update-after-field');
        this.#readUpdate();
      } else {
        if ((first & 0x80) !== 0) this.#readIndexed();
        else this.#readLiteral(first);
        fields++;
      }
      if (this.#problem !== '') return this.#fail(this.#problem);
      if (fields === 0 || this.#isFull(fields)) continue;
      growing[kept++] = this.#name;
      growing[kept++] = this.#value;
      this.#marks[fields - 1] = this.#mark;
      if ((first & 0xf0) === 0x10) (neverIndexed ??= []).push(fields - 1);
    }
    this.#bytes = unpacked;
    const isTooLarge = this.#isFull(fields);
    const raw = growing.slice(0, kept);
    return { ok: true, raw, marks: this.#marks, neverIndexed, isTooLarge };
  }

  #isFull(fields: number): boolean {
    return this.#size > this.#maxListBytes || fields > this.#maxFields;
  }

  #fail(reasonCode: string): DecodedList {
    this.#bytes = unpacked;
    return { ok: false, reasonCode };
  }

  /** What was wrong first counts. */
  #refuse(reasonCode: string): void {
    if (this.#problem === '') this.#problem = reasonCode;
  }

  #readUpdate(): void {
    const size = this.#readInteger(0x1f);
    if (size > this.#maxTableBytes) this.#refuse('hpack-table-too-large');
    else if (this.#problem === '') this.#table.resize(size);
  }

  #readIndexed(): void {
    const index = this.#readInteger(0x7f);
    if (index < DYNAMIC_START) {
      if (index === 0) this.#refuse('hpack-index');
      this.#name = STATIC_NAMES[index] ?? '';
      this.#value = STATIC_VALUES[index] ?? '';
      this.#mark = STATIC_MARKS[index] ?? 0;
    } else if (index - DYNAMIC_START >= this.#table.count) {
      this.#refuse('hpack-index');
    } else {
      const slot = this.#table.slot(index - DYNAMIC_START);
      this.#name = this.#table.name(slot);
      this.#value = this.#table.value(slot);
      this.#mark = this.#table.mark(slot);
    }
    this.#size += this.#name.length + this.#value.length + ENTRY_OVERHEAD_BYTES;
  }

  #readLiteral(first: number): void {
    const isIndexed = (first & 0x40) !== 0;
    const index = this.#readInteger(isIndexed ? 0x3f : 0x0f);
    if (index === 0) this.#name = this.#readString();
    else if (index < DYNAMIC_START) this.#name = STATIC_NAMES[index] ?? '';
    else if (index - DYNAMIC_START >= this.#table.count) this.#refuse('hpack-index');
    else this.#name = this.#table.name(this.#table.slot(index - DYNAMIC_START));
    if (this.#problem !== '') return;
    this.#value = this.#readString();
    if (this.#problem !== '') return;
    this.#size += this.#name.length + this.#value.length + ENTRY_OVERHEAD_BYTES;
    this.#mark = markOf(this.#name, this.#value);
    if (isIndexed) this.#table.insert(this.#name, this.#value, this.#mark);
  }

  /** @param prefix the mask of the bits of the first byte, which say it all unless all are ones. */
  #readInteger(prefix: number): number {
    const bytes = this.#bytes;
    let value = (bytes[this.#at++] ?? 0) & prefix;
    if (value < prefix) return value;
    let scale = 1;
    for (let read = 0; read < MAX_INTEGER_BYTES && this.#at < this.#end; read++) {
      const byte = bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > MAX_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    this.#refuse('hpack-integer');
    return 0;
  }

  #readString(): string {
    const bytes = this.#bytes;
    if (this.#at >= this.#end) {
      this.#refuse('hpack-truncated');
      return '';
    }
    const isHuffman = (bytes[this.#at] ?? 0) >= 0x80;
    const length = this.#readInteger(0x7f);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) this.#refuse('hpack-truncated');
    if (this.#problem !== '') return '';
    this.#at = end;
    if (length === 0) return '';
    if (!isHuffman) return bytes.toString('latin1', start, end);
    if (length * 2 > unpacked.length) unpacked = Buffer.alloc(length * 2);
    const decoded = decodeHuffman(bytes, start, end, unpacked);
    if (decoded === -1) this.#refuse('hpack-huffman');
    return decoded === -1 ? '' : unpacked.toString('latin1', 0, decoded);
  }
}
