// A map that is never changed and cheaply succeeded: its next version copies what changes, shares the rest, and two versions tell at once where they differ.

/** Entries of a shard in the mean: copying one costs about as much as hashing a name. */
const SHARD_SIZE = 16;
/** Shards are made anew when there are four times too few or too many. */
const SLACK = 4;

export interface Difference<V> {
  readonly key: string;
  /** Absent: it is new. */
  readonly before: V | undefined;
  /** Absent: it is gone. */
  readonly after: V | undefined;
}

export interface PersistentMapOptions<V> {
  /** In which order entries are walked; default by key. Looking up does not depend on it. */
  readonly compare?: (a: readonly [string, V], b: readonly [string, V]) => number;
  /** No two values of one key differ in what decides their place: an order that was found holds for other versions. */
  readonly isOrderOfKeys?: boolean;
}

type Shard<V> = ReadonlyMap<string, V>;

/**
 * Looking up and succeeding take time by the size of a change; walking over all puts them in order first, which is
 * done once for a version and only when somebody walks.
 */
export class PersistentMap<V> implements ReadonlyMap<string, V> {
  readonly size: number;
  readonly #shards: readonly Shard<V>[];
  readonly #options: PersistentMapOptions<V>;
  #ordered: ReadonlyMap<string, V> | undefined;
  /** As a version before had them that has the same ones. */
  #keys: readonly string[] | undefined;

  private constructor(shards: readonly Shard<V>[], size: number, options: PersistentMapOptions<V>) {
    this.#shards = shards;
    this.size = size;
    this.#options = options;
  }

  static from<V>(
    entries: Iterable<readonly [string, V]>,
    options: PersistentMapOptions<V> = {},
  ): PersistentMap<V> {
    const all = new Map(entries);
    return new PersistentMap(shardsOf(all, all.size), all.size, options);
  }

  get(key: string): V | undefined {
    return this.#shards[placeOf(key, this.#shards.length)]?.get(key);
  }

  has(key: string): boolean {
    return this.#shards[placeOf(key, this.#shards.length)]?.has(key) ?? false;
  }

  /** The next version: a value of `undefined` takes the entry out. @returns itself when that changes nothing. */
  with(changes: Iterable<readonly [string, V | undefined]>): PersistentMap<V> {
    const count = this.#shards.length;
    const touched = new Map<number, Map<string, V>>();
    let { size } = this;
    let hasSameKeys = this.#options.isOrderOfKeys === true;
    for (const [key, value] of changes) {
      const place = placeOf(key, count);
      const shard = touched.get(place) ?? this.#shards[place] ?? new Map<string, V>();
      const old = shard.get(key);
      if (old === value) continue;
      const own = touched.get(place) ?? new Map(shard);
      touched.set(place, own);
      if (old === undefined || value === undefined) hasSameKeys = false;
      if (old === undefined) size++;
      if (value !== undefined) own.set(key, value);
      else if (own.delete(key)) size--;
    }
    if (touched.size === 0) return this;
    const shards = this.#shards.map((shard, place) => touched.get(place) ?? shard);
    const isFitting = size <= count * SHARD_SIZE * SLACK && size * SLACK >= count * SHARD_SIZE;
    const fitting = isFitting || count === countOf(size) ? shards : shardsOf(each(shards), size);
    const next = new PersistentMap(fitting, size, this.#options);
    if (hasSameKeys) next.#keys = this.#orderOfKeys();
    return next;
  }

  /** What is other in the next version; what both share is not looked at. */
  *differencesTo(next: PersistentMap<V>): Iterable<Difference<V>> {
    const [mine, theirs] = [this.#shards, next.#shards];
    if (mine.length !== theirs.length) {
      yield* differencesOf(this, next);
      return;
    }
    for (let place = 0; place < mine.length; place++) {
      const [shard, other] = [mine[place], theirs[place]];
      if (shard === other || shard === undefined || other === undefined) continue;
      yield* differencesOf(shard, other);
    }
  }

  #orderOfKeys(): readonly string[] | undefined {
    if (this.#ordered !== undefined) this.#keys ??= [...this.#ordered.keys()];
    return this.#keys;
  }

  #order(): ReadonlyMap<string, V> {
    this.#ordered ??= new Map(this.#inOrder());
    return this.#ordered;
  }

  *#inOrder(): Iterable<readonly [string, V]> {
    if (this.#keys === undefined) {
      yield* [...each(this.#shards)].sort(this.#options.compare ?? byKey);
      return;
    }
    for (const key of this.#keys) {
      const value = this.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  forEach(run: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.#order()) run(value, key, this);
  }

  entries(): MapIterator<[string, V]> {
    return this.#order().entries();
  }

  keys(): MapIterator<string> {
    return this.#order().keys();
  }

  values(): MapIterator<V> {
    return this.#order().values();
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.#order().entries();
  }
}

/** Between any two maps; of two versions of a persistent one only what they do not share is walked over. */
export function differences<V>(
  before: ReadonlyMap<string, V>,
  after: ReadonlyMap<string, V>,
): Iterable<Difference<V>> {
  if (before === after) return [];
  const areVersions = before instanceof PersistentMap && after instanceof PersistentMap;
  return areVersions ? before.differencesTo(after) : differencesOf(before, after);
}

function* differencesOf<V>(
  before: ReadonlyMap<string, V>,
  after: ReadonlyMap<string, V>,
): Iterable<Difference<V>> {
  for (const [key, value] of before) {
    const other = after.get(key);
    if (other !== value) yield { key, before: value, after: other };
  }
  for (const [key, value] of after) {
    if (!before.has(key)) yield { key, before: undefined, after: value };
  }
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  if (a[0] === b[0]) return 0;
  return a[0] < b[0] ? -1 : 1;
}

function* each<V>(shards: readonly Shard<V>[]): Iterable<readonly [string, V]> {
  for (const shard of shards) yield* shard;
}

/** A power of two. */
function countOf(size: number): number {
  let count = 1;
  while (count * SHARD_SIZE < size) count *= 2;
  return count;
}

function shardsOf<V>(entries: Iterable<readonly [string, V]>, size: number): readonly Shard<V>[] {
  const count = countOf(size);
  const shards = Array.from({ length: count }, () => new Map<string, V>());
  for (const [key, value] of entries) shards[placeOf(key, count)]?.set(key, value);
  return shards;
}

/** FNV-1a over UTF-16 units. Keys of one shard are many at worst: it is a Map of them, and no list. */
function placeOf(key: string, count: number): number {
  if (count === 1) return 0;
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) {
    hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  }
  return (hash ^ (hash >>> 15)) & (count - 1);
}
