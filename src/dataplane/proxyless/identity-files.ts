// Writes certificate, key and bundle for programs that read them from files: all three at once, and the newest only.
import { chmod, chown, lstat, mkdir, open, rename, rm } from 'node:fs/promises';
import { errorText } from '@weft/model/error-text';
import type { Owner } from '../credentials/options.ts';
import { FileTree } from '../credentials/file-tree.ts';
import type { Svid } from '../enrol/check-svid.ts';
import { FILES, IDENTITY_FOLDER } from './bootstrap.ts';

export interface IdentityFilesOptions {
  readonly folder: string;
  readonly bootstrapFile: string;
  readonly bootstrap: string;
  readonly owner: Owner | undefined;
  /** What is written has changed, or could not be. */
  readonly onChange: () => void;
}

/** Nobody but their owner reads them. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const WAITING = 'certificate and key are not written yet';

export class IdentityFiles {
  readonly #options: IdentityFilesOptions;
  readonly #tree: FileTree;
  #newest: Svid | undefined;
  #writing: Promise<void> | undefined;
  #reason: string | undefined = WAITING;
  #isOpen = false;

  constructor(options: IdentityFilesOptions) {
    this.#options = options;
    const { folder: directory, owner } = options;
    this.#tree = new FileTree({ directory, mode: FILE_MODE, owner });
  }

  /** @throws Error when the folder cannot be made, or is not ours alone. */
  async open(): Promise<void> {
    const { folder, owner } = this.#options;
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    const found = await lstat(folder);
    const isOurs = [process.getuid?.(), owner?.uid].includes(found.uid);
    if (!found.isDirectory() || !isOurs)
      throw new Error(`Cannot write a key below ${folder}: it is no folder of our own`);
    await chmod(folder, FOLDER_MODE);
    if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
    this.#isOpen = true;
  }

  /** Why programs cannot go by the files; absent: they can. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Resolved when this, or something newer, was written or could not be. */
  write(svid: Svid): Promise<void> {
    this.#newest = svid;
    this.#writing ??= this.#writeNewest().finally(() => (this.#writing = undefined));
    return this.#writing;
  }

  /** What came last is written already, or is being written. */
  settled(): Promise<void> {
    return this.#writing ?? Promise.resolve();
  }

  async #writeNewest(): Promise<void> {
    for (let svid = this.#newest; svid !== undefined; svid = this.#newest) {
      this.#newest = undefined;
      try {
        await this.#writeAll(svid);
        this.#reason = undefined;
      } catch (error) {
        this.#reason = `the files of gRPC programs cannot be written: ${errorText(error)}`;
      }
      this.#options.onChange();
    }
  }

  async #writeAll({ chainPem, keyPem, bundlePem }: Svid): Promise<void> {
    const values = new Map([
      [FILES.certificate, Buffer.from(chainPem)],
      [FILES.key, Buffer.from(keyPem)],
      [FILES.bundle, Buffer.from(bundlePem)],
    ]);
    const identity = { name: IDENTITY_FOLDER, version: '', values, injections: [] };
    await this.#tree.write([{ ...identity, ways: new Set() }]);
    await this.#writeBootstrap();
  }

  /** After what it names, so that whoever finds it finds that as well. */
  async #writeBootstrap(): Promise<void> {
    const { bootstrapFile, bootstrap, owner } = this.#options;
    const hidden = `${bootstrapFile}.new`;
    await rm(hidden, { force: true });
    {
      await using file = await open(hidden, 'wx', FILE_MODE);
      await file.writeFile(bootstrap);
      if (owner !== undefined) await file.chown(owner.uid, owner.gid);
    }
    await rename(hidden, bootstrapFile);
  }

  /** Takes away what was written: a key that nobody renews is no use to anybody. */
  async clear(): Promise<void> {
    this.#newest = undefined;
    await this.settled();
    if (!this.#isOpen) return;
    this.#reason = WAITING;
    const { bootstrapFile } = this.#options;
    await rm(bootstrapFile, { force: true });
    await this.#tree.clear();
  }
}
