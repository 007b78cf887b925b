// What a filter is that a request must pass before the rules are asked: it may change the head, add facts, or refuse.
import type { ConnectionFacts } from './connection-facts.ts';
import type { HeadEdits } from './head-edits.ts';

/** What an external authorizer said of a request, or what holds because it said nothing; for the log. */
export interface AuthorizerMark {
  readonly provider: string;
  /** The CUSTOM rule for which it was asked. */
  readonly rule: string;
  readonly answer: 'allow' | 'deny' | 'failed-open' | 'failed-closed';
  /** Why it said nothing; else empty. */
  readonly reasonCode: string;
  readonly durationMs: number;
}

export interface GateRefusal {
  readonly kind: 'refuse';
  readonly status: number;
  /** Text for people, without anything that tells of policies. */
  readonly body: string;
  readonly reasonCode: string;
  /** For the answer: `[name, value, …]`. */
  readonly headers: readonly string[];
  /** Whether nothing is to be added to the body, not even the end of its line. */
  readonly isBodyWhole?: boolean;
  readonly authorizer?: AuthorizerMark;
}

/** Nothing found and nothing changed. */
export interface GatePass {
  readonly kind: 'pass';
  readonly authorizer?: AuthorizerMark;
}

export type GateOutcome = GatePass | GateRefusal;

export interface GateRequest {
  /** On these the gate sets what it found out; it reads the request from them. */
  readonly facts: ConnectionFacts;
  /** Made by the first gate that changes something; `facts.applyEdits` is called after the gate. */
  edits(): HeadEdits;
  readonly requestId: string;
  /** As of when it is judged: when it came, also when new rules judge it again. */
  readonly atMs: number;
  /** What the mesh itself says of the request: `[name, value, …]`, in lower case. */
  meshHeaders(): readonly string[];
}

/**
 * A filter that may have to ask somebody first. `check` answers at once whenever it can: what it gets then is shared
 * with all requests of the connection. Where it cannot it says `later`, and is asked again with facts of its own.
 */
export interface RequestGate {
  check(request: GateRequest): GateOutcome | 'later';
  /** Only after `later`. Never rejects for anything a request or a peer does. */
  checkLater(request: GateRequest): Promise<GateOutcome>;
}

export const PASSED: GatePass = { kind: 'pass' };
