// Builds the server on go-control-plane with Go once for its sources, keeps it in the user's cache, and runs it.
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isPlainObject } from '@weft/model/policy/reader';

const SOURCES = fileURLToPath(new URL('../go-control-plane', import.meta.url));
const FILES = ['go.mod', 'go.sum', 'main.go'] as const;
const ANSWER_MS = 120_000;

type Built =
  | { readonly path: string; readonly version: string }
  /** Why there is none. */
  | { readonly missing: string };

function builtPath(): string {
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}\0`);
  for (const name of FILES) hash.update(`${name}\0`).update(readFileSync(join(SOURCES, name)));
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(cache, 'weft', 'bench', `go-control-plane-${hash.digest('hex').slice(0, 24)}`);
}

function versionText(): string {
  const words = readFileSync(join(SOURCES, 'go.mod'), 'utf8').split(/\s+/);
  const versionOf = (module: string): string => words[words.indexOf(module) + 1] ?? '';
  const library = versionOf('github.com/envoyproxy/go-control-plane');
  return `go-control-plane ${library}, grpc-go ${versionOf('google.golang.org/grpc')}`;
}

/** Of two that build at once, the later one's file stays; they are the same. */
export async function goControlPlane(progress: (what: string) => void): Promise<Built> {
  const path = builtPath();
  const version = versionText();
  if (existsSync(path)) return { path, version };
  progress('building the server on go-control-plane with Go, once');
  mkdirSync(join(path, '..'), { recursive: true });
  const made = `${path}.${process.pid}`;
  try {
    await promisify(execFile)('go', ['build', '-trimpath', '-buildvcs=false', '-o', made, '.'], {
      cwd: SOURCES,
      env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
    });
    renameSync(made, path);
    return { path, version };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { missing: `go-control-plane: it cannot be built with Go: ${why.trim()}` };
  } finally {
    rmSync(made, { force: true });
  }
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
