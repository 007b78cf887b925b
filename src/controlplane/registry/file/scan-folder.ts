// Which manifest files a folder holds right now, and by what a change of one is told: names and stats, no contents.
import type { BigIntStats, Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Problem } from '@weft/model/problem';

export interface ScannedFile {
  readonly path: string;
  /** Changes when the file does. */
  readonly signature: string;
  readonly modifiedMs: number;
  /** Why it cannot be read; absent when it can be tried. */
  readonly obstacle: string | undefined;
}

export interface FolderScan {
  /** By path relative to the folder, with slashes, in the order of names. */
  readonly files: ReadonlyMap<string, ScannedFile>;
  /** Paths under which nothing is known; `''` for the whole folder. What was there may be there still. */
  readonly unknownUnder: readonly string[];
  readonly problems: readonly Problem[];
  /** All of the folder was looked at. */
  readonly isWhole: boolean;
  /** Far from what a folder may hold: what single files hold more by now cannot be too much. */
  readonly isRoomy: boolean;
}

/** A bound on what one scan takes; meshes that large have an API server. */
export const MAX_FILES = 10_000;
/** Levels of folders in folders. */
const MAX_DEPTH = 16;
/** All manifests together: what is parsed takes several times as much memory. */
const MAX_TOTAL_BYTES = 256n * 1024n * 1024n;
const EXTENSIONS: ReadonlySet<string> = new Set(['.yaml', '.yml', '.json']);

interface Walk {
  readonly files: Map<string, ScannedFile>;
  readonly unknownUnder: string[];
  readonly problems: Problem[];
  /** Folders by device and inode: links may lead in circles. */
  readonly seen: Set<string>;
  totalBytes: bigint;
  isFull: boolean;
}

const createWalk = (): Walk => ({
  files: new Map(),
  unknownUnder: [],
  problems: [],
  seen: new Set(),
  totalBytes: 0n,
  isFull: false,
});

/** Follows links; passes over names that start with a dot. Rejects only for what is no matter of the file system. */
export async function scanFolder(directory: string): Promise<FolderScan> {
  const walk = createWalk();
  await scanDirectory(walk, directory, '', 0);
  const { files, unknownUnder, problems, totalBytes } = walk;
  const isRoomy = totalBytes < MAX_TOTAL_BYTES / 2n;
  return { files, unknownUnder, problems, isWhole: true, isRoomy };
}

/** Looks at files alone that a scan of the folder has found. @returns `undefined` when one is not there any more. */
export async function scanFiles(
  directory: string,
  names: Iterable<string>,
): Promise<FolderScan | undefined> {
  const walk = createWalk();
  for (const name of names) await scanFile(walk, join(directory, name), name);
  for (const { signature } of walk.files.values()) if (signature === 'ENOENT') return undefined;
  return { files: walk.files, unknownUnder: [], problems: [], isWhole: false, isRoomy: true };
}

async function scanDirectory(
  walk: Walk,
  directory: string,
  relative: string,
  depth: number,
): Promise<void> {
  let entries: readonly Dirent[];
  try {
    const { dev, ino } = await stat(directory, { bigint: true });
    const id = `${dev}:${ino}`;
    if (walk.seen.has(id)) return;
    walk.seen.add(id);
    entries = await readdir(directory, { withFileTypes: true });
  } catch (error) {
    // Gone between two looks: then it is simply not there. The folder itself does not just go.
    if (relative !== '' && codeOf(error) === 'ENOENT') return;
    giveUp(walk, relative, `cannot be listed: ${codeOf(error)}`);
    return;
  }
  for (const entry of [...entries].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    const path = join(directory, entry.name);
    const below = relative === '' ? entry.name : `${relative}/${entry.name}`;
    const isManifest = EXTENSIONS.has(extname(entry.name));
    if (isManifest) await scanFile(walk, path, below);
    else if (entry.isDirectory() || (entry.isSymbolicLink() && (await leadsToDirectory(path)))) {
      if (depth >= MAX_DEPTH) giveUp(walk, below, `is more than ${MAX_DEPTH} folders deep`);
      else await scanDirectory(walk, path, below, depth + 1);
    }
    if (walk.isFull) return;
  }
}

function giveUp(walk: Walk, relative: string, message: string): void {
  walk.unknownUnder.push(relative);
  walk.problems.push({
    severity: 'error',
    code: 'unreadable-folder',
    message: `${message}; what was in it stays in force`,
    source: { file: relative === '' ? '.' : relative },
  });
}

const leadsToDirectory = async (path: string): Promise<boolean> => {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    // A link to nowhere, without a manifest's name: nothing that was meant to be read.
    if (codeOf(error) === undefined) throw error;
    return false;
  }
};

async function scanFile(walk: Walk, path: string, relative: string): Promise<void> {
  if (walk.files.size >= MAX_FILES) {
    walk.isFull = true;
    giveUp(walk, '', `has more than ${MAX_FILES} manifests: the rest is not read`);
    return;
  }
  let stats: BigIntStats;
  try {
    stats = await stat(path, { bigint: true });
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    const obstacle = code === 'ENOENT' ? 'leads to nothing' : code;
    walk.files.set(relative, { path, signature: code, modifiedMs: 0, obstacle });
    return;
  }
  if (stats.isFile()) walk.totalBytes += stats.size;
  const obstacle = stats.isFile()
    ? walk.totalBytes > MAX_TOTAL_BYTES
      ? 'is beyond what all manifests may take together'
      : undefined
    : stats.isDirectory()
      ? 'is a folder with the name of a manifest'
      : 'is no regular file';
  const modifiedMs = Number(stats.mtimeMs);
  const signature = obstacle ?? signatureOf(stats);
  walk.files.set(relative, { path, signature, modifiedMs, obstacle });
}

export const signatureOf = (stats: BigIntStats): string =>
  [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':');

/** `ENOENT` and the like. @returns `undefined` for what is no error of the operating system. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}
