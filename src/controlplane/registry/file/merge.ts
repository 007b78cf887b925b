// Carries the state of a folder forward: what was in force, and files read anew or gone, become what is in force now.
import { isDeepStrictEqual } from 'node:util';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import type { Problem } from '@weft/model/problem';
import type { DocumentRead, IgnoredKind, ReadFile, ReadObject } from '../read-objects.ts';
import { resolve, type Entry, type Holder } from '../resolve.ts';

interface FileEntry extends Entry {
  readonly key: string;
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
  readonly files: ReadonlyMap<string, FileState>;
  readonly holders: ReadonlyMap<string, Holder>;
  readonly snapshot: Snapshot;
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
  files: new Map(),
  holders: new Map(),
  snapshot: { revision: 0, objects: new Map() },
  problems: [],
};

/** Problems that are kept; who has more cannot read them either. */
export const MAX_PROBLEMS = 10_000;

/**
 * An object goes only when its file is gone, or can be read whole without it. Snapshot and problems that come out
 * equal are the same objects as before.
 */
export function mergeFolder(previous: FolderState, change: FolderChange): FolderState {
  const files = mergeFiles(previous.files, change);
  const holders = new Map<string, Holder>();
  const objects = new Map<string, RegistryObject>();
  const problems: Problem[] = [];
  const entriesByKey = groupByKey(files);
  for (const key of [...entriesByKey.keys()].sort()) {
    const resolution = resolve(entriesByKey.get(key) ?? [], previous.holders.get(key));
    holders.set(key, resolution.holder);
    problems.push(...resolution.problems);
    resolution.objects.forEach((object, index) => {
      const name = index === 0 ? key : `${key}#${index + 1}`;
      objects.set(name, kept(previous.snapshot.objects.get(name), object));
    });
  }
  const all = collectProblems(files, [...change.problems, ...problems]);
  return {
    files,
    holders,
    snapshot: nextSnapshot(previous.snapshot, objects),
    problems: isDeepStrictEqual(previous.problems, all) ? previous.problems : all,
  };
}

/** The old one where nothing changed but, say, a comment: what was made of it can be kept. */
function kept(old: RegistryObject | undefined, now: RegistryObject): RegistryObject {
  return old !== undefined && old !== now && isDeepStrictEqual(old, now) ? old : now;
}

function nextSnapshot(previous: Snapshot, objects: ReadonlyMap<string, RegistryObject>): Snapshot {
  const isSame =
    objects.size === previous.objects.size &&
    [...objects].every(([key, object]) => previous.objects.get(key) === object);
  if (isSame && previous.revision > 0) return previous;
  return { revision: previous.revision + 1, objects };
}

function mergeFiles(
  previous: ReadonlyMap<string, FileState>,
  change: FolderChange,
): ReadonlyMap<string, FileState> {
  const files = new Map(previous);
  for (const file of change.gone) files.delete(file);
  for (const read of change.read) files.set(read.file, mergeFile(previous.get(read.file), read));
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
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

function groupByKey(
  files: ReadonlyMap<string, FileState>,
): ReadonlyMap<string, readonly FileEntry[]> {
  const groups = new Map<string, FileEntry[]>();
  for (const { entries } of files.values()) {
    for (const entry of entries) {
      const group = groups.get(entry.key);
      if (group === undefined) groups.set(entry.key, [entry]);
      else group.push(entry);
    }
  }
  return groups;
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
