// Starts one process of the demo, waits for its ready line, keeps its log, and ends it by its own process id.
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';

export interface DaemonOptions {
  readonly name: string;
  /** What runs it in another place: `ip netns exec NAME`. */
  readonly enter?: readonly string[];
  /** Arguments of `weft`. */
  readonly args: readonly string[];
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Default: that of this checkout. */
  readonly weft?: typeof weftCommand;
}

const READY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 15_000;
/** Log lines that are kept to look things up in. */
const MAX_LINES = 20_000;
const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

/** `node … main.ts` with these arguments. */
export const weftCommand = (args: readonly string[]): readonly string[] => [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  MAIN,
  ...args,
];

/** A line of the log; `undefined` for anything else that was written. */
function readLine(line: string): PlainObject | undefined {
  if (!line.startsWith('{') || !line.endsWith('}')) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return isPlainObject(value) ? value : undefined;
  } catch {
    /** It only looked like one: the log file has it all the same. */
    return undefined;
  }
}

export class DaemonProcess implements AsyncDisposable {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: PlainObject[] = [];
  readonly #log: WriteStream;
  readonly #exited: Promise<number>;
  #last = '';

  constructor(options: DaemonOptions) {
    const { weft = weftCommand } = options;
    this.name = options.name;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
    const [command = '', ...args] = [...(options.enter ?? []), ...weft(options.args)];
    this.#child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      /** A group of its own: Ctrl-C is for the demo, which then ends its processes in order. */
      detached: true,
    });
    this.#exited = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 1));
      this.#child.on('error', (error) => {
        this.#last = error.message;
        resolve(127);
      });
    });
    const { stderr } = this.#child;
    if (stderr !== null) createInterface({ input: stderr }).on('line', (line) => this.#keep(line));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  #keep(line: string): void {
    this.#log.write(`${line}\n`);
    this.#last = line;
    const entry = readLine(line);
    if (entry === undefined) return;
    if (this.#lines.length >= MAX_LINES) this.#lines.splice(0, MAX_LINES / 2);
    this.#lines.push(entry);
  }

  /** The first logged line that fits, newest first. */
  findLine(fits: (line: PlainObject) => boolean): PlainObject | undefined {
    return this.#lines.findLast(fits);
  }

  /** @throws Error with the last words of a process that ends or says nothing. */
  async ready(): Promise<PlainObject> {
    const { stdout } = this.#child;
    if (stdout === null) throw new TypeError(`Cannot watch ${this.name}: no output`);
    const { promise, resolve, reject } = Promise.withResolvers<PlainObject>();
    createInterface({ input: stdout }).on('line', (line) => {
      if (!line.startsWith('{"ready":true')) return;
      const value: unknown = JSON.parse(line);
      if (isPlainObject(value)) resolve(value);
    });
    const timer = setTimeout(
      () =>
        reject(new Error(`${this.name} was not ready in ${READY_TIMEOUT_MS} ms: ${this.#last}`)),
      READY_TIMEOUT_MS,
    );
    void this.#exited.then((code) =>
      reject(new Error(`${this.name} ended with status ${code}: ${this.#last}`)),
    );
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @returns its exit status. A process that does not end in time is killed. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    try {
      return await this.#exited;
    } finally {
      clearTimeout(timer);
      this.#endGroup();
      this.#log.end();
    }
  }

  /** Whatever it started and left behind; the group is its own. */
  #endGroup(): void {
    const { pid, stdout, stderr } = this.#child;
    try {
      if (pid !== undefined) process.kill(-pid, 'SIGKILL');
    } catch (error) {
      const isGone = error instanceof Error && 'code' in error && error.code === 'ESRCH';
      if (!isGone) throw error;
    }
    stdout?.destroy();
    stderr?.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
