// Keeps the files of the granted credentials as they are now: one writing at a time, the newest state last, and nothing left at the end.
import { errorText } from '@weft/model/error-text';
import type { Logger } from 'pino';
import type { Credential } from './credential.ts';
import type { CredentialMetrics } from './credential-metrics.ts';
import type { CredentialStore, StoreChange } from './credential-store.ts';
import { FileTree } from './file-tree.ts';
import type { HandOvers } from './hand-overs.ts';
import { hasSwap, requireMemory } from './memory-volume.ts';
import type { FilesDelivery, OnChange } from './options.ts';
import { tellOfChange } from './tell-of-change.ts';

export interface FileDeliveryOptions {
  readonly files: FilesDelivery;
  readonly store: CredentialStore;
  readonly handOvers: HandOvers;
  readonly metrics: CredentialMetrics;
  readonly log: Logger;
}

/** 1 s: what could not be written is tried again. */
const RETRY_MS = 1_000;

export class FileDelivery implements AsyncDisposable {
  readonly #options: FileDeliveryOptions;
  readonly #tree: FileTree;
  readonly #subscription: Disposable;
  /** Versions in the files, by name; `undefined` before the first writing. */
  #written: ReadonlyMap<string, string> | undefined;
  #isDirty = false;
  /** Something was written, or tried to be. */
  #hasBegun = false;
  #isTelling = false;
  #mustTell = false;
  #isDisposed = false;
  #working: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;

  /** @throws Error where the folder is not in memory. */
  static async open(options: FileDeliveryOptions): Promise<FileDelivery> {
    const { files, log } = options;
    await requireMemory(files.directory, {
      isForced: files.isForced,
      cure: 'mount an emptyDir of medium Memory there, or say --credentials-files-force',
    });
    if (await hasSwap()) {
      log.warn('memory can be swapped to a disk here: turn swap off, or mount the volume noswap');
    }
    return new FileDelivery(options);
  }

  private constructor(options: FileDeliveryOptions) {
    this.#options = options;
    this.#tree = new FileTree(options.files);
    this.#subscription = options.store.onChange((change) => this.#changed(change));
    if (options.store.isComplete) this.#write();
  }

  /** Before everything has come nothing is written: files of an earlier process stay until then. */
  #changed(_change: StoreChange): void {
    const { store } = this.#options;
    if (store.isComplete || this.#written !== undefined) this.#write();
  }

  #write(): void {
    this.#isDirty = true;
    this.#working ??= this.#work()
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#working = undefined;
      });
  }

  async #work(): Promise<void> {
    clearTimeout(this.#retry);
    while (this.#isDirty && !this.#isDisposed) {
      this.#isDirty = false;
      await this.#writeNow();
    }
  }

  async #writeNow(): Promise<void> {
    const { store, files } = this.#options;
    const credentials = store.all().filter(({ ways }) => ways.has('files'));
    const wanted = new Map(credentials.map(({ name, version }) => [name, version]));
    if (this.#written !== undefined && isSame(wanted, this.#written)) return;
    let isChange: boolean;
    this.#hasBegun = true;
    try {
      isChange = await this.#tree.write(credentials);
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#noteNew(credentials);
    this.#written = wanted;
    const { onChange } = files;
    /** Who reads the first ones does so because it starts; it is told of what comes after. */
    if (onChange !== undefined && isChange) void this.#tell(onChange);
  }

  /** Nobody waits for it: a command that hangs keeps no value from coming, or going. */
  async #tell(onChange: OnChange): Promise<void> {
    this.#mustTell = true;
    if (this.#isTelling) return;
    this.#isTelling = true;
    while (this.#mustTell && !this.#isDisposed) {
      this.#mustTell = false;
      await tellOfChange({ ...this.#options, onChange });
    }
    this.#isTelling = false;
  }

  #failed(error: unknown): void {
    const { log, metrics } = this.#options;
    metrics.failed('files');
    log.error({ reason: errorText(error) }, 'cannot write the files of credentials');
    if (this.#isDisposed) return;
    this.#retry = setTimeout(() => this.#write(), RETRY_MS);
    this.#retry.unref();
  }

  #noteNew(credentials: readonly Credential[]): void {
    const { handOvers, files, log } = this.#options;
    for (const credential of credentials) {
      if (this.#written?.get(credential.name) === credential.version) continue;
      handOvers.note(credential, 'files', files.directory);
    }
    const names = new Set(credentials.map(({ name }) => name));
    for (const name of this.#written?.keys() ?? []) {
      if (!names.has(name)) log.info({ credential: name, way: 'files' }, 'credential taken away');
    }
  }

  /** Takes the files away. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#subscription[Symbol.dispose]();
    clearTimeout(this.#retry);
    await this.#working;
    if (!this.#hasBegun) return;
    try {
      await this.#tree.clear();
    } catch (error) {
      this.#options.log.error(
        { reason: errorText(error) },
        'cannot take the files of credentials away',
      );
    }
  }
}

const isSame = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([name, version]) => b.get(name) === version);
