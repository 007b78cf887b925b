// Credentials in a folder: each place is a folder whose files are its values, and is read whole or not at all.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { type Clock, systemClock } from '@weft/model/clock';
import { isCredentialKey, isCredentialPath } from '@weft/model/credentials/key-names';
import { MAX_KEYS } from '@weft/model/credentials/types';
import { errorText } from '@weft/model/error-text';
import { createPolledSource } from './polling.ts';
import {
  type CredentialSource,
  MAX_CREDENTIAL_BYTES,
  type SourceReading,
  whyTooLarge,
} from './source.ts';

export interface FolderSourceOptions {
  readonly directory: string;
  readonly clock?: Clock;
  /** Default 1 s: a change is seen within it, and reaches everybody within five. */
  readonly pollMs?: number;
}

const DEFAULT_POLL_MS = 1_000;
/** Files that change while they are read are read again. */
const ATTEMPTS = 5;
/** What kubelet swaps when it writes a volume anew: the files beside it lead through it. */
const DATA_LINK = '..data';
/** Names in one folder that are looked at: keys, and what begins with a dot. */
const MAX_NAMES = 1_024;
const VERSION_DIGITS = 16;

/** @throws Error that names the folder when it cannot be read. */
export async function openFolderSource(options: FolderSourceOptions): Promise<CredentialSource> {
  const { directory, clock = systemClock, pollMs = DEFAULT_POLL_MS } = options;
  await rootOf(directory);
  return createPolledSource({
    description: `folder ${directory}`,
    readerOf: (place) => {
      const reader = new PlaceReader(directory, place);
      return () => reader.read();
    },
    clock,
    pollMs,
  });
}

async function rootOf(directory: string): Promise<string> {
  try {
    const root = await realpath(directory);
    if ((await stat(root)).isDirectory()) return root;
  } catch (cause) {
    const why = errorText(cause);
    throw new Error(`Cannot read credentials from ${directory}: ${why}; name a folder`, { cause });
  }
  throw new Error(`Cannot read credentials from ${directory}: it is no folder; name a folder`);
}

interface Listed {
  readonly folder: string;
  readonly keys: readonly string[];
  /** Of names, times, sizes and numbers of files, never of what is in them. */
  readonly version: string;
}

const gone = (reason: string): SourceReading => ({ kind: 'gone', reason });
const unavailable = (reason: string): SourceReading => ({ kind: 'unavailable', reason });

/** Reads files only when something about them has changed. */
class PlaceReader {
  readonly #directory: string;
  readonly #place: string;
  #last: Extract<SourceReading, { readonly kind: 'values' }> | undefined;

  constructor(directory: string, place: string) {
    this.#directory = directory;
    this.#place = place;
  }

  async read(): Promise<SourceReading> {
    if (!isCredentialPath(this.#place)) return gone('it is no place in a folder');
    try {
      // Each time: what is mounted there may be another folder by now, or none.
      const root = await realpath(this.#directory);
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const reading = await this.#readOnce(root);
        if (reading !== undefined) return reading;
      }
      return unavailable('it is being written all the time');
    } catch (error) {
      return unavailable(errorText(error));
    }
  }

  /** @returns `undefined` when it changed meanwhile. */
  async #readOnce(root: string): Promise<SourceReading | undefined> {
    const listed = await this.#list(root);
    if (listed === undefined || 'kind' in listed) return listed;
    if (this.#last?.version === listed.version) return this.#last;
    const values = new Map<string, Uint8Array>();
    for (const key of listed.keys) {
      const value = await unlessMissing(readValue(root, join(listed.folder, key)));
      if (value === undefined) return undefined;
      if (!(value instanceof Uint8Array)) return gone(`the file ${key} ${value.refused}`);
      values.set(key, value);
    }
    const again = await this.#list(root);
    if (again === undefined || 'kind' in again || again.version !== listed.version) {
      return undefined;
    }
    const reason = whyTooLarge(values);
    if (reason !== undefined) return gone(reason);
    this.#last = { kind: 'values', version: listed.version, values };
    return this.#last;
  }

  /** @returns `undefined` when it changed meanwhile. */
  async #list(root: string): Promise<Listed | SourceReading | undefined> {
    const folder = await unlessMissing(realpath(join(root, this.#place)));
    if (folder === undefined) return gone('there is no such folder');
    if (!isWithin(root, folder)) return gone('it leads out of the folder of credentials');
    const names = await readdir(folder);
    if (names.length > MAX_NAMES) return gone(`it has ${names.length} files`);
    const keys = names.filter(isCredentialKey).toSorted();
    const hash = createHash('sha256');
    if (names.includes(DATA_LINK)) hash.update(await readlink(join(folder, DATA_LINK)));
    const files: string[] = [];
    for (const key of keys) {
      const file = await unlessMissing(stat(join(folder, key), { bigint: true }));
      if (file === undefined) return undefined;
      if (file.isDirectory()) continue;
      files.push(key);
      hash.update(`\0${key}\0${file.mtimeNs}\0${file.ctimeNs}\0${file.size}\0${file.ino}`);
    }
    if (files.length > MAX_KEYS)
      return gone(`it has ${files.length} files, of ${MAX_KEYS} at most`);
    if (files.length === 0) return gone('there is no file in it');
    return { folder, keys: files, version: hash.digest('hex').slice(0, VERSION_DIGITS) };
  }
}

/** Judged by what was opened, and not by a name that may lead elsewhere by then. */
async function readValue(
  root: string,
  path: string,
): Promise<Uint8Array | { readonly refused: string }> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const { size, isFile } = await sizeOf(file);
  if (!isFile) return { refused: 'is no plain file' };
  if (size > MAX_CREDENTIAL_BYTES) return { refused: `has ${size} bytes` };
  const real = await readlink(`/proc/self/fd/${file.fd}`).catch(() => realpath(path));
  if (!isWithin(root, real)) return { refused: 'leads out of the folder of credentials' };
  const buffer = Buffer.alloc(MAX_CREDENTIAL_BYTES + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
    if (length > MAX_CREDENTIAL_BYTES) return { refused: 'grows while it is read' };
  }
  const value = new Uint8Array(buffer.subarray(0, length));
  buffer.fill(0, 0, length);
  return value;
}

async function sizeOf(
  file: FileHandle,
): Promise<{ readonly size: number; readonly isFile: boolean }> {
  const found = await file.stat();
  return { size: found.size, isFile: found.isFile() };
}

const isWithin = (root: string, path: string): boolean =>
  path === root || path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`);

const unlessMissing = <T>(asked: Promise<T>): Promise<T | undefined> =>
  asked.catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });

const isMissing = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  (error.code === 'ENOENT' || error.code === 'ENOTDIR');
