// One timer for all the deadlines of a connection, which move with every request and must cost next to nothing.

/**
 * A deadline that is moved without touching the timer. The timer ticks at the shortest duration that is ever set,
 * so none is missed: a tick that comes before the deadline waits for what is left of it.
 */
export class DeadlineClock implements Disposable {
  readonly #tickMs: number;
  readonly #onExpired: () => void;
  #deadline = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(durationsMs: readonly number[], onExpired: () => void) {
    const set = durationsMs.filter((durationMs) => durationMs > 0);
    this.#tickMs = set.length === 0 ? 0 : Math.min(...set);
    this.#onExpired = onExpired;
    this.#arm(this.#tickMs);
  }

  /** @param durationMs one of those given at first, or 0 for no deadline. */
  set(nowMs: number, durationMs: number): void {
    this.#deadline = durationMs === 0 ? 0 : nowMs + durationMs;
  }

  #arm(delayMs: number): void {
    if (delayMs === 0) return;
    this.#timer = setTimeout(this.#onTick, delayMs);
    this.#timer.unref();
  }

  readonly #onTick = (): void => {
    const leftMs = this.#deadline === 0 ? this.#tickMs : this.#deadline - performance.now();
    if (leftMs > 1) {
      this.#arm(Math.min(Math.ceil(leftMs), this.#tickMs));
      return;
    }
    this.#deadline = 0;
    this.#arm(this.#tickMs);
    this.#onExpired();
  };

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
