// Drives HTTP/2 load by h2load and serves it by nghttpd, both of nghttp2: neither is what a round waits for.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freeEndpoint } from '../peers/envoy.ts';
import { quantile } from '../statistics.ts';
import type { DriverKind, LoadDriver, StartedDriver } from './driver.ts';
import type { LoadJob, LoadResult } from './job.ts';
import type { App } from './processes.ts';

const run = promisify(execFile);
/** Behind a job's own time. */
const STRAGGLER_MS = 20_000;
const READY_MS = 10_000;
const POLL_MS = 5;
const ANSWER_BYTES = 100;

const versionOf = async (program: string): Promise<string | undefined> => {
  try {
    return (await run(program, ['--version'])).stdout.trim();
  } catch {
    return undefined;
  }
};

/** What h2load says in its last lines. */
export interface H2loadCounts {
  readonly failures: number;
  readonly firstFailure: string | undefined;
}

/**
 * Whatever was asked must have been answered with 2xx. Streams that were cut by the end of the time are neither.
 * @throws TypeError when a line that is looked for is not there
 */
export function readH2loadCounts(output: string): H2loadCounts {
  const requests = countsOf(output, 'requests');
  const statuses = countsOf(output, 'status codes');
  const of = (counts: ReadonlyMap<string, number>, name: string): number => {
    const count = counts.get(name);
    if (count === undefined) throw new TypeError(`Cannot read h2load's output: no ${name}`);
    return count;
  };
  const kinds = [
    ...['failed', 'errored', 'timeout'].map((name) => [name, of(requests, name)] as const),
    ...['3xx', '4xx', '5xx'].map((name) => [name, of(statuses, name)] as const),
  ].filter(([, count]) => count > 0);
  return {
    failures: kinds.reduce((sum, [, count]) => sum + count, 0),
    firstFailure: kinds.length === 0 ? undefined : kinds.map(([n, c]) => `${c} ${n}`).join(', '),
  };
}

/** `requests: 12 total, 12 started, …` as a count by name. */
function countsOf(output: string, title: string): ReadonlyMap<string, number> {
  const line = output.split('\n').find((one) => one.startsWith(`${title}: `));
  if (line === undefined) throw new TypeError(`Cannot read h2load's output: no line "${title}"`);
  const counts = line.slice(title.length + 2).split(', ');
  return new Map(
    counts.map((text) => {
      const [count = '', name = ''] = text.split(' ');
      return [name, Number(count)];
    }),
  );
}

/**
 * h2load's log: a line a request, of when it began (µs since the epoch), its status, and how long it took (µs), with
 * tabs between.
 */
export function readH2loadLog(log: string): Omit<LoadResult, 'failures' | 'firstFailure'> {
  let first = Infinity;
  let last = 0;
  const times: number[] = [];
  for (const line of log.split('\n')) {
    if (line === '') continue;
    const [began = '', , took = ''] = line.split('\t');
    const at = Number(began);
    const timeUs = Number(took);
    if (!(at > 0) || !(timeUs >= 0)) throw new TypeError(`Cannot read h2load's log: ${line}`);
    first = Math.min(first, at);
    last = Math.max(last, at + timeUs);
    times.push(timeUs);
  }
  const sorted = Float64Array.from(times).sort();
  return {
    requests: sorted.length,
    elapsedMs: sorted.length === 0 ? 0 : (last - first) / 1_000,
    p50Us: quantile(sorted, 0.5),
    p90Us: quantile(sorted, 0.9),
    p99Us: quantile(sorted, 0.99),
  };
}

export function h2loadArgs(job: LoadJob, logFile: string): readonly string[] {
  const { host, port, path, connections, streams = 1, rate, durationMs } = job;
  return [
    '--threads=1',
    `--clients=${connections}`,
    `--max-concurrent-streams=${streams}`,
    `--duration=${durationMs}ms`,
    `--log-file=${logFile}`,
    '--header=:authority: prices.shop',
    // Of each connection.
    ...(rate === undefined ? [] : [`--rps=${Math.round(rate / connections)}`]),
    ...Object.entries(job.headers ?? {}).map(([name, value]) => `--header=${name}: ${value}`),
    `http://${host}:${port}${path}`,
  ];
}

class H2load implements LoadDriver {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async run(job: LoadJob): Promise<LoadResult> {
    const logFile = join(this.#folder, 'requests.log');
    await rm(logFile, { force: true });
    const { stdout } = await run('h2load', [...h2loadArgs(job, logFile)], {
      timeout: job.durationMs + STRAGGLER_MS,
    });
    return { ...readH2loadCounts(stdout), ...readH2loadLog(await readFile(logFile, 'utf8')) };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}

export const H2LOAD: DriverKind = {
  name: 'h2load',
  start: async (): Promise<StartedDriver> => {
    const version = await versionOf('h2load');
    if (version === undefined) {
      return { ok: false, reason: 'there is no h2load (package nghttp2-client)' };
    }
    const folder = await mkdtemp(join(tmpdir(), 'weft-h2load-'));
    return { ok: true, driver: new H2load(folder), about: `${version}, one thread` };
  },
};

/** The application behind the proxies: HTTP/2 in plain text, by prior knowledge. */
export async function startH2cApp(): Promise<
  { readonly ok: true; readonly app: App } | { readonly ok: false; readonly reason: string }
> {
  if ((await versionOf('nghttpd')) === undefined) {
    return { ok: false, reason: 'there is no nghttpd (package nghttp2-server)' };
  }
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-nghttpd-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, '100b'), 'x'.repeat(ANSWER_BYTES));
  const { host, port } = await freeEndpoint();
  const child = spawn('nghttpd', ['--no-tls', '-a', host, '-d', folder, String(port)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(child, 'exit');
  stack.defer(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  });
  const until = performance.now() + READY_MS;
  while (!(await accepts(host, port))) {
    if (child.exitCode !== null || performance.now() > until) {
      throw new Error('Cannot start nghttpd: it does not listen');
    }
    await delay(POLL_MS);
  }
  const owned = stack.move();
  return {
    ok: true,
    app: { address: `${host}:${port}`, [Symbol.asyncDispose]: () => owned.disposeAsync() },
  };
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const settle = (isOpen: boolean): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.on('connect', () => settle(true));
    socket.on('error', () => settle(false));
  });
}
