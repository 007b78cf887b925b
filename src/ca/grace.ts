// Counts the time that a state must have held without a break before something is done about it.
import type { Clock } from '@weft/model/clock';

export interface Grace {
  /** Says whether the state holds now. @returns milliseconds that it has to hold yet, 0 when it has held long enough. */
  leftMs(holds: boolean): number;
  /** Begins anew. */
  reset(): void;
}

export function createGrace(graceMs: number, clock: Clock): Grace {
  let sinceMs: number | undefined;
  return {
    leftMs(holds) {
      const nowMs = clock.now();
      sinceMs = holds ? (sinceMs ?? nowMs) : undefined;
      return Math.max(0, (sinceMs ?? nowMs) + graceMs - nowMs);
    },
    reset() {
      sinceMs = undefined;
    },
  };
}
