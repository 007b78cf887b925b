// Starts the application and the load generator as processes of their own, and asks them over IPC.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LoadDriver } from './driver.ts';
import type { LoadJob, LoadResult } from './job.ts';

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** A module of ours as a child; it ends when the connection to it does. */
export function startChild(
  file: string,
  args: readonly string[] = [],
): ChildProcess & AsyncDisposable {
  const child = fork(file, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: ['--disable-warning=ExperimentalWarning'],
    serialization: 'advanced',
  });
  const ended = once(child, 'exit');
  return Object.assign(child, {
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  });
}

/** The next message of a child. @throws Error when it ends instead. */
export async function nextMessage(child: ChildProcess, withinMs: number): Promise<unknown> {
  const settled = new AbortController();
  const signal = AbortSignal.any([settled.signal, AbortSignal.timeout(withinMs)]);
  try {
    const gone = once(child, 'exit', { signal }).then(([code]) => {
      throw new Error(`Cannot go on: a process of the benchmark ended with ${String(code)}`);
    });
    gone.catch(() => {});
    const [message] = await Promise.race([once(child, 'message', { signal }), gone]);
    return message;
  } finally {
    settled.abort();
  }
}

const START_MS = 10_000;
/** Behind a job's own time; the generator gives up after half of it. */
const ANSWER_MS = 20_000;

export interface App extends AsyncDisposable {
  readonly address: string;
}

export async function startApp(): Promise<App> {
  const child = startChild(fileOf('app.ts'));
  const address = await nextMessage(child, START_MS);
  assert.ok(typeof address === 'object' && address !== null && 'port' in address);
  return {
    address: `127.0.0.1:${String(address.port)}`,
    [Symbol.asyncDispose]: async () => await child[Symbol.asyncDispose](),
  };
}

export class LoadGenerator implements LoadDriver {
  readonly #child: ChildProcess & AsyncDisposable;

  constructor(child: ChildProcess & AsyncDisposable) {
    this.#child = child;
  }

  async run(job: LoadJob): Promise<LoadResult> {
    this.#child.send(job);
    const result = await nextMessage(this.#child, job.durationMs + ANSWER_MS);
    assert.ok(isLoadResult(result));
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

const isLoadResult = (value: unknown): value is LoadResult =>
  typeof value === 'object' && value !== null && 'requests' in value && 'failures' in value;

export async function startLoadGenerator(): Promise<LoadGenerator> {
  const child = startChild(fileOf('generator.ts'));
  await nextMessage(child, START_MS);
  return new LoadGenerator(child);
}
