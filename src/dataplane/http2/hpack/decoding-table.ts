// The dynamic table of a decoder: the newest entries, within a size in bytes that the peer chooses below ours.
import { DEFAULT_TABLE_BYTES, ENTRY_OVERHEAD_BYTES } from './static-table.ts';

const INITIAL_SLOTS = 16;

/** A ring; what is evicted is let go of at once, so that a table never holds more than its size. */
export class DecodingTable {
  #names: string[] = [];
  #values: string[] = [];
  #marks = new Uint8Array(INITIAL_SLOTS);
  #mask = INITIAL_SLOTS - 1;
  #newest = 0;
  #count = 0;
  #bytes = 0;
  #maxBytes = DEFAULT_TABLE_BYTES;

  constructor() {
    this.#grow(INITIAL_SLOTS);
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @param index from 0, the newest, below `count`. @returns what the getters below take. */
  slot(index: number): number {
    return (this.#newest - index) & this.#mask;
  }

  name(slot: number): string {
    return this.#names[slot] ?? '';
  }

  value(slot: number): string {
    return this.#values[slot] ?? '';
  }

  mark(slot: number): number {
    return this.#marks[slot] ?? 0;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evict(0);
  }

  /** An entry larger than the table empties it (RFC 7541 §4.4). */
  insert(name: string, value: string, mark: number): void {
    const size = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.#evict(size);
    if (size > this.#maxBytes) return;
    if (this.#count > this.#mask) this.#grow((this.#mask + 1) * 2);
    const slot = (this.#newest + 1) & this.#mask;
    this.#newest = slot;
    this.#names[slot] = name;
    this.#values[slot] = value;
    this.#marks[slot] = mark;
    this.#count++;
    this.#bytes += size;
  }

  #evict(needed: number): void {
    while (this.#count > 0 && this.#bytes + needed > this.#maxBytes) {
      const oldest = this.slot(this.#count - 1);
      this.#bytes -= this.name(oldest).length + this.value(oldest).length + ENTRY_OVERHEAD_BYTES;
      this.#names[oldest] = '';
      this.#values[oldest] = '';
      this.#count--;
    }
  }

  /** Oldest first, so that the ring begins at slot 0. */
  #grow(slots: number): void {
    const names = Array<string>(slots).fill('');
    const values = Array<string>(slots).fill('');
    const marks = new Uint8Array(slots);
    for (let at = 0; at < this.#count; at++) {
      const from = this.slot(this.#count - 1 - at);
      names[at] = this.name(from);
      values[at] = this.value(from);
      marks[at] = this.mark(from);
    }
    this.#names = names;
    this.#values = values;
    this.#marks = marks;
    this.#mask = slots - 1;
    this.#newest = (this.#count - 1) & this.#mask;
  }
}
