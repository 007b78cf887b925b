// Runs the server on go-control-plane, built with Go.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { isPlainObject } from '@weft/model/policy/reader';
import { buildGoProgram, goModuleVersion } from './go-program.ts';

const SOURCES = fileURLToPath(new URL('../go-control-plane', import.meta.url));
const ANSWER_MS = 120_000;

type Built =
  | { readonly path: string; readonly version: string }
  /** Why there is none. */
  | { readonly missing: string };

export async function goControlPlane(progress: (what: string) => void): Promise<Built> {
  const built = await buildGoProgram({ name: 'go-control-plane', sources: SOURCES, progress });
  if ('missing' in built) return built;
  const library = goModuleVersion(SOURCES, 'github.com/envoyproxy/go-control-plane');
  const grpc = goModuleVersion(SOURCES, 'google.golang.org/grpc');
  return { path: built.path, version: `go-control-plane ${library}, grpc-go ${grpc}` };
}

/** The server as a process; it ends with its disposal. */
export class GoServer implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #ended: Promise<unknown>;
  #address = '';

  private constructor(path: string, files: GoServerFiles) {
    const args = Object.entries(files).flatMap(([name, file]) => [`-${name}`, file]);
    this.#child = spawn(path, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#ended = once(this.#child, 'exit');
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  static async start(path: string, files: GoServerFiles): Promise<GoServer> {
    const server = new GoServer(path, files);
    server.#address = await server.#next('xds');
    return server;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('Cannot measure: the Go server was not started');
    return pid;
  }

  get address(): string {
    return this.#address;
  }

  /** Hands it a change; what the proxies are told then is how one learns that it was made. */
  send(change: Uint8Array): void {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(change.byteLength);
    this.#child.stdin.write(Buffer.concat([head, change]));
  }

  /** The same; settles when its cache has it. Not while changes that were sent are under way. */
  async apply(change: Uint8Array): Promise<void> {
    const applied = this.#next('applied');
    this.send(change);
    await applied;
  }

  /** @throws Error when it says something else, or ends. */
  async #next(key: string): Promise<string> {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const gone = this.#ended.then((): never => {
      throw new Error('Cannot measure: the Go server ended');
    });
    const [line] = await Promise.race([once(this.#lines, 'line', { signal }), gone]);
    const said: unknown = JSON.parse(String(line));
    const value = isPlainObject(said) ? said[key] : undefined;
    if (typeof value !== 'string') throw new Error(`Cannot measure: the Go server said ${line}`);
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
    }
    await this.#ended;
    this.#lines.close();
  }
}

export interface GoServerFiles {
  readonly cert: string;
  readonly key: string;
  readonly roots: string;
}
