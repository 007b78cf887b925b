// Runs the application for `weft exec`: one process at a time, started again with another environment, or ended.
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';

export interface SupervisedOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Of its next start. */
  readonly environment: () => ReadonlyMap<string, string>;
  /** After SIGTERM, before SIGKILL. */
  readonly graceMs: number;
}

/** As a shell says it: 128 and the signal's number. */
const signalStatus = (signal: NodeJS.Signals): number => 128 + (constants.signals[signal] ?? 0);
const CANNOT_START = 127;

export class SupervisedApp {
  readonly #options: SupervisedOptions;
  readonly #whenEnded = Promise.withResolvers<number>();
  #child: ChildProcess | undefined;
  #isRestarting = false;
  #isEnding = false;
  #kill: NodeJS.Timeout | undefined;

  constructor(options: SupervisedOptions) {
    this.#options = options;
  }

  /** Its status once it has ended by itself, or been ended. */
  get ended(): Promise<number> {
    return this.#whenEnded.promise;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { command, args, environment } = this.#options;
    /** The values are in its environment alone: not in this process's own, which others of its user can read. */
    const env = { ...process.env, ...Object.fromEntries(environment()) };
    const child = spawn(command, [...args], { stdio: 'inherit', env });
    this.#child = child;
    child.once('error', (error) => {
      process.stderr.write(`weft exec: cannot run ${command}: ${error.message}\n`);
      this.#onEnd(CANNOT_START);
    });
    child.once('exit', (code, signal) =>
      this.#onEnd(signal === null ? (code ?? 1) : signalStatus(signal)),
    );
  }

  #onEnd(status: number): void {
    clearTimeout(this.#kill);
    this.#child = undefined;
    if (this.#isRestarting && !this.#isEnding) {
      this.#isRestarting = false;
      this.start();
    } else this.#whenEnded.resolve(status);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it, and starts it with the environment of then. */
  restart(): void {
    if (this.#isRestarting || this.#isEnding || this.#child === undefined) return;
    this.#isRestarting = true;
    this.#terminate('SIGTERM');
  }

  /** Ends it for good. @param isForced whether it is killed when it does not go. */
  end(signal: NodeJS.Signals, { isForced }: { readonly isForced: boolean }): void {
    this.#isEnding = true;
    if (isForced) this.#terminate(signal);
    else this.signal(signal);
  }

  #terminate(signal: NodeJS.Signals): void {
    this.signal(signal);
    clearTimeout(this.#kill);
    this.#kill = setTimeout(() => this.signal('SIGKILL'), this.#options.graceMs);
  }
}
