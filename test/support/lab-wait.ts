// Waiting in tests: asks again until there is an answer, and says what was missing when the time is over.
import { setTimeout as delay } from 'node:timers/promises';

/** What comes about takes tenths of a second, and seconds where everything else is busy; what does not, fails all the same. */
export const PATIENCE_MS = 15_000;
/** What docs/credentials.md promises within 5 s has twice that, on a machine that does other things as well. */
export const CREDENTIAL_MS = 10_000;

export interface Wait {
  readonly what: string;
  /** Default {@link PATIENCE_MS}. */
  readonly withinMs?: number;
  /** Default 10 ms. */
  readonly everyMs?: number;
  /** What to add to the failure. */
  readonly told?: () => string;
}

const isFinal = (error: unknown): boolean =>
  error instanceof Error && 'isFinal' in error && error.isFinal === true;

/** @returns the first answer that is neither `undefined` nor `false`; an ask that throws is asked again. */
export async function eventually<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  wait: Wait,
): Promise<T> {
  const { what, withinMs = PATIENCE_MS, everyMs = 10, told } = wait;
  const until = performance.now() + withinMs;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      if (isFinal(error)) throw error;
      cause = error;
    }
    if (performance.now() > until) {
      const reason = cause instanceof Error ? `: ${cause.message}` : '';
      const more = told === undefined ? '' : `\n${told()}`;
      throw new Error(`${what} did not come about in ${withinMs} ms${reason}${more}`, { cause });
    }
    await delay(everyMs);
  }
}

/** @throws Error when the promise is not settled in time. */
export async function within<T>(promise: Promise<T>, withinMs: number, what: string): Promise<T> {
  const timer = new AbortController();
  const late = delay(withinMs, undefined, { signal: timer.signal }).then(
    () => Promise.reject(new Error(`${what} did not come about in ${withinMs} ms`)),
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}
