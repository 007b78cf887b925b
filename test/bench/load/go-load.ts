// Runs the Go program of the benchmark: as the application that speaks gRPC and TCP, and as what loads pairs with gRPC, TCP and new connections.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { type BuiltProgram, buildGoProgram, goModuleVersion } from '../peers/go-program.ts';
import type { DriverName } from '../scenario.ts';
import type { DriverKind, LoadDriver, StartedDriver } from './driver.ts';
import type { LoadJob, LoadResult } from './job.ts';
import type { App } from './processes.ts';

const SOURCES = fileURLToPath(new URL('../grpc', import.meta.url));
const START_MS = 10_000;
/** Behind a job's own time: streams and transfers that it began are ended. */
const STRAGGLER_MS = 30_000;

let built: Promise<BuiltProgram> | undefined;

/** Built at most once a run. */
const program = (): Promise<BuiltProgram> =>
  (built ??= buildGoProgram({
    name: 'grpc-load',
    sources: SOURCES,
    progress: (what) => void process.stderr.write(`… ${what}\n`),
  }));

/** The program as a child that says lines of JSON; it ends with its disposal. */
class GoProcess implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #ended: Promise<unknown>;

  constructor(path: string, mode: 'serve' | 'load') {
    this.#child = spawn(path, [mode], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#ended = once(this.#child, 'exit');
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  /** @throws Error when it ends instead. */
  async next(withinMs: number): Promise<unknown> {
    const settled = new AbortController();
    const signal = AbortSignal.any([settled.signal, AbortSignal.timeout(withinMs)]);
    const gone = this.#ended.then((): never => {
      throw new Error('Cannot measure: the Go program of the benchmark ended');
    });
    try {
      const [line] = await Promise.race([once(this.#lines, 'line', { signal }), gone]);
      return JSON.parse(String(line));
    } finally {
      settled.abort();
    }
  }

  ask(question: unknown, withinMs: number): Promise<unknown> {
    const answer = this.next(withinMs);
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
    }
    await this.#ended;
    this.#lines.close();
  }
}

export type StartedGoApp =
  | { readonly ok: true; readonly app: App }
  | { readonly ok: false; readonly reason: string };

/** The application behind the proxies. */
export async function startGoApp(protocol: 'grpc' | 'tcp'): Promise<StartedGoApp> {
  const made = await program();
  if ('missing' in made) return { ok: false, reason: made.missing };
  const child = new GoProcess(made.path, 'serve');
  const said = await child.next(START_MS);
  const address = isPlainObject(said) ? said[protocol] : undefined;
  if (typeof address !== 'string') {
    throw new TypeError(`Cannot start the Go program: it said ${JSON.stringify(said)}`);
  }
  return {
    ok: true,
    app: { address, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() },
  };
}

const BYTES_OF_MB = 1_000_000;

/** @returns the job as the program reads it. */
export function goJobOf(name: DriverName, job: LoadJob): PlainObject {
  const { host, port, path, connections, streams = 1, rate = 0, durationMs, tls, more = {} } = job;
  const kind = name === 'connections' ? name : String(more['kind']);
  return {
    kind,
    address: `${host}:${port}`,
    connections,
    streams,
    durationMs,
    bytes: Number(more['bytes'] ?? 0),
    rate,
    http: { path, authority: 'prices.shop' },
    ...(tls !== undefined && {
      tls: { ...tls, alpn: 'http/1.1', isResumed: more['resumed'] === 1 },
    }),
  };
}

/** Bulk transfers are counted by what they carried, in MB. */
export function goResultOf(job: LoadJob, said: unknown): LoadResult {
  if (!isPlainObject(said)) throw new TypeError('Cannot read a result of the Go program');
  const figure = (key: string): number => {
    const value = said[key];
    if (typeof value !== 'number') throw new TypeError(`Cannot read ${key} of a result`);
    return value;
  };
  const { firstFailure } = said;
  const isBulk = job.more?.['unit'] === 'MB';
  const ofOne = isBulk ? Number(job.more?.['bytes']) / BYTES_OF_MB : 1;
  return {
    requests: figure('requests') * ofOne,
    failures: figure('failures'),
    firstFailure: typeof firstFailure === 'string' ? firstFailure : undefined,
    elapsedMs: figure('elapsedMs'),
    p50Us: figure('p50Us'),
    p90Us: figure('p90Us'),
    p99Us: figure('p99Us'),
  };
}

async function startGoLoad(name: DriverName): Promise<StartedDriver> {
  const made = await program();
  if ('missing' in made) return { ok: false, reason: made.missing };
  const child = new GoProcess(made.path, 'load');
  await child.next(START_MS);
  const driver: LoadDriver = {
    run: async (job) =>
      goResultOf(job, await child.ask(goJobOf(name, job), job.durationMs + STRAGGLER_MS)),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
  const about: Partial<Record<DriverName, string>> = {
    grpc: `grpc-go ${goModuleVersion(SOURCES, 'google.golang.org/grpc')}`,
    tcp: 'sockets of Go',
    connections: "Go's TLS",
  };
  return { ok: true, driver, about: about[name] ?? 'Go' };
}

const kindOf = (name: DriverName): DriverKind => ({
  name,
  prepare: async () => void (await program()),
  start: () => startGoLoad(name),
});

export const GO_DRIVERS: readonly DriverKind[] = [
  kindOf('grpc'),
  kindOf('tcp'),
  kindOf('connections'),
];
