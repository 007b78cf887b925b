// The load generator, in a process of its own: asks over raw sockets, bounded in number and time, and keeps each answer's time.
import net from 'node:net';
import tls from 'node:tls';
import { quantile } from '../statistics.ts';
import { AnswerReader } from './answer-reader.ts';
import type { LoadJob, LoadResult } from './job.ts';

/** The same key exchange for every peer, whatever each would like best. */
const GROUP = 'X25519';
/** After the end of a job: what is still out is given up. */
const STRAGGLER_MS = 10_000;
const PACE_MS = 1;

class Run {
  readonly #job: LoadJob;
  readonly #request: Buffer;
  readonly #context: tls.SecureContext | undefined;
  readonly #timesUs: Float64Array;
  readonly #idle: Asker[] = [];
  readonly #open = new Set<Asker>();
  /** Due times of paced requests that found no free connection. */
  readonly #overdue: number[] = [];
  readonly #done: (result: LoadResult) => void;
  readonly #startedAt = performance.now();
  #sent = 0;
  #answered = 0;
  #failures = 0;
  #firstFailure: string | undefined;
  #busy = 0;
  #isOver = false;
  #lastAnswerAt = 0;

  constructor(job: LoadJob, done: (result: LoadResult) => void) {
    this.#job = job;
    this.#done = done;
    this.#request = requestOf(job);
    this.#timesUs = new Float64Array(job.maxRequests);
    if (job.tls !== undefined) {
      const { keyPem: key, chainPem: cert, bundlePem: ca } = job.tls;
      // Of the context: `tls.connect` does not mind it beside one.
      const how = { minVersion: 'TLSv1.3', ecdhCurve: GROUP } as const;
      this.#context = tls.createSecureContext({ key, cert, ca, ...how });
    }
    setTimeout(() => this.#stop(), job.durationMs);
    for (let n = 0; n < job.connections; n++) this.#connect(performance.now());
    if (job.rate !== undefined) this.#pace(job.rate);
  }

  get request(): Buffer {
    return this.#request;
  }

  socket(): net.Socket {
    const { host, port, tls: own } = this.#job;
    if (own === undefined || this.#context === undefined) return net.connect({ host, port });
    return tls.connect({
      host,
      port,
      secureContext: this.#context,
      ALPNProtocols: ['http/1.1'],
      checkServerIdentity: (_host, certificate) =>
        certificate.subjectaltname === `URI:${own.serverId}`
          ? undefined
          : new Error(`the server is ${certificate.subjectaltname}`),
    });
  }

  #connect(dueAt: number): void {
    this.#busy++;
    const asker = new Asker(this, dueAt);
    this.#open.add(asker);
  }

  connected(asker: Asker): void {
    if (this.#job.rate === undefined) this.#ask(asker, asker.dueAt);
    else this.#rest(asker);
  }

  answered(asker: Asker, status: number): void {
    this.#lastAnswerAt = performance.now();
    if (status !== 200) this.#fail(`status ${status}`);
    else if (this.#answered < this.#timesUs.length) {
      this.#timesUs[this.#answered++] = (this.#lastAnswerAt - asker.dueAt) * 1_000;
    }
    if (this.#job.newConnection !== undefined) {
      // The next one first: a job is over when nobody is connected.
      if (!this.#isOver && this.#sent < this.#job.maxRequests) this.#connect(performance.now());
      this.closed(asker);
    } else if (this.#job.rate !== undefined) this.#rest(asker);
    else this.#ask(asker, this.#lastAnswerAt);
  }

  failed(asker: Asker, reason: string): void {
    this.#fail(reason);
    this.closed(asker);
  }

  closed(asker: Asker): void {
    if (!this.#open.delete(asker)) return;
    asker.destroy();
    this.#leave();
  }

  #ask(asker: Asker, dueAt: number): void {
    if (this.#isOver || this.#sent >= this.#job.maxRequests) {
      this.closed(asker);
      return;
    }
    this.#sent++;
    asker.ask(dueAt);
  }

  #rest(asker: Asker): void {
    const dueAt = this.#overdue.shift();
    if (dueAt !== undefined || this.#isOver) this.#ask(asker, dueAt ?? 0);
    else this.#idle.push(asker);
  }

  /** Requests are due at fixed times, and each one's time counts from when it was due. */
  #pace(rate: number): void {
    let due = 0;
    const timer = setInterval(() => {
      if (this.#isOver) {
        clearInterval(timer);
        for (const asker of this.#idle.splice(0)) this.closed(asker);
        return;
      }
      const target = ((performance.now() - this.#startedAt) / 1_000) * rate;
      for (; due < target; due++) {
        const dueAt = this.#startedAt + (due / rate) * 1_000;
        const asker = this.#idle.pop();
        if (asker === undefined) this.#overdue.push(dueAt);
        else this.#ask(asker, dueAt);
      }
    }, PACE_MS);
  }

  #fail(reason: string): void {
    if (this.#isOver && reason === 'stopped') return;
    this.#failures++;
    this.#firstFailure ??= reason;
  }

  #leave(): void {
    this.#busy--;
    if (this.#busy > 0) return;
    const times = this.#timesUs.subarray(0, this.#answered).sort();
    this.#done({
      requests: this.#answered,
      failures: this.#failures,
      firstFailure: this.#firstFailure,
      elapsedMs: this.#lastAnswerAt - this.#startedAt,
      p50Us: quantile(times, 0.5),
      p90Us: quantile(times, 0.9),
      p99Us: quantile(times, 0.99),
    });
  }

  #stop(): void {
    this.#isOver = true;
    setTimeout(() => {
      for (const asker of this.#open) this.failed(asker, 'no answer at the end');
    }, STRAGGLER_MS).unref();
  }
}

/** Head and body as they are written, all at once. */
function requestOf({ path, newConnection, uploadBytes, headers = {} }: LoadJob): Buffer {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  if (newConnection !== undefined) fields.push('connection: close\r\n');
  if (uploadBytes !== undefined) fields.push(`content-length: ${uploadBytes}\r\n`);
  const method = uploadBytes === undefined ? 'GET' : 'PUT';
  const head = `${method} ${path} HTTP/1.1\r\nhost: prices.shop\r\n${fields.join('')}\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.alloc(uploadBytes ?? 0, 'x')]);
}

/** One connection: one request out at a time. */
class Asker {
  dueAt: number;
  readonly #run: Run;
  readonly #socket: net.Socket;
  readonly #reader = new AnswerReader();

  constructor(run: Run, dueAt: number) {
    this.#run = run;
    this.dueAt = dueAt;
    this.#socket = run.socket();
    this.#socket.setNoDelay(true);
    const ready = this.#socket instanceof tls.TLSSocket ? 'secureConnect' : 'connect';
    this.#socket.once(ready, () => run.connected(this));
    this.#socket.on('data', (part: Buffer) => this.#read(part));
    this.#socket.on('error', (error) => run.failed(this, error.message));
    this.#socket.on('close', () => run.failed(this, 'closed by the peer'));
  }

  #read(part: Buffer): void {
    try {
      if (this.#reader.read(part)) this.#run.answered(this, this.#reader.status);
    } catch (error) {
      this.#run.failed(this, String(error));
    }
  }

  ask(dueAt: number): void {
    this.dueAt = dueAt;
    this.#socket.write(this.#run.request);
  }

  destroy(): void {
    this.#socket.removeAllListeners('close').removeAllListeners('error').on('error', noteNothing);
    this.#socket.destroy();
  }
}

/** A connection that was given up may still break. */
const noteNothing = (): void => {};

if (import.meta.main) {
  process.on('message', (job: LoadJob) => {
    void new Run(job, (result) => process.send?.(result));
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.('ready');
}
