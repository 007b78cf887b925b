// Gets workloads that know SPIFFE and nothing of Weft: a Go program with go-spiffe, and a Python program with py-spiffe.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { buildGoProgram } from '../bench/peers/go-program.ts';
import { eventually } from './lab-wait.ts';

const SOURCES = fileURLToPath(new URL('../spiffe', import.meta.url));
const PACKAGE = 'spiffe==0.3.2';
const VENV = fileURLToPath(new URL('../../node_modules/.cache/py-spiffe-0.3.2', import.meta.url));
const INSTALL_MS = 170_000;
const MEMORY = '/dev/shm';

const run = promisify(execFile);
const progress = (what: string): void => void process.stderr.write(`… ${what}\n`);

/** How such a program is started: before its own arguments; or why there is none. */
export type SpiffeProgram = { readonly argv: readonly string[] } | { readonly missing: string };

export async function goSpiffe(): Promise<SpiffeProgram> {
  const built = await buildGoProgram({ name: 'spiffe', sources: SOURCES, progress });
  return 'path' in built ? { argv: [built.path] } : built;
}

/** Under its name only once it is whole: of two that make it at once, the first one's stays. */
export async function pySpiffe(): Promise<SpiffeProgram> {
  const argv = [join(VENV, 'bin', 'python3'), join(SOURCES, 'client.py')];
  if (existsSync(VENV)) return { argv };
  const made = `${VENV}.${process.pid}`;
  try {
    progress(`fetching ${PACKAGE} from PyPI`);
    await mkdir(join(VENV, '..'), { recursive: true });
    await run('python3', ['-m', 'venv', made]);
    const pip = ['-m', 'pip', 'install', '--quiet', '--no-input', PACKAGE];
    await run(join(made, 'bin', 'python3'), pip, { timeout: INSTALL_MS });
    if (!existsSync(VENV)) await rename(made, VENV);
    return { argv };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { missing: `${PACKAGE}: it cannot be had: ${why.trim()}` };
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

/** One that runs: it says a JSON object a line. */
export class SpiffeProcess implements AsyncDisposable {
  readonly said: PlainObject[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #complaint = '';
  #code: number | null | undefined;

  constructor(program: readonly string[], socket: string) {
    const [command = '', ...arguments_] = program;
    const env = {
      ...process.env,
      SPIFFE_ENDPOINT_SOCKET: `unix:${socket}`,
      ...(existsSync(MEMORY) && { MEMORY }),
    };
    this.#child = spawn(command, arguments_, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#ended = once(this.#child, 'close').then(([code]) => {
      this.#code = typeof code === 'number' ? code : null;
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#complaint += chunk.toString()));
    if (this.#child.stdout === null) throw new TypeError('Cannot hear the program: it has no pipe');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const value: unknown = JSON.parse(line);
      if (isPlainObject(value)) this.said.push(value);
    });
  }

  get complaint(): string {
    return this.#complaint;
  }

  /** What it says as the nth, from 1. @throws Error with its complaints when it ends before. */
  heard(count: number, withinMs = 30_000): Promise<PlainObject> {
    return eventually(
      () => {
        const found = this.said[count - 1];
        if (found === undefined && this.#code !== undefined) {
          throw new Error(`it ended with ${this.#code}: ${this.#complaint}`);
        }
        return found;
      },
      { what: `line ${count} of the program`, withinMs, told: () => this.#complaint },
    );
  }

  /** @returns its exit code. */
  async ended(): Promise<number | null> {
    await this.#ended;
    return this.#code ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#code === undefined) this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
