// Encodes header lists for one connection (RFC 7541): what repeats goes into the table, secrets and what never repeats do not.
import {
  GUESSABLE_COOKIE_CHARACTERS,
  Indexing,
  NameRecord,
  type TableEntry,
} from './name-records.ts';
import { DEFAULT_TABLE_BYTES, DYNAMIC_START, ENTRY_OVERHEAD_BYTES } from './static-table.ts';

/** Records of names, whether in the table or not; names are the peers' choice. */
const MAX_NAMES = 256;
/** Values of one name in the table: they are searched one by one. */
const MAX_VALUES = 32;
/** Two updates of the table's size, each of at most six bytes. */
const UPDATES_BYTES = 12;
/** Of one field: its first integer, and the lengths of name and value. */
const FIELD_BYTES = 18;

const INDEXED = 0x80;
const WITH_INDEXING = 0x40;
const SIZE_UPDATE = 0x20;
const NEVER_INDEXED = 0x10;
const WITHOUT_INDEXING = 0x00;

/**
 * Regular expressions have no place on this path but here: for a string of one-byte characters, as headers are, this
 * one is decided without looking at them (9 ns; a loop over the characters takes 60 for 36 of them). Characters
 * beyond would be cut to their low byte, and U+010A would end a line.
 */
const BEYOND_BYTE = /[^\0-\xff]/;

/** One direction of one connection. */
export class HpackEncoder {
  readonly #recordByName = new Map<string, NameRecord>();
  readonly #ownMaxBytes: number;
  /** The dynamic table, oldest first, from `#oldest` on. */
  #entries: (TableEntry | undefined)[] = [];
  #oldest = 0;
  #inserted = 0;
  #tableBytes = 0;
  #maxBytes = DEFAULT_TABLE_BYTES;
  /** The smallest size since the last block, when the next one must say so. */
  #smallest: number | undefined;
  #out = Buffer.alloc(0);

  constructor(options: { readonly maxTableBytes?: number } = {}) {
    this.#ownMaxBytes = options.maxTableBytes ?? DEFAULT_TABLE_BYTES;
    this.setPeerTableBytes(DEFAULT_TABLE_BYTES);
  }

