// A clock for tests that stands still until it is turned, and then runs what is due.
import type { Clock } from '@weft/model/clock';

export interface TurnableClock extends Clock {
  turn(ms: number): void;
}

export function createTurnableClock(startMs: number = Date.now()): TurnableClock {
  let nowMs = startMs;
  const waiting = new Set<{ readonly atMs: number; readonly run: () => void }>();
  return {
    now: () => nowMs,
    setTimeout(run, delayMs) {
      const entry = { atMs: nowMs + delayMs, run };
      waiting.add(entry);
      return { [Symbol.dispose]: () => waiting.delete(entry) };
    },
    turn(ms) {
      const endMs = nowMs + ms;
      for (;;) {
        const [next] = [...waiting]
          .filter(({ atMs }) => atMs <= endMs)
          .sort((a, b) => a.atMs - b.atMs);
        if (next === undefined) break;
        waiting.delete(next);
        nowMs = Math.max(nowMs, next.atMs);
        next.run();
      }
      nowMs = endMs;
    },
  };
}
