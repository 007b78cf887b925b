// A retry plan for tests: its pauses and time limits end when the test says so.
import type { RetryPlan } from '@weft/dataplane/upstream/retries';
import { RetryAllowance } from '@weft/dataplane/upstream/retry-budget';
import type { RetryPolicy } from '@weft/xds/resources/retry';

export interface TestPlan {
  readonly plan: RetryPlan;
  /** Delays of timers that are running, by what to call to end them. */
  readonly timers: Map<() => void, number>;
  /** The first timer of that delay, as soon as there is one. */
  elapse(delayMs: number): Promise<void>;
}

export function testPlan(policy: Partial<RetryPolicy> = {}): TestPlan {
  const timers = new Map<() => void, number>();
  const waiting: (() => void)[] = [];
  const clock = {
    now: () => 0,
    setTimeout(run: () => void, delayMs: number) {
      // What has no length happens by itself.
      if (delayMs === 0) setImmediate(run);
      else timers.set(run, delayMs);
      for (const wake of waiting.splice(0)) wake();
      return { [Symbol.dispose]: () => void timers.delete(run) };
    },
  };
  const whole: RetryPolicy = {
    on: ['gateway-error', 'reset'],
    statusCodes: [],
    retries: 2,
    perTryTimeoutMs: 0,
    backOff: { baseMs: 1, maxMs: 1 },
    methods: ['GET', 'PUT'],
    ...policy,
  };
  const allowance = new RetryAllowance(() => 100);
  return {
    plan: { policy: whole, allowance, clock, random: () => 0, onRetry: () => undefined },
    timers,
    async elapse(delayMs) {
      for (;;) {
        for (const [run, delay] of timers) {
          if (delay !== delayMs) continue;
          timers.delete(run);
          run();
          return;
        }
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
  };
}
