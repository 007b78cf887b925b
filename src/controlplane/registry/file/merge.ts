// Carries the state of a folder forward: what was in force, and files read anew or gone, become what is in force now.
import { isDeepStrictEqual } from 'node:util';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import type { Problem, SourcePosition } from '@weft/model/problem';
import { PersistentMap } from '../persistent-map.ts';
import type { DocumentRead, IgnoredKind, ReadFile, ReadObject } from '../read-objects.ts';
import { resolve, type Entry, type Holder } from '../resolve.ts';

interface FileEntry extends Entry {
  readonly key: string;
  readonly source: SourcePosition;
  /** Counts objects of one key within a file. */
  readonly occurrence: number;
}

interface FileState {
  readonly entries: readonly FileEntry[];
  readonly problems: readonly Problem[];
  readonly ignored: readonly IgnoredKind[];
  readonly documents: ReadonlyMap<string, DocumentRead>;
}

export interface FolderState {
  readonly files: PersistentMap<FileState>;
  /** By file, then as they stand in it. */
  readonly entriesByKey: PersistentMap<readonly FileEntry[]>;
  readonly holders: PersistentMap<Holder>;
  readonly snapshot: Snapshot & { readonly objects: PersistentMap<RegistryObject> };
  /** What was found where several objects have one key, or none is good; keys without problems are absent. */
  readonly conflicts: PersistentMap<readonly Problem[]>;
  readonly folderProblems: readonly Problem[];
  readonly problems: readonly Problem[];
}

export interface FolderChange {
  /** Files that are new or have changed. One that cannot be read has no objects and is not complete. */
  readonly read: readonly ReadFile[];
  readonly gone: readonly string[];
  /** What is wrong with the folder itself. */
  readonly problems: readonly Problem[];
}

export const EMPTY_FOLDER: FolderState = {
  files: PersistentMap.from<FileState>([]),
  entriesByKey: PersistentMap.from<readonly FileEntry[]>([]),
  holders: PersistentMap.from<Holder>([]),
  snapshot: { revision: 0, objects: PersistentMap.from<RegistryObject>([]) },
  conflicts: PersistentMap.from<readonly Problem[]>([]),
  folderProblems: [],
  problems: [],
};

/** Problems that are kept; who has more cannot read them either. */
export const MAX_PROBLEMS = 10_000;

/**
 * An object goes only when its file is gone, or can be read whole without it. Snapshot and problems that come out
 * equal are the same objects as before. Only the keys of what was read or is gone are looked at.
 */
export function mergeFolder(previous: FolderState, change: FolderChange): FolderState {
  const changed = new Map<string, FileState | undefined>();
  for (const file of change.gone) changed.set(file, undefined);
  for (const read of change.read) {
    changed.set(read.file, mergeFile(previous.files.get(read.file), read));
  }
  const groups = regroup(previous, changed);
  const merged = resolveGroups(previous, groups);
  const files = previous.files.with(changed);
  const entriesByKey = previous.entriesByKey.with(
    [...groups].map(([key, entries]) => [key, entries.length === 0 ? undefined : entries]),
  );
  const holders = previous.holders.with(merged.holders);
  const conflicts = previous.conflicts.with(merged.conflicts);
  const snapshot = nextSnapshot(previous.snapshot, merged.objects);
  const folderProblems = change.problems;
  const areSame =
    conflicts === previous.conflicts &&
    isDeepStrictEqual(folderProblems, previous.folderProblems) &&
    [...changed].every(([name, file]) => isSilent(file) && isSilent(previous.files.get(name)));
  const next = { files, entriesByKey, holders, snapshot, conflicts, folderProblems };
  if (areSame) return { ...next, problems: previous.problems };
  const all = collectProblems(files, [...folderProblems, ...[...conflicts.values()].flat()]);
  const problems = isDeepStrictEqual(previous.problems, all) ? previous.problems : all;
  return { ...next, problems };
}

const isSilent = (file: FileState | undefined): boolean =>
  file === undefined ||
  (file.problems.length === 0 &&
    file.ignored.length === 0 &&
    file.entries.every(({ problems }) => problems.length === 0));

/** Of every key that stands or stood in a file that has changed: all entries of it, wherever they stand. */
function regroup(
  previous: FolderState,
  changed: ReadonlyMap<string, FileState | undefined>,
): ReadonlyMap<string, readonly FileEntry[]> {
  const groups = new Map<string, FileEntry[]>();
  const groupOf = (key: string): FileEntry[] => {
    const known = groups.get(key);
    if (known !== undefined) return known;
    const others = previous.entriesByKey.get(key) ?? [];
    const group = others.filter(({ source }) => !changed.has(source.file));
    groups.set(key, group);
    return group;
  };
  for (const [name, file] of changed) {
    for (const { key } of previous.files.get(name)?.entries ?? []) groupOf(key);
    for (const entry of file?.entries ?? []) groupOf(entry.key).push(entry);
  }
  for (const group of groups.values()) if (group.length > 1) group.sort(byFile);
  return groups;
}

const byFile = (a: FileEntry, b: FileEntry): number =>
  a.source.file === b.source.file
    ? a.occurrence - b.occurrence
    : a.source.file < b.source.file
      ? -1
      : 1;

type ChangesOf<V> = Map<string, V | undefined>;