  /** @param bytes the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells it what we use of that. */
  setPeerTableBytes(bytes: number): void {
    const maxBytes = Math.min(bytes, this.#ownMaxBytes);
    if (maxBytes === this.#maxBytes) return;
    this.#maxBytes = maxBytes;
    this.#smallest = Math.min(maxBytes, this.#smallest ?? maxBytes);
    this.#evict(0);
  }

  /** @returns a view that is good until the next call. */
  encode(raw: readonly string[], neverIndexed?: readonly number[]): Uint8Array {
    const bound = HpackEncoder.boundOf(raw);
    if (this.#out.length < bound) this.#out = Buffer.alloc(bound * 2);
    return this.#out.subarray(0, this.encodeInto(this.#out, 0, raw, neverIndexed));
  }

  /** How many bytes a list takes at most. */
  static boundOf(raw: readonly string[]): number {
    let bytes = UPDATES_BYTES;
    for (let at = 0; at < raw.length; at++) bytes += (raw[at] ?? '').length;
    return bytes + raw.length * (FIELD_BYTES / 2);
  }

  /**
   * Writes a block at `at`, where there must be room for `boundOf(raw)` bytes.
   * @param raw names in lower case, pseudo-headers first; `[name, value, …]`
   * @param neverIndexed positions of fields that must not be put into any table
   * @returns where it ends
   */
  encodeInto(
    out: Buffer,
    at: number,
    raw: readonly string[],
    neverIndexed?: readonly number[],
  ): number {
    let end = this.#smallest === undefined ? at : this.#writeUpdates(out, at, this.#smallest);
    for (let field = 0; field + 1 < raw.length; field += 2) {
      const name = raw[field] ?? '';
      const value = raw[field + 1] ?? '';
      const record = this.#recordByName.get(name) ?? this.#newRecord(name);
      end =
        neverIndexed !== undefined && neverIndexed.includes(field >>> 1)
          ? this.#writeLiteral(out, end, NEVER_INDEXED, record, value)
          : this.#writeField(out, end, record, value);
    }
    return end;
  }

  #writeField(out: Buffer, at: number, record: NameRecord, value: string): number {
    const { indexing, entries } = record;
    if (
      indexing === Indexing.Never ||
      (indexing === Indexing.NeverShort && value.length < GUESSABLE_COOKIE_CHARACTERS)
    ) {
      return this.#writeLiteral(out, at, NEVER_INDEXED, record, value);
    }
    for (let index = entries.length - 1; index >= 0; index--) {
      const entry = entries[index];
      if (entry === undefined || entry.value !== value) continue;
      record.earn();
      return writeInteger(out, at, INDEXED, 0x7f, this.#indexOf(entry));
    }
    const match = record.staticMatch(value);
    if (match !== 0) return writeInteger(out, at, INDEXED, 0x7f, match);
    if (!this.#isWorthAnEntry(record, value)) {
      return this.#writeLiteral(out, at, WITHOUT_INDEXING, record, value);
    }
    const end = this.#writeLiteral(out, at, WITH_INDEXING, record, value);
    this.#insert(record, value);
    return end;
  }

  #isWorthAnEntry(record: NameRecord, value: string): boolean {
    const size = record.name.length + value.length + ENTRY_OVERHEAD_BYTES;
    /** An entry of half the table would drive out everything else. */
    if (size > this.#maxBytes >>> 1 || record.entries.length >= MAX_VALUES) return false;
    if (!this.#recordByName.has(record.name)) return false;
    /** So that at least the name is an index from now on. */
    if (record.staticIndex === 0 && record.entries.length === 0) return true;
    if (record.indexing === Indexing.NameOnly) return false;
    /** A query makes a path another each time. */
    if (record.name === ':path' && value.includes('?')) return false;
    return record.spend();
  }

  #indexOf(entry: TableEntry): number {
    return DYNAMIC_START + this.#inserted - 1 - entry.sequence;
  }

  #writeLiteral(out: Buffer, at: number, kind: number, record: NameRecord, value: string): number {
    const prefix = kind === WITH_INDEXING ? 0x3f : 0x0f;
    const newest = record.entries.at(-1);
    const index =
      record.staticIndex === 0 && newest !== undefined ? this.#indexOf(newest) : record.staticIndex;
    let end = writeInteger(out, at, kind, prefix, index);
    if (index === 0) end = writeString(out, end, record.name);
    return writeString(out, end, value);
  }

  #insert(record: NameRecord, value: string): void {
    const size = record.name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.#evict(size);
    const entry: TableEntry = { record, value, sequence: this.#inserted++ };
    record.entries.push(entry);
    this.#entries.push(entry);
    this.#tableBytes += size;
  }

  #evict(needed: number): void {
    while (this.#tableBytes + needed > this.#maxBytes) {
      const entry = this.#entries[this.#oldest];
      if (entry === undefined) return;
      this.#entries[this.#oldest++] = undefined;
      this.#tableBytes -= entry.record.name.length + entry.value.length + ENTRY_OVERHEAD_BYTES;
      /** The oldest of the table is the oldest of its name. */
      entry.record.entries.shift();
    }
    if (this.#oldest > 64 && this.#oldest * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#oldest);
      this.#oldest = 0;
    }
  }

  /** Names are the peers' choice: when there are many, those without an entry are forgotten, and no more are learned. */
  #newRecord(name: string): NameRecord {
    const record = new NameRecord(name);
    if (this.#recordByName.size >= MAX_NAMES) this.#forget();
    if (this.#recordByName.size < MAX_NAMES) this.#recordByName.set(name, record);
    return record;
  }

  #forget(): void {
    for (const [name, record] of this.#recordByName) {
      if (record.entries.length === 0) this.#recordByName.delete(name);
    }
  }

  #writeUpdates(out: Buffer, at: number, smallest: number): number {
    this.#smallest = undefined;
    const end = smallest < this.#maxBytes ? writeInteger(out, at, SIZE_UPDATE, 0x1f, smallest) : at;
    return writeInteger(out, end, SIZE_UPDATE, 0x1f, this.#maxBytes);
  }
}

/** @param prefix the mask of the bits that the first byte has for it. */
function writeInteger(
  out: Buffer,
  at: number,
  kind: number,
  prefix: number,
  value: number,
): number {
  let end = at;
  if (value < prefix) {
    out[end++] = kind | value;
    return end;
  }
  out[end++] = kind | prefix;
  let rest = value - prefix;
  for (; rest >= 0x80; rest >>>= 7) out[end++] = (rest & 0x7f) | 0x80;
  out[end++] = rest;
  return end;
}

/**
 * Plain: Huffman's code would save a fifth of the bytes of what is in no table, and cost both sides 40 times what
 * plain bytes do (800 characters: 10 µs to write and 4 to read, for 0.2).
 */
function writeString(out: Buffer, at: number, text: string): number {
  const bytes = BEYOND_BYTE.test(text) ? withoutBeyond(text) : text;
  const end = writeInteger(out, at, 0, 0x7f, bytes.length);
  return end + out.write(bytes, end, 'latin1');
}

function withoutBeyond(text: string): string {
  let bytes = '';
  for (let at = 0; at < text.length; at++) {
    bytes += text.charCodeAt(at) > 0xff ? '?' : text.charAt(at);
  }
  return bytes;
}
