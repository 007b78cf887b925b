// Lets a bounded number through at once; a bounded number waits, and everybody else is turned away.

export interface Turnstile {
  /** @returns what to dispose of when done; `undefined` when too many wait, or `signal` was first. */
  enter(signal: AbortSignal): Promise<Disposable | undefined>;
}

export function createTurnstile(limits: {
  readonly atOnce: number;
  readonly waiting: number;
}): Turnstile {
  let inside = 0;
  const queue = new Set<() => void>();
  const pass = (): Disposable => {
    let isInside = true;
    return {
      [Symbol.dispose]() {
        if (!isInside) return;
        isInside = false;
        inside--;
        const [next] = queue;
        next?.();
      },
    };
  };
  return {
    async enter(signal) {
      if (signal.aborted) return undefined;
      if (inside >= limits.atOnce) {
        if (queue.size >= limits.waiting) return undefined;
        const { promise, resolve } = Promise.withResolvers<boolean>();
        const admit = (): void => {
          queue.delete(admit);
          signal.removeEventListener('abort', giveUp);
          inside++;
          resolve(true);
        };
        const giveUp = (): void => {
          queue.delete(admit);
          resolve(false);
        };
        queue.add(admit);
        signal.addEventListener('abort', giveUp, { once: true });
        return (await promise) ? pass() : undefined;
      }
      inside++;
      return pass();
    },
  };
}
