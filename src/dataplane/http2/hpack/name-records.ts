// What an encoder knows of header names: where the static table has them, and whether their values may or should be kept in tables.
import { STATIC_NAMES, STATIC_VALUES } from './static-table.ts';

/** How the values of a name are sent. */
export const Indexing = {
  /** Into the table, as long as they come again. */
  WhenRepeated: 0,
  /** Never the same twice: only the name goes into the table. */
  NameOnly: 1,
  /** Secrets: in no table, here or further on (RFC 7541 §7.1.3). */
  Never: 2,
  /** A secret when it is short enough to be guessed byte by byte through what it compresses to. */
  NeverShort: 3,
} as const;

/** Cookies shorter than this can be guessed. */
export const GUESSABLE_COOKIE_CHARACTERS = 20;

const NEVER = ['authorization', 'proxy-authorization', 'set-cookie'];
const NAME_ONLY = [
  'age',
  'b3',
  'content-length',
  'content-range',
  'date',
  'etag',
  'expires',
  'grpc-timeout',
  'if-modified-since',
  'if-none-match',
  'last-modified',
  'location',
  'traceparent',
  'tracestate',
  'x-b3-spanid',
  'x-b3-traceid',
  'x-request-id',
];
const INDEXING_BY_NAME: ReadonlyMap<string, number> = new Map([
  ...NEVER.map((name) => [name, Indexing.Never] as const),
  ...NAME_ONLY.map((name) => [name, Indexing.NameOnly] as const),
  ['cookie', Indexing.NeverShort],
]);

const FIRST_STATIC = new Map<string, number>();
for (let index = STATIC_NAMES.length - 1; index > 0; index--) {
  FIRST_STATIC.set(STATIC_NAMES[index] ?? '', index);
}

/** An entry of the encoder's dynamic table. */
export interface TableEntry {
  readonly record: NameRecord;
  readonly value: string;
  /** How many entries were made before it. */
  readonly sequence: number;
}

/** Credit of a name whose values have not been seen to repeat: so many are tried. */
const INITIAL_CREDIT = 8;
const MAX_CREDIT = 32;
/** After so many values that were not put into the table, one is tried again. */
const RETRY_AFTER = 64;

/** One name, as one encoder has seen it. */
export class NameRecord {
  readonly name: string;
  /** 0 where the static table has no such name. */
  readonly staticIndex: number;
  readonly indexing: number;
  /** Those in the dynamic table, oldest first. */
  readonly entries: TableEntry[] = [];
  #credit = INITIAL_CREDIT;
  #skipped = 0;

  constructor(name: string) {
    this.name = name;
    this.staticIndex = FIRST_STATIC.get(name) ?? 0;
    this.indexing = INDEXING_BY_NAME.get(name) ?? Indexing.WhenRepeated;
  }

  /** @returns the index of name and value in the static table, or 0. */
  staticMatch(value: string): number {
    let index = this.staticIndex;
    if (index === 0 || value === '') return index !== 0 && STATIC_VALUES[index] === '' ? index : 0;
    for (; STATIC_NAMES[index] === this.name; index++) {
      if (STATIC_VALUES[index] === value) return index;
    }
    return 0;
  }

  /** A value was found in the dynamic table. */
  earn(): void {
    if (this.#credit < MAX_CREDIT) this.#credit++;
  }

  /**
   * Whether a value that was not found is worth an entry: a name whose values do not repeat would drive out of the
   * table what does.
   */
  spend(): boolean {
    if (this.#credit > 0) {
      this.#credit--;
      return true;
    }
    if (++this.#skipped < RETRY_AFTER) return false;
    this.#skipped = 0;
    return true;
  }
}