interface Resolved {
  readonly holders: ChangesOf<Holder>;
  readonly objects: ChangesOf<RegistryObject>;
  readonly conflicts: ChangesOf<readonly Problem[]>;
}

function resolveGroups(
  previous: FolderState,
  groups: ReadonlyMap<string, readonly FileEntry[]>,
): Resolved {
  const { objects: before } = previous.snapshot;
  const holders: Resolved['holders'] = new Map();
  const objects: Resolved['objects'] = new Map();
  const conflicts: Resolved['conflicts'] = new Map();
  for (const [key, entries] of groups) {
    const resolution =
      entries.length === 0 ? undefined : resolve(entries, previous.holders.get(key));
    const found = resolution?.objects ?? [];
    holders.set(key, resolution?.holder);
    conflicts.set(key, resolution?.problems.length ? resolution.problems : undefined);
    for (let index = 0; index < found.length || before.has(nameOf(key, index)); index++) {
      const name = nameOf(key, index);
      const object = found[index];
      objects.set(name, object && kept(before.get(name), object));
    }
  }
  return { holders, objects, conflicts };
}

const nameOf = (key: string, index: number): string => (index === 0 ? key : `${key}#${index + 1}`);

/** The old one where nothing changed but, say, a comment: what was made of it can be kept. */
function kept(old: RegistryObject | undefined, now: RegistryObject): RegistryObject {
  return old !== undefined && old !== now && isDeepStrictEqual(old, now) ? old : now;
}

function nextSnapshot(
  previous: FolderState['snapshot'],
  changes: ReadonlyMap<string, RegistryObject | undefined>,
): FolderState['snapshot'] {
  const objects = previous.objects.with(changes);
  if (objects === previous.objects && previous.revision > 0) return previous;
  return { revision: previous.revision + 1, objects };
}

const placeKey = (key: string, occurrence: number): string => `${occurrence} ${key}`;

function mergeFile(previous: FileState | undefined, read: ReadFile): FileState {
  const old = new Map(
    previous?.entries.map((entry) => [placeKey(entry.key, entry.occurrence), entry]),
  );
  const counts = new Map<string, number>();
  const entries: FileEntry[] = read.objects.map((object) => {
    const occurrence = counts.get(object.key) ?? 0;
    counts.set(object.key, occurrence + 1);
    const place = placeKey(object.key, occurrence);
    const before = old.get(place);
    old.delete(place);
    return entryOf(object, occurrence, before);
  });
  const problems = [...read.problems];
  if (!read.isComplete && old.size > 0) {
    // They may be in there still: a file that cannot be read whole removes nothing.
    entries.push(...[...old.values()].map((entry) => ({ ...entry, problems: [] })));
    problems.push({
      severity: 'warning',
      code: 'last-good-version',
      message: `objects that were in it and cannot be found now stay in force: ${old.size}`,
      source: { file: read.file },
    });
  }
  const { ignored, documents } = read;
  const keptDocuments = read.isComplete ? documents : (previous?.documents ?? documents);
  return { entries, problems, ignored, documents: keptDocuments };
}

function entryOf(object: ReadObject, occurrence: number, before: FileEntry | undefined): FileEntry {
  const { key, ref, source, outcome, problems } = object;
  const place = `${source.file}#${occurrence}`;
  const old = before?.lastGood?.object;
  if (outcome.kind === 'good') {
    const good = outcome.object && kept(old, outcome.object);
    return { key, ref, place, source, occurrence, outcome, lastGood: { object: good }, problems };
  }
  // A version that put nothing in force is none to fall back on: a broken one has to close.
  const lastGood = old === undefined ? undefined : { object: old };
  return { key, ref, place, source, occurrence, outcome, lastGood, problems };
}

function collectProblems(
  files: ReadonlyMap<string, FileState>,
  others: readonly Problem[],
): readonly Problem[] {
  const problems = [...others, ...ignoredProblems(files)];
  for (const file of files.values()) {
    problems.push(...file.problems, ...file.entries.flatMap((entry) => entry.problems));
  }
  problems.sort(byPlace);
  if (problems.length <= MAX_PROBLEMS) return problems;
  const message = `${problems.length} problems were found, the first ${MAX_PROBLEMS} are shown`;
  const last: Problem = { severity: 'error', code: 'too-many-problems', message };
  return [...problems.slice(0, MAX_PROBLEMS), last];
}

function byPlace(a: Problem, b: Problem): number {
  const fileA = a.source?.file ?? '';
  const fileB = b.source?.file ?? '';
  if (fileA !== fileB) return fileA < fileB ? -1 : 1;
  return (
    (a.source?.line ?? 0) - (b.source?.line ?? 0) ||
    (a.source?.column ?? 0) - (b.source?.column ?? 0)
  );
}

/** One for each kind, at the first object of it. */
function ignoredProblems(files: ReadonlyMap<string, FileState>): readonly Problem[] {
  const found = new Map<string, { readonly first: IgnoredKind; count: number }>();
  for (const { ignored } of files.values()) {
    for (const item of ignored) {
      const known = found.get(item.name);
      if (known === undefined) found.set(item.name, { first: item, count: 1 });
      else known.count++;
    }
  }
  return [...found.values()].map(({ first, count }) => ({
    severity: 'warning',
    code: 'ignored-kind',
    message: `${first.name.trim()} is no kind that the mesh uses: ${count} found and passed over`,
    source: first.source,
  }));
}
