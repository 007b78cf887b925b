// What may still happen to a request that the rules allow: it is counted, held up or answered here.
import type { GateOutcome, GateRequest } from '../filters/request-gate.ts';

export interface Wait {
  readonly kind: 'wait';
  readonly durationMs: number;
  /** What holds afterwards. */
  readonly outcome: GateOutcome;
  /** Called once, when it is over. */
  onOver(): void;
}

/** Asked once for each request, and not again when rules change while it is under way. */
export interface LateGate {
  check(request: GateRequest): GateOutcome | Wait;
}
