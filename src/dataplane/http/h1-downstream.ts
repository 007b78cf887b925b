// The client's side of a connection: when it is read, how long it may be quiet, and how it ends.
import type { Socket } from 'node:net';
import { resetConnection } from '../tls/reset.ts';
import { DeadlineClock } from './h1-clock.ts';
import type { Http1Options } from './h1-contract.ts';

/** A client that still sends when we have closed would lose the answer to our RST (RFC 9112 §9.6). */
const LINGER_MS = 1_000;
/** At the drain: the request that may be on its way is answered; closing at once would lose it (RFC 9112 §9.5). */
export const DRAIN_NOTICE_MS = 1_000;

export class Downstream {
  readonly socket: Socket;
  readonly #options: Http1Options;
  readonly #clock: DeadlineClock;
  #isPaused = false;
  #hasProgress = false;
  /** Bytes that the client had not taken when progress was looked at last. */
  #waitingBefore = 0;

  constructor(socket: Socket, options: Http1Options, onDeadline: () => void) {
    this.socket = socket;
    this.#options = options;
    const { idleTimeoutMs, headTimeoutMs, responseTimeoutMs } = options;
    this.#clock = new DeadlineClock([idleTimeoutMs, headTimeoutMs, responseTimeoutMs], onDeadline);
    this.startIdle();
  }

  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.socket.resume();
  }

  write(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** Bytes have moved, either way. */
  noteProgress(): void {
    this.#hasProgress = true;
  }

  startIdle(): void {
    this.#hasProgress = false;
    this.#clock.set(performance.now(), this.#options.idleTimeoutMs);
  }

  startHead(): void {
    this.#clock.set(performance.now(), this.#options.headTimeoutMs);
  }

  startResponse(): void {
    this.#clock.set(performance.now(), this.#options.responseTimeoutMs);
  }

  stopClock(): void {
    this.#clock.set(0, 0);
  }

  /** @returns whether bytes have moved since this was asked last; if so, time runs anew. */
  checkProgress(): boolean {
    const waiting = this.socket.writableLength;
    const isMoving = this.#hasProgress || waiting < this.#waitingBefore;
    this.#waitingBefore = waiting;
    if (isMoving) this.startIdle();
    return isMoving;
  }

  /** Ends the connection, and reads on for a while so that the client gets what was written last. */
  end(): void {
    this.startIdle();
    this.resume();
    this.socket.end(() => {
      setTimeout(() => this.socket.destroy(), LINGER_MS).unref();
    });
  }

  /** Ends the connection so that it cannot be taken for the end of an answer. */
  reset(): void {
    resetConnection(this.socket);
  }

  [Symbol.dispose](): void {
    this.#clock[Symbol.dispose]();
  }
}
