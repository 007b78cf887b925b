// Says when one of a few files has changed, whatever replaced it: an editor, a rename, or a folder's link that was switched.
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '@weft/model/clock';

/** Events are hints; so often the files are looked at in any case. */
const LOOK_MS = 1_000;
/** A file must stay as it is for so long: who empties it before writing it anew takes less. */
const SETTLE_MS = 100;
/** File systems stamp times as coarsely as this: what is younger may be written again under one stamp. */
const COARSE_STAMP_MS = 50;

export interface FileWatchOptions {
  readonly clock: Clock;
  /** Called when something has changed and has settled; looking goes on when it has ended. */
  readonly onChange: () => Promise<void>;
}

export class FileWatch implements Disposable {
  readonly #options: FileWatchOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  #files: readonly string[] = [];
  /** As they were when they were read, and as they were seen last. */
  #taken = '';
  #seen = '';
  #timer: Disposable | undefined;
  #isLooking = false;
  #isClosed = false;

  constructor(options: FileWatchOptions) {
    this.#options = options;
  }

  /** To be called before the files are read: what is written while they are is then seen as a change. */
  async begin(files: readonly string[]): Promise<void> {
    this.#files = files;
    this.#taken = await signatureOf(files, this.#options.clock.now());
    this.#seen = this.#taken;
    this.#follow(new Set(files.map((file) => dirname(file))));
    this.#schedule(LOOK_MS);
  }

  /**
   * From now on these are watched.
   * @returns whether they are others than before: those that are new may have changed since they were read.
   */
  async follow(files: readonly string[]): Promise<boolean> {
    const isSame =
      files.length === this.#files.length && files.every((f) => this.#files.includes(f));
    if (!isSame) await this.begin(files);
    return !isSame;
  }

  #follow(folders: ReadonlySet<string>): void {
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      this.#watchers.delete(folder);
      watcher.close();
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#schedule(0));
        watcher.on('error', () => this.#drop(folder));
        this.#watchers.set(folder, watcher);
      } catch {
        // Without hints the look every second finds it.
        this.#watchers.delete(folder);
      }
    }
  }

  #drop(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed || this.#isLooking) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#options.clock.setTimeout(() => void this.#look(), delayMs);
  }

  /** Never rejects: `signatureOf` does not, and what `onChange` does with a bad file is no failure. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    const seen = await signatureOf(this.#files, this.#options.clock.now());
    const isSettled = seen === this.#seen;
    this.#seen = seen;
    const isChanged = seen !== this.#taken;
    if (isChanged && isSettled && !this.#isClosed) {
      this.#taken = seen;
      await this.#options.onChange();
    }
    this.#isLooking = false;
    this.#schedule(isChanged && !isSettled ? SETTLE_MS : LOOK_MS);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#timer?.[Symbol.dispose]();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}

/** Of what the names lead to now, through links. */
async function signatureOf(files: readonly string[], nowMs: number): Promise<string> {
  const parts = await Promise.all(
    files.map(async (file) => {
      try {
        const { ino, dev, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
        const isYoung = nowMs - Number(ctimeNs / 1_000_000n) < COARSE_STAMP_MS;
        return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs} ${isYoung ? nowMs : ''}`;
      } catch {
        return 'absent';
      }
    }),
  );
  return parts.join('\n');
}
