// Writes credentials as files, all of them at once: readers see those of before or those of now, as with the kubelet's `..data`.
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { constants } from 'node:fs';
import { join } from 'node:path';
import type { Credential } from './credential.ts';
import type { Owner } from './options.ts';

export interface FileTreeOptions {
  readonly directory: string;
  readonly mode: number;
  readonly owner: Owner | undefined;
}

const DATA = '..data';
const DATA_NEW = '..data_new';
const GENERATION = '..gen-';
const PRIVATE = 0o700;

/** Who may read a file may enter its folder; its owner may take it away. */
const folderModeOf = (mode: number): number => 0o700 | ((mode & 0o044) >> 2) | (mode & 0o044);

/**
 * `DIRECTORY/NAME/KEY`: `NAME` leads by `..data` to the folder of this generation, which is made readable only when it
 * is whole.
 */
export class FileTree {
  readonly #options: FileTreeOptions;

  constructor(options: FileTreeOptions) {
    this.#options = options;
  }

  /**
   * @returns whether there was a generation before this one.
   * @throws Error when it cannot be written; then what was there before is there still.
   */
  async write(credentials: readonly Credential[]): Promise<boolean> {
    const { directory } = this.#options;
    await requireFolder(directory);
    const hadOne = (await readdir(directory)).includes(DATA);
    const generation = await mkdtemp(join(directory, GENERATION));
    try {
      for (const credential of credentials) await this.#writeOne(generation, credential);
      await this.#give(generation, folderModeOf(this.#options.mode));
      await this.#switchTo(generation.slice(directory.length + 1));
    } catch (error) {
      await rm(generation, { recursive: true, force: true });
      throw error;
    }
    const blocked = await this.#linkNames(new Set(credentials.map(({ name }) => name)));
    await this.#sweep(generation.slice(directory.length + 1));
    if (blocked.length > 0) {
      throw new Error(
        `Cannot put ${blocked.join(', ')} into ${directory}: something else is there`,
      );
    }
    return hadOne;
  }

  async #writeOne(generation: string, { name, values }: Credential): Promise<void> {
    const { mode } = this.#options;
    const folder = join(generation, name);
    await mkdir(folder, { mode: PRIVATE });
    for (const [key, value] of values) {
      const path = join(folder, key);
      const flags =
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      await using file = await open(path, flags, 0o600);
      await file.writeFile(value);
      if (this.#options.owner !== undefined) {
        await file.chown(this.#options.owner.uid, this.#options.owner.gid);
      }
      await file.chmod(mode);
    }
    await this.#give(folder, folderModeOf(mode));
  }

  async #give(path: string, mode: number): Promise<void> {
    const { owner } = this.#options;
    if (owner !== undefined) await chown(path, owner.uid, owner.gid);
    await chmod(path, mode);
  }

  async #switchTo(generation: string): Promise<void> {
    const { directory } = this.#options;
    await rm(join(directory, DATA_NEW), { force: true });
    await symlink(generation, join(directory, DATA_NEW));
    await rename(join(directory, DATA_NEW), join(directory, DATA));
  }

  /**
   * Names of credentials that came lead to where they are; those that went are taken away.
   * @returns names in whose place something else is.
   */
  async #linkNames(names: ReadonlySet<string>): Promise<readonly string[]> {
    const { directory } = this.#options;
    for (const entry of await readdir(directory)) {
      if (entry.startsWith('.') || names.has(entry)) continue;
      if (await this.#isOwnLink(entry)) await rm(join(directory, entry), { force: true });
    }
    const blocked: string[] = [];
    for (const name of names) {
      if (await this.#isOwnLink(name)) continue;
      try {
        await symlink(join(DATA, name), join(directory, name));
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
        blocked.push(name);
      }
    }
    return blocked;
  }

  /** What somebody else put there is left alone. */
  async #isOwnLink(name: string): Promise<boolean> {
    try {
      return (await readlink(join(this.#options.directory, name))) === join(DATA, name);
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'EINVAL') return false;
      throw error;
    }
  }

  async #sweep(kept: string): Promise<void> {
    const { directory } = this.#options;
    for (const entry of await readdir(directory)) {
      if (!entry.startsWith(GENERATION) || entry === kept) continue;
      await rm(join(directory, entry), { recursive: true, force: true });
    }
  }

  /** Takes everything away that was written here. */
  async clear(): Promise<void> {
    const { directory } = this.#options;
    await rm(join(directory, DATA), { force: true });
    await this.#linkNames(new Set());
    await this.#sweep('');
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : '';

/** A link would lead the values elsewhere. */
async function requireFolder(directory: string): Promise<void> {
  const found = await lstat(directory);
  if (!found.isDirectory())
    throw new Error(`Cannot write credentials to ${directory}: it is no folder`);
}
