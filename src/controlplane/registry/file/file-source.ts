// A source whose objects are manifests in a folder: watches it, and what is saved there is in force a moment later.
import { stat } from 'node:fs/promises';
import { basename, relative, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { watch, type FSWatcher } from 'chokidar';
import type { Logger } from 'pino';
import { systemClock, type Clock } from '@weft/model/clock';
import type { Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';
import type { ReadFile } from '../read-objects.ts';
import type { Source, SourceState } from '../source.ts';
import { EMPTY_FOLDER, mergeFolder, type FolderState } from './merge.ts';
import { readManifest } from './read-manifest.ts';
import { codeOf, scanFiles, scanFolder, type FolderScan, type ScannedFile } from './scan-folder.ts';

export interface FileSourceOptions {
  readonly directory: string;
  readonly log?: Logger;
  readonly clock?: Clock;
  /** From a change to its reading, so that changes made together are read together; default 10. */
  readonly settleMs?: number;
}

const DEFAULT_SETTLE_MS = 10;
/** Events that keep coming put a reading off no longer than this many times `settleMs`. */
const MAX_SETTLES = 5;
/** How long a missed event can matter. */
const RESCAN_MS = 2_000;
/**
 * How long a file must stay as it is when it has lost objects, cannot be read whole or looks half written: editors
 * and tools that empty or remove a file before they write it anew take less.
 */
const CONFIRM_MS = 100;
/** File systems stamp times as coarsely as 10 ms: what was written just now may be written again under one stamp. */
const COARSE_STAMP_MS = 40;

/**
 * Reads the folder and keeps watching it.
 * @throws when the directory does not exist, or is none. What happens to it later is a problem, and no reason to stop.
 */
export async function openFileSource(options: FileSourceOptions): Promise<Source> {
  const directory = resolve(options.directory);
  let isDirectory: boolean;
  try {
    isDirectory = (await stat(directory)).isDirectory();
  } catch (error) {
    const why = codeOf(error) === 'ENOENT' ? 'it does not exist' : codeOf(error);
    throw new Error(`Cannot read manifests from ${directory}: ${why}`, { cause: error });
  }
  if (!isDirectory) throw new Error(`Cannot read manifests from ${directory}: it is no directory`);
  const source = new FileSource({ ...options, directory });
  try {
    await source.start();
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
  return source;
}

/** There are no more watches or descriptors to be had. */
const EXHAUSTED: ReadonlySet<string> = new Set(['ENOSPC', 'EMFILE', 'ENFILE', 'ENOMEM']);

/** A change that waits to be seen again. */
interface Doubt {
  readonly signature: string;
  readonly sinceMs: number;
}

const GONE = 'gone';

interface Timer {
  readonly dueMs: number;
  readonly reason: 'event' | 'look';
  readonly handle: Disposable;
}

class FileSource implements Source {
  readonly #directory: string;
  readonly #log: Logger | undefined;
  readonly #clock: Clock;
  readonly #settleMs: number;
  readonly #listeners = new Listeners();
  readonly #watcher: FSWatcher;
  /** Signatures of what has been merged. */
  readonly #known = new Map<string, string>();
  readonly #doubts = new Map<string, Doubt>();
  #watchProblem: Problem | undefined;
  #folderProblems: readonly Problem[] = [];
  #folder: FolderState = EMPTY_FOLDER;
  #state: SourceState = EMPTY_FOLDER;
  #timer: Timer | undefined;
  /** When the first of the events came that are waiting to be read. */
  #unrestSinceMs: number | undefined;
  /** The reading under way: there is one at a time. */
  #reading: Promise<void> | undefined;
  /** The timer went off while a reading was under way. */
  #isDue = false;
  #isClosed = false;
  /** Files that the next reading looks at; absent: at the whole folder. */
  #wanted: Set<string> | undefined;
  /** Of the last scan of the whole folder. */
  #scannedAtMs = Number.NEGATIVE_INFINITY;
  #isRoomy = false;

  constructor(options: FileSourceOptions) {
    this.#directory = options.directory;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    this.#settleMs = options.settleMs ?? DEFAULT_SETTLE_MS;
    this.#watcher = watch(this.#directory, {
      ignored: (path) => isHidden(relative(this.#directory, path)),
      ignoreInitial: true,
      atomic: false,
      persistent: false,
    });
    // Events are hints, no more: what is there is found by looking, at the whole folder now and then.
    this.#watcher.on('all', (event, path) => {
      this.#want(event === 'change' ? relative(this.#directory, path) : undefined);
      this.#onEvent();
    });
    this.#watcher.on('ready', () => {
      this.#want(undefined);
      this.#onEvent();
    });
    this.#watcher.on('error', (error) => this.#onWatchError(error));
  }

  get state(): SourceState {
    return this.#state;
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  async start(): Promise<void> {
    this.#reading = this.#readFolder({ isFirst: true });
    try {
      await this.#reading;
    } finally {
      this.#onRead();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    this.#timer?.handle[Symbol.dispose]();
    await this.#watcher.close();
    await this.#reading;
  }

  /** @param name of a file that the folder is known to hold; everything else asks for a look at all of it. */
  #want(name: string | undefined): void {
    if (name === undefined || !this.#known.has(name)) this.#wanted = undefined;
    else this.#wanted?.add(name);
  }

  async #scan(): Promise<FolderScan> {
    const wanted = this.#wanted;
    this.#wanted = new Set();
    const nowMs = this.#clock.now();
    const isOverdue = nowMs - this.#scannedAtMs >= RESCAN_MS;
    if (wanted !== undefined && wanted.size > 0 && this.#isRoomy && !isOverdue) {
      const scan = await scanFiles(this.#directory, wanted);
      if (scan !== undefined) return scan;
    }
    this.#scannedAtMs = nowMs;
    const scan = await scanFolder(this.#directory);
    this.#isRoomy = scan.isRoomy;
    return scan;
  }

  #onEvent(): void {
    const now = this.#clock.now();
    this.#unrestSinceMs ??= now;
    const latest = this.#unrestSinceMs + MAX_SETTLES * this.#settleMs;
    this.#schedule(Math.max(Math.min(this.#settleMs, latest - now), 0), 'event');
  }

  #onWatchError(error: unknown): void {
    this.#log?.warn({ err: error }, 'watching manifests failed');
    const code = codeOf(error) ?? '';
    // Anything else is about one path, which the reading will find for itself.
    if (!EXHAUSTED.has(code)) return;
    this.#watchProblem = {
      severity: 'warning',
      code: 'not-watched',
      message: `changes are found late, every ${RESCAN_MS} ms: ${code}`,
      cure: 'raise the limit of inotify watches (fs.inotify.max_user_watches)',
    };
    this.#want(undefined);
    this.#onEvent();
  }

  /** Of two times the sooner counts; of two for events the later, so that they are read together. */
  #schedule(delayMs: number, reason: Timer['reason'] = 'look'): void {
    if (this.#isClosed) return;
    const dueMs = this.#clock.now() + delayMs;
    const timer = this.#timer;
    if (timer !== undefined) {
      const isPutOff = timer.reason === 'event' && reason === 'event';
      if (timer.dueMs <= dueMs && !isPutOff) return;
      timer.handle[Symbol.dispose]();
    }
    const handle = this.#clock.setTimeout(() => this.#onTimer(), delayMs);
    this.#timer = { dueMs, reason, handle };
  }

  #onTimer(): void {
    this.#timer = undefined;
    if (this.#isClosed) return;
    if (this.#reading === undefined) this.#reading = this.#supervise();
    else this.#isDue = true;
  }

  async #supervise(): Promise<void> {
    this.#unrestSinceMs = undefined;
    try {
      await this.#readFolder({ isFirst: false });
    } catch (error) {
      // Unforeseen: what is in force stays, and the next reading may do better.
      this.#log?.error({ err: error }, 'reading manifests failed');
    }
    this.#onRead();
  }

  #onRead(): void {
    this.#reading = undefined;
    this.#schedule(this.#isDue ? 0 : RESCAN_MS);
    this.#isDue = false;
  }

  async #readFolder({ isFirst }: { readonly isFirst: boolean }): Promise<void> {
    const scan = await this.#scan();
    const read: ReadFile[] = [];
    let writtenAtMs: number | undefined;
    for (const [name, scanned] of scan.files) {
      if (this.#isClosed) return;
      if (this.#known.get(name) === scanned.signature) this.#doubts.delete(name);
      else {
        const file = await this.#readChanged(name, scanned, isFirst);
        if (file === undefined) continue;
        read.push(file);
        writtenAtMs = Math.max(writtenAtMs ?? 0, scanned.modifiedMs);
      }
    }
    const gone = scan.isWhole ? this.#findGone(scan) : [];
    const problems = scan.isWhole ? this.#problemsOf(scan) : this.#folderProblems;
    const isSame = isDeepStrictEqual(problems, this.#folderProblems);
    if (!isFirst && read.length + gone.length === 0 && isSame) return;
    this.#folderProblems = problems;
    this.#advance(mergeFolder(this.#folder, { read, gone, problems }), writtenAtMs);
  }

  #problemsOf({ problems }: FolderScan): readonly Problem[] {
    return this.#watchProblem === undefined ? problems : [...problems, this.#watchProblem];
  }

  /** @returns `undefined` while it is in doubt. */
  async #readChanged(
    name: string,
    scanned: ScannedFile,
    isFirst: boolean,
  ): Promise<ReadFile | undefined> {
    const previous = this.#folder.files.get(name);
    const { file, signature, isUnsettled } = await readManifest(name, scanned, previous?.documents);
    const isDoubtful = isUnsettled || !file.isComplete || this.#losesObjects(file);
    if (isDoubtful && !isFirst && !this.#isConfirmed(name, signature)) return undefined;
    this.#doubts.delete(name);
    // By the wall clock, for that is what files are stamped by.
    const isFresh = Math.abs(Date.now() - scanned.modifiedMs) < COARSE_STAMP_MS;
    this.#known.set(name, isFresh ? '' : signature);
    if (isFresh) {
      this.#want(name);
      this.#schedule(COARSE_STAMP_MS);
    }
    return file;
  }

  #losesObjects(file: ReadFile): boolean {
    const remaining = new Set(file.objects.map(({ key }) => key));
    const entries = this.#folder.files.get(file.file)?.entries ?? [];
    return entries.some(({ key }) => !remaining.has(key));
  }

  #isConfirmed(name: string, signature: string): boolean {
    const now = this.#clock.now();
    const doubt = this.#doubts.get(name);
    const sinceMs = doubt?.signature === signature ? doubt.sinceMs : now;
    if (sinceMs + CONFIRM_MS <= now) return true;
    this.#doubts.set(name, { signature, sinceMs });
    this.#want(signature === GONE ? undefined : name);
    this.#schedule(sinceMs + CONFIRM_MS - now);
    return false;
  }

  #findGone(scan: FolderScan): readonly string[] {
    const isUnknown = (name: string): boolean =>
      scan.unknownUnder.some((path) => path === '' || name.startsWith(`${path}/`));
    const gone = [...this.#known.keys()].filter(
      (name) => !scan.files.has(name) && !isUnknown(name) && this.#isConfirmed(name, GONE),
    );
    for (const name of gone) {
      this.#known.delete(name);
      this.#doubts.delete(name);
    }
    return gone;
  }

  #advance(folder: FolderState, writtenAtMs: number | undefined): void {
    if (this.#isClosed) return;
    const { snapshot, problems } = this.#folder;
    this.#folder = folder;
    if (folder.snapshot === snapshot && folder.problems === problems) return;
    this.#state = {
      snapshot: folder.snapshot,
      problems: folder.problems,
      ...(writtenAtMs !== undefined && { writtenAtMs }),
    };
    const { revision, objects } = folder.snapshot;
    this.#log?.info(
      { revision, objects: objects.size, problems: folder.problems.length },
      'manifests read',
    );
    this.#listeners.tellAll(undefined, (error) =>
      this.#log?.error({ err: error }, 'listener failed'),
    );
  }
}

/** Editors' and tools' own files; not the `..data` by which Kubernetes swaps all files of a mounted folder at once. */
function isHidden(path: string): boolean {
  const name = basename(path);
  return name.startsWith('.') && !name.startsWith('..');
}
