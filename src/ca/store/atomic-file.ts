// Writes files so that a crash or a full disk leaves either the old content or the new, and reads only what nobody else may.
import type { BigIntStats, Stats } from 'node:fs';
import {
  chmod,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
} from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';

/** The calls that a store makes; tests put a disk that fails in their place. */
export interface DiskCalls {
  readonly chmod: typeof chmod;
  readonly link: typeof link;
  readonly mkdir: typeof mkdir;
  readonly open: typeof open;
  readonly readdir: typeof readdir;
  readonly readFile: typeof readFile;
  readonly rename: typeof rename;
  readonly stat: typeof stat;
  readonly unlink: typeof unlink;
}

export const diskCalls: DiskCalls = {
  chmod,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
};

/** What files in the making are called; a crash leaves one behind, and nobody reads it. */
export const TEMPORARY_SUFFIX = '.tmp';

/** The code of a failed call, `ENOENT` and the like. */
export const errorCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;

/**
 * Replaces a file: a temporary one beside it, fsync, rename, fsync of the directory.
 * @throws what the disk says; the old content is in place then, unless it was the fsync of the directory that failed: which of the two
 * a power failure leaves is open in that case.
 */
export async function replaceFile(
  disk: DiskCalls,
  path: string,
  options: { readonly text: string; readonly mode: number },
): Promise<void> {
  const temporary = join(dirname(path), `.${randomUUID()}${TEMPORARY_SUFFIX}`);
  try {
    const file = await disk.open(temporary, 'wx', options.mode);
    try {
      await file.writeFile(options.text);
      // The umask may have taken rights from what others are to read.
      await file.chmod(options.mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await disk.rename(temporary, path);
  } catch (error) {
    await removeIfThere(disk, temporary);
    throw error;
  }
  await syncDirectory(disk, dirname(path));
}

export async function removeIfThere(disk: DiskCalls, path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

/** Makes a rename or removal last over a power failure. */
export async function syncDirectory(disk: DiskCalls, path: string): Promise<void> {
  const directory = await disk.open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** @throws when the directory cannot be made, or others than its owner may enter it. */
export async function preparePrivateDirectory(disk: DiskCalls, path: string): Promise<void> {
  await disk.mkdir(path, { recursive: true, mode: 0o700 });
  const found = await disk.stat(path);
  if (!found.isDirectory()) throw new Error(`Cannot use ${path}: it is no directory`);
  refuseShared(path, found);
}

/** @returns `undefined` when there is no such file. @throws when others than its owner may read or write it. */
export async function readPrivateFile(disk: DiskCalls, path: string): Promise<string | undefined> {
  try {
    refuseShared(path, await disk.stat(path));
    return await disk.readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function refuseShared(path: string, found: Stats | BigIntStats): void {
  const mode = Number(found.mode) & 0o777;
  if ((mode & 0o077) === 0) return;
  const octal = mode.toString(8).padStart(3, '0');
  const wanted = found.isDirectory() ? '700' : '600';
  throw new Error(
    `Cannot trust ${path}: its mode is ${octal}, so others than its owner may have read or changed it; ` +
      `if nobody has, run: chmod ${wanted} ${path}`,
  );
}
