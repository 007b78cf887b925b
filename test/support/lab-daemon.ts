// One `weft` process of a test: its ready line, its log lines and its end; it never outlives the test that started it.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { eventually, PATIENCE_MS } from './lab-wait.ts';
import { weftCommand } from './weft-main.ts';

const CACHE = fileURLToPath(new URL('../../node_modules/.cache/node', import.meta.url));

const READY_MS = 20_000;
const STOP_MS = 15_000;

export interface Ended {
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

/** Still running; a test file that is given up must not leave them behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));

export class Daemon implements AsyncDisposable {
  readonly name: string;
  /** Resolves when the process has ended and its output has been read. */
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #lines: PlainObject[] = [];
  readonly #texts: string[] = [];
  readonly #output: string[] = [];
  #end: Ended | undefined;

  /** @param args what is written after `weft` */
  constructor(
    name: string,
    args: readonly string[],
    options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
  ) {
    this.name = name;
    const [command = '', ...words] = weftCommand(args);
    this.#child = spawn(command, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_COMPILE_CACHE: CACHE, NODE_TEST_CONTEXT: '', ...options.env },
      ...(options.cwd !== undefined && { cwd: options.cwd }),
    });
    running.add(this.#child);
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => {
        running.delete(this.#child);
        this.#end = { code: code ?? undefined, signal: signal ?? undefined };
        resolve(this.#end);
      });
    });
    const { stdout, stderr } = this.#child;
    assert.ok(stdout !== null && stderr !== null);
    createInterface({ input: stdout }).on('line', (line) => this.#output.push(line));
    createInterface({ input: stderr }).on('line', (line) => this.#keep(line));
    // A test that hangs must not keep its file from ending: every wait has a timer of its own.
    this.#child.unref();
    for (const stream of [stdout, stderr]) if (stream instanceof Socket) stream.unref();
  }

  #keep(line: string): void {
    this.#texts.push(line);
    if (!line.startsWith('{')) return;
    const entry: unknown = JSON.parse(line);
    if (isPlainObject(entry)) this.#lines.push(entry);
  }

  get pid(): number {
    assert.ok(this.#child.pid !== undefined, `${this.name} was not started`);
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#end === undefined;
  }

  /** Standard error as text. */
  get stderr(): string {
    return this.#texts.join('\n');
  }

  /** Standard output as text. */
  get stdout(): string {
    return this.#output.join('\n');
  }

  /** The JSON lines that were logged, oldest first. */
  get lines(): readonly PlainObject[] {
    return this.#lines;
  }

  /** The first logged line that fits, now or soon. */
  line(
    fits: (line: PlainObject) => boolean,
    what: string,
    withinMs = PATIENCE_MS,
  ): Promise<PlainObject> {
    return eventually(() => this.#lines.find(fits), {
      what: `${what} in the log of ${this.name}`,
      withinMs,
      told: () => this.tail(),
    });
  }

  /** The last words, for failures. */
  tail(): string {
    return this.#texts.slice(-8).join('\n');
  }

  /** The ready line, as an object. */
  ready(withinMs = READY_MS): Promise<PlainObject> {
    return eventually(
      () => {
        const line = this.#output.find((text) => text.startsWith('{"ready":true'));
        if (line === undefined && this.#end !== undefined) {
          throw new Gone(`${this.name} ended with ${JSON.stringify(this.#end)}: ${this.tail()}`);
        }
        const value: unknown = line === undefined ? undefined : JSON.parse(line);
        return isPlainObject(value) ? value : undefined;
      },
      { what: `${this.name} being ready`, withinMs, told: () => this.tail() },
    );
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** How it ended, within a deadline. */
  exit(withinMs = STOP_MS): Promise<Ended> {
    return eventually(() => this.#end, {
      what: `the end of ${this.name}`,
      withinMs,
      told: () => this.tail(),
    });
  }

  /** Ends it as an operator would. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    if (this.isRunning) this.signal(signal);
    return this.exit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isRunning) this.signal('SIGKILL');
    await this.exit();
  }
}

/** There is nothing to wait for any more. */
class Gone extends Error {
  readonly isFinal = true;
}

export interface Finished {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a `weft` command that ends by itself. */
export async function runWeft(
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly withinMs?: number;
  } = {},
): Promise<Finished> {
  await using daemon = new Daemon(`weft ${args[0] ?? ''}`, args, options);
  const { code } = await daemon.exit(options.withinMs);
  return { code, stdout: daemon.stdout, stderr: daemon.stderr };
}
