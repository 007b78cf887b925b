// Holds a request up for as long as was said.
import type { GateOutcome } from '../filters/request-gate.ts';
import type { Wait } from './late-gate.ts';

/** Never rejects. A request that goes away meanwhile is decided all the same, and nobody hears of it. */
export function waitOut<T>(wait: Wait, decide: (outcome: GateOutcome) => T): Promise<T> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      wait.onOver();
      resolve(decide(wait.outcome));
    }, wait.durationMs);
    timer.unref();
  });
}
