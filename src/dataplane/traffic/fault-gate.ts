// Delays and aborts a share of requests on purpose, until the date that was set.
import { compileRbac, type Evaluator } from '@weft/model/policy/evaluate';
import { type FaultConfig, PARTS } from '@weft/xds/resources/traffic';
import { type GateOutcome, type GateRequest, PASSED } from '../filters/request-gate.ts';
import type { LateGate, Wait } from './late-gate.ts';

/** Requests that are held up at one time; more go on without delay, for each holds its memory. */
const MAX_WAITING = 10_000;
/** 5 min: all delays of one request together. */
const MAX_DELAY_MS = 300_000;

interface Fault {
  readonly config: FaultConfig;
  readonly rules: Evaluator | undefined;
}

export function createFaultGate(
  configs: readonly FaultConfig[],
  tools: { readonly random?: () => number; readonly now?: () => number } = {},
): LateGate {
  const { random = Math.random, now = Date.now } = tools;
  const faults = configs.map(
    (config): Fault => ({
      config,
      rules: config.rules && compileRbac([config.rules]),
    }),
  );
  const isHit = (partsPerMillion: number): boolean => random() * PARTS < partsPerMillion;
  let waiting = 0;
  const onOver = (): void => {
    waiting--;
  };
  return {
    check({ facts }: GateRequest): GateOutcome | Wait {
      let durationMs = 0;
      let outcome: GateOutcome = PASSED;
      for (const { config, rules } of faults) {
        const { delay, abort, untilMs } = config;
        if (untilMs !== undefined && now() >= untilMs) continue;
        if (rules !== undefined && !rules.decide(facts).isAllowed) continue;
        if (delay !== undefined && isHit(delay.partsPerMillion)) durationMs += delay.durationMs;
        if (abort !== undefined && isHit(abort.partsPerMillion)) {
          outcome = abortedBy(abort.status);
          break;
        }
      }
      if (durationMs === 0 || waiting >= MAX_WAITING) return outcome;
      waiting++;
      return { kind: 'wait', durationMs: Math.min(durationMs, MAX_DELAY_MS), outcome, onOver };
    },
  };
}

const abortedBy = (status: number): GateOutcome => ({
  kind: 'refuse',
  status,
  body: 'fault injected',
  reasonCode: 'fault-injected',
  headers: [],
});
