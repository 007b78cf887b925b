// Time as a dependency: what waits or expires asks a clock, so that tests can turn it.

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Runs once after at least `delayMs`; disposing the answer cancels. Never keeps the process alive. */
  setTimeout(run: () => void, delayMs: number): Disposable;
}

/** setTimeout's own limit: a longer delay would fire at once. */
const MAX_DELAY_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout(run, delayMs) {
    const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), MAX_DELAY_MS));
    timer.unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};
