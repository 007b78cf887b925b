// Carries the state of a cluster forward: one object that came or went changes what is in force for its name alone.
import { isDeepStrictEqual } from 'node:util';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import type { Problem } from '@weft/model/problem';
import { PersistentMap } from '../persistent-map.ts';
import { type Entry, type Holder, resolve } from '../resolve.ts';
import type { ObjectOrigin, SourceState } from '../source.ts';
import type { ClusterName, ClusterObject, Restricting } from './read-cluster-object.ts';

/** Problems that are kept; who has more cannot read them either. */
const MAX_PROBLEMS = 10_000;
/** Weft's own resource gives the origin of a name that others use too. */
const OWN_GROUP = '.weft.dev';

/** What one list and its watch have brought, by place. */
export interface Shelf {
  readonly names: Map<string, ClusterName>;
}

export const emptyShelf = (): Shelf => ({ names: new Map() });

interface RestrictingEntry extends Entry {
  readonly id: string;
  readonly restricting: Restricting;
}

/** All objects of one key that restrict, and what came of them. */
interface Slot {
  readonly entries: Map<string, RestrictingEntry>;
  holder: Holder | undefined;
  /** Under how many keys of the snapshot it stands. */
  size: number;
}

export class ClusterState {
  /** Those of the state, and on top of them what has come and gone since. */
  #objects = PersistentMap.from<RegistryObject>([]);
  readonly #changes = new Map<string, RegistryObject | undefined>();
  readonly #slots = new Map<string, Slot>();
  readonly #problems = new Map<string, readonly Problem[]>();
  readonly #origins = new Map<string, ObjectOrigin>();
  /** Keys of slots. */
  readonly #unresolved = new Set<string>();
  #areProblemsNew = true;
  #areOriginsNew = true;
  /** Of objects, by their keys. */
  #sorted: readonly Problem[] = [];
  #others: readonly Problem[] = [];
  #state: SourceState & { readonly origins: ReadonlyMap<string, ObjectOrigin> } = {
    snapshot: { revision: 0, objects: new Map() },
    problems: [],
    origins: new Map(),
  };

  /** All that there is: what the shelf had and is not among them goes. */
  replace(shelf: Shelf, items: readonly ClusterObject[]): void {
    const present = new Set(items.map(({ place }) => place));
    // Deleting the one that is at hand does not disturb the walk over a Map.
    for (const name of shelf.names.values()) {
      if (!present.has(name.place)) this.remove(shelf, name);
    }
    for (const item of items) this.put(shelf, item);
  }

  put(shelf: Shelf, item: ClusterObject): void {
    const { id, key, place, restricting } = item;
    if (!shelf.names.has(place)) shelf.names.set(place, { id, key, place });
    if (restricting === undefined) this.#putPlain(item);
    else this.#putRestricting(item, restricting);
  }

  remove(shelf: Shelf, { key, place }: ClusterName): void {
    if (!shelf.names.delete(place)) return;
    const slot = this.#slots.get(key);
    if (slot === undefined) {
      this.#setObject(key, undefined);
      this.#setProblems(key, []);
      return;
    }
    this.#takeOut(slot, place);
    this.#unresolved.add(key);
  }

  /** @returns the same state when nothing has changed. `others`: what is wrong with reading the cluster itself. */
  advance(others: readonly Problem[]): SourceState {
    this.#resolveAll();
    const { snapshot, problems, origins } = this.#state;
    const next = {
      snapshot: this.#nextSnapshot(snapshot),
      problems: this.#nextProblems(problems, others),
      origins: this.#areOriginsNew ? new Map(this.#origins) : origins,
    };
    this.#areOriginsNew = false;
    const isSame =
      next.snapshot === snapshot && next.problems === problems && next.origins === origins;
    if (!isSame) this.#state = next;
    return this.#state;
  }

  #nextSnapshot(previous: Snapshot): Snapshot {
    this.#objects = this.#objects.with(this.#changes);
    this.#changes.clear();
    if (this.#objects === previous.objects) return previous;
    return { revision: previous.revision + 1, objects: this.#objects };
  }

  #nextProblems(previous: readonly Problem[], others: readonly Problem[]): readonly Problem[] {
    if (!this.#areProblemsNew && isDeepStrictEqual(others, this.#others)) return previous;
    this.#others = others;
    if (this.#areProblemsNew) {
      this.#areProblemsNew = false;
      this.#sorted = [...this.#problems.keys()]
        .sort()
        .flatMap((key) => this.#problems.get(key) ?? []);
    }
    const all = [...others, ...this.#sorted];
    if (all.length > MAX_PROBLEMS) {
      const message = `${all.length} problems were found, the first ${MAX_PROBLEMS} are shown`;
      all.length = MAX_PROBLEMS;
      all.push({ severity: 'error', code: 'too-many-problems', message });
    }
    return isDeepStrictEqual(previous, all) ? previous : all;
  }

  #putPlain({ key, place, ref, outcome, problems }: ClusterObject): void {
    const previous = this.#objectOf(key);
    const good = outcome.kind === 'good' ? kept(previous, outcome.object) : previous;
    const lastGood =
      outcome.kind === 'good' || previous !== undefined ? { object: good } : undefined;
    const before = previous && { place, good: { object: previous } };
    const { objects, problems: found } = resolve(
      [{ ref, place, outcome, lastGood, problems }],
      before,
    );
    this.#setObject(key, objects[0]);
    this.#setProblems(key, [...found, ...problems]);
  }

  #putRestricting(item: ClusterObject, restricting: Restricting): void {
    const { id, key, place, ref, outcome, problems } = item;
    const slot = this.#slots.get(key) ?? { entries: new Map(), holder: undefined, size: 0 };
    this.#slots.set(key, slot);
    // Another object of its name: what was good of the one before is no version of this one.
    if (slot.entries.get(place)?.restricting.uid !== restricting.uid) this.#takeOut(slot, place);
    const old = slot.entries.get(place)?.lastGood?.object;
    // A version that put nothing in force is none to fall back on: a broken one has to close.
    const before = old === undefined ? undefined : { object: old };
    const lastGood = outcome.kind === 'good' ? { object: kept(old, outcome.object) } : before;
    slot.entries.set(place, { id, ref, place, outcome, lastGood, problems, restricting });
    this.#unresolved.add(key);
  }

  #takeOut(slot: Slot, place: string): void {
    const entry = slot.entries.get(place);
    if (entry === undefined) return;
    slot.entries.delete(place);
    if (slot.holder?.place === place) slot.holder = undefined;
    if (this.#origins.delete(entry.id)) this.#areOriginsNew = true;
  }

  /** Once for all that came together: which of two came first decides nothing. */
  #resolveAll(): void {
    for (const key of this.#unresolved) {
      const slot = this.#slots.get(key);
      if (slot !== undefined) this.#resolve(key, slot);
    }
    this.#unresolved.clear();
  }

  #resolve(key: string, slot: Slot): void {
    const entries = [...slot.entries.values()].sort((a, b) => (a.place < b.place ? -1 : 1));
    const resolution = entries.length === 0 ? undefined : resolve(entries, holderOf(slot, entries));
    const objects = resolution?.objects ?? [];
    for (let index = 0; index < Math.max(slot.size, objects.length); index++) {
      const name = index === 0 ? key : `${key}#${index + 1}`;
      const object = objects[index];
      this.#setObject(name, object && kept(this.#objectOf(name), object));
    }
    slot.holder = resolution?.holder;
    slot.size = objects.length;
    const problems = resolution?.problems ?? [];
    this.#setProblems(key, [...problems, ...entries.flatMap((entry) => entry.problems)]);
    this.#setOrigins(entries, problems);
    if (entries.length === 0) this.#slots.delete(key);
  }

  #setOrigins(entries: readonly RestrictingEntry[], shared: readonly Problem[]): void {
    const own = entries.filter(({ restricting }) => restricting.resource.group.endsWith(OWN_GROUP));
    const others = entries.filter((entry) => !own.includes(entry));
    for (const { id, restricting, outcome, problems } of [...others, ...own]) {
      const { createdAtMs: _, ...origin } = restricting;
      const isGood = outcome.kind === 'good';
      const next = { ...origin, isGood, problems: [...shared, ...problems] };
      if (isDeepStrictEqual(this.#origins.get(id), next)) continue;
      this.#origins.set(id, next);
      this.#areOriginsNew = true;
    }
  }

  #objectOf(key: string): RegistryObject | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#objects.get(key);
  }

  #setObject(key: string, object: RegistryObject | undefined): void {
    if (this.#objectOf(key) !== object) this.#changes.set(key, object);
  }

  #setProblems(key: string, problems: readonly Problem[]): void {
    if (problems.length > 0) this.#problems.set(key, problems);
    else if (!this.#problems.delete(key)) return;
    this.#areProblemsNew = true;
  }
}

/** The old one where nothing changed that the mesh knows of: what was made of it can be kept. */
function kept<T extends RegistryObject | undefined>(
  old: RegistryObject | undefined,
  now: T,
): T | RegistryObject {
  return old !== undefined && isDeepStrictEqual(old, now) ? old : now;
}

/**
 * What was in force. When nothing is known to have been, the one that was made first: so every replica finds the same
 * one, whenever it started.
 */
function holderOf(slot: Slot, entries: readonly RestrictingEntry[]): Holder | undefined {
  if (slot.holder?.good !== undefined) return slot.holder;
  const ages = entries.map(({ restricting }) => restricting.createdAtMs);
  const firstMs = Math.min(...ages);
  const [oldest, ...more] = entries.filter(
    ({ restricting }) => restricting.createdAtMs === firstMs,
  );
  if (oldest?.lastGood === undefined || more.length > 0) return slot.holder;
  return { place: oldest.place, good: oldest.lastGood };
}
