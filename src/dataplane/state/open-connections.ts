// The connections that are open, so that each can be judged again when policy or trust changes, and counted for the drain.
import { setTimeout as delay } from 'node:timers/promises';

export interface OpenConnection {
  /** Judges again by what is in force now. @returns why the connection must end, or `undefined`. */
  rejudge(): string | undefined;
  /** Ends the connection at once. */
  cut(reasonCode: string): void;
  /** Asks the connection to end after what is in flight. */
  drain(): void;
}

/** A step of judging: this many connections at once, so that thousands do not hold up traffic. */
const BATCH = 256;
/** 100 ms: handshakes that were under way when accepting ended are over, and their connections are counted. */
const LATE_MS = 100;

export class OpenConnections {
  readonly #all = new Set<OpenConnection>();
  readonly #onCut: (reasonCode: string) => void;
  #generation = 0;
  #isDraining = false;
  #whenEmpty: (() => void) | undefined;

  constructor(options: { readonly onCut: (reasonCode: string) => void }) {
    this.#onCut = options.onCut;
  }

  get size(): number {
    return this.#all.size;
  }

  add(connection: OpenConnection): void {
    this.#all.add(connection);
    if (this.#isDraining) connection.drain();
  }

  delete(connection: OpenConnection): void {
    this.#all.delete(connection);
    if (this.#all.size === 0) this.#whenEmpty?.();
  }

  /** Judges every open connection in batches; a newer call takes over from an older one. */
  rejudgeAll(): void {
    const generation = ++this.#generation;
    const pending = [...this.#all];
    const step = (): void => {
      if (generation !== this.#generation) return;
      for (const connection of pending.splice(0, BATCH)) {
        if (!this.#all.has(connection)) continue;
        const reasonCode = connection.rejudge();
        if (reasonCode === undefined) continue;
        this.#onCut(reasonCode);
        connection.cut(reasonCode);
      }
      if (pending.length > 0) setImmediate(step);
    };
    step();
  }

  /**
   * Lets every connection end by itself and cuts what is left after the limit.
   * @param stopAccepting called once nothing is open, or half of the time is over: until then late callers are
   * served, from then on they are refused, which they can tell from a failure.
   * @returns how many had to be cut.
   */
  async drain(limitMs: number, stopAccepting?: () => void): Promise<number> {
    const endsAt = performance.now() + limitMs;
    this.#isDraining = true;
    for (const connection of this.#all) connection.drain();
    if (stopAccepting !== undefined) {
      await this.#emptied(limitMs / 2);
      stopAccepting();
      await delay(Math.min(LATE_MS, limitMs / 2));
    }
    await this.#emptied(endsAt - performance.now());
    const left = [...this.#all];
    for (const connection of left) connection.cut('drain-timeout');
    return left.length;
  }

  async #emptied(limitMs: number): Promise<void> {
    if (this.#all.size === 0 || limitMs <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenEmpty = resolve;
    const timer = setTimeout(resolve, limitMs);
    await promise;
    clearTimeout(timer);
  }
}
