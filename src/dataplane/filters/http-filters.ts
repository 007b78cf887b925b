// What happens to an HTTP request before it is passed on: the filters, in the one order they run in.
import { parseIp, type IpAddress } from '@weft/model/ip';
import { AMBIGUITY_REASONS, findAmbiguity } from '@weft/model/policy/ambiguous-path';
import { answerDenial } from '@weft/model/policy/denials';
import { pathOnly, type Evaluator, type Verdict } from '@weft/model/policy/evaluate';
import { formatNearMiss, nearestAllow } from '@weft/model/policy/explain';
import { normalizeTarget } from '@weft/model/policy/path';
import type { Route, RouteConfiguration } from '@weft/xds/resources/route';
import type { HttpRuntime } from '../state/chain.ts';
import type { ConnectionFacts, RequestHead } from './connection-facts.ts';
import { applyRule, type RuledRequest } from '../routes/apply-rule.ts';
import { findRoute } from '../routes/match-route.ts';
import { HeadEdits } from './head-edits.ts';
import { waitOut } from '../traffic/wait-out.ts';
import { markRequest, type PolicyMarks, withAuthorizers, withUser } from './policy-marks.ts';
import type { AuthorizerMark, GateOutcome, GateRefusal, GateRequest } from './request-gate.ts';
import { requestIdOf } from './request-id.ts';

/** A request that is answered here. */
export interface LocalAnswer {
  readonly kind: 'respond';
  readonly status: number;
  /** Text for people, without anything that tells of policies. */
  readonly body: string;
  readonly reasonCode: string;
  /** Besides the request id: `[name, value, …]`. */
  readonly headers: readonly string[];
  /** Whether nothing is to be added to the body. */
  readonly isBodyWhole?: boolean | undefined;
  readonly requestId: string;
  readonly verdict: Verdict | undefined;
  readonly marks: PolicyMarks | undefined;
  /** The ALLOW rule that came nearest, and what of it failed; for the log alone. */
  readonly nearest: string | undefined;
}

/** A request that goes on. */
export interface Forward {
  readonly kind: 'forward';
  readonly route: Route;
  /** The target as it was matched; the same text as came when nothing had to change. */
  readonly target: string;
  /** Headers to add, `[name, value, …]`, all in lower case. */
  readonly added: readonly string[];
  /** Names among them whose values are secrets. */
  readonly secrets?: readonly string[];
  /** It goes to nobody without TLS. */
  readonly mustBeSecured?: boolean;
  /** What filters take out of the head besides what is taken out of every one. */
  readonly edits: HeadEdits | undefined;
  /** What its route's rule changes besides; absent where there is none. */
  readonly ruled?: RuledRequest | undefined;
  /** Under which it was decided: while these rules are in force the decision stands. */
  readonly runtime: HttpRuntime;
  /** As of when; 0 where nothing asked. */
  readonly atMs: number;
  readonly requestId: string;
  readonly verdict: Verdict | undefined;
  readonly marks: PolicyMarks | undefined;
}

export type HttpDecision = LocalAnswer | Forward;

/** What the filters of one connection need besides the request. */
export interface HttpContext {
  readonly facts: ConnectionFacts;
  readonly runtime: HttpRuntime;
  /** X-Forwarded-Client-Cert to set; absent on plaintext and outbound connections. */
  readonly clientCert: string | undefined;
  readonly isInbound: boolean;
  /** Whether refusals are explained: they are logged. */
  readonly isExplaining: boolean;
  /** For shares of routes. */
  readonly random: () => number;
  route(name: string): RouteConfiguration | undefined;
}

/**
 * Headers that speak for the mesh: taken out of every request before they are set anew. What a client says about
 * itself in them is nobody's word (CVE-2023-27487).
 */
export function isReservedHeader(name: string): boolean {
  return name === 'x-forwarded-client-cert' || name.startsWith('x-weft-');
}

/** Of X-Forwarded-For and the request id the filters make their own line. */
export function isRemovedInbound(name: string): boolean {
  return isReservedHeader(name) || name === 'x-forwarded-for' || name === 'x-request-id';
}

export function isRemovedOutbound(name: string): boolean {
  return isReservedHeader(name) || name === 'x-request-id';
}

/** `again`: it is under way, and has been counted and held up where it had to be. */
export type Purpose = 'first' | 'again';

/** One request on its way through the filters. */
class Passage implements GateRequest {
  readonly context: HttpContext;
  readonly runtime: HttpRuntime;
  readonly facts: ConnectionFacts;
  readonly requestId: string;
  readonly atMs: number;
  readonly purpose: Purpose;
  /** X-Forwarded-For to send on. */
  readonly forwardedLine: string;
  #edits: HeadEdits | undefined;
  /** What authorizers said on the way. */
  readonly authorizers: AuthorizerMark[] = [];

  constructor(
    context: HttpContext,
    facts: ConnectionFacts,
    known: Pick<Passage, 'requestId' | 'forwardedLine' | 'atMs' | 'purpose'>,
  ) {
    this.context = context;
    this.runtime = context.runtime;
    this.facts = facts;
    this.requestId = known.requestId;
    this.forwardedLine = known.forwardedLine;
    this.atMs = known.atMs;
    this.purpose = known.purpose;
  }

  edits(): HeadEdits {
    return (this.#edits ??= new HeadEdits());
  }

  get edited(): HeadEdits | undefined {
    return this.#edits;
  }

  /** With facts of its own: what is decided later must not see the requests that come meanwhile. */
  fork(): Passage {
    const own = new Passage(this.context, this.facts.fork(), this);
    own.#edits = this.#edits;
    own.authorizers.push(...this.authorizers);
    return own;
  }

  meshHeaders(): readonly string[] {
    const { clientCert, isInbound } = this.context;
    const own = ['x-request-id', this.requestId];
    if (isInbound) own.push('x-forwarded-for', this.forwardedLine);
    if (clientCert !== undefined) own.push('x-forwarded-client-cert', clientCert);
    return own;
  }
}

/**
 * Runs the filters:
 * 1. path: first, because everything after reads it, and what is matched is what is forwarded
 * 2. client address: X-Forwarded-For as far as hops are trusted, because rules may ask for it
 * 3. gates, in the listener's order: limits, login, external authorization, then tokens, whose claims the rules read
 * 4. rbac: before anything that costs an upstream; AUDIT marks what it decides on, allowed or not
 * 5. route: it says where the request goes, if anywhere
 * 6. throttles, then faults: only what may go on takes a token from others, or is disturbed
 * @param atMs as of when; now, unless a request under way is judged again: what was good when it came stays so.
 * @returns a promise only where a gate has to wait for something.
 */
export function runHttpFilters(
  context: HttpContext,
  head: RequestHead,
  atMs: number = context.runtime.gates.length === 0 ? 0 : Date.now(),
  purpose: Purpose = 'first',
): HttpDecision | Promise<HttpDecision> {
  const { facts, runtime } = context;
  const requestId = requestIdOf(head.header('x-request-id')?.[0]);
  const { manager, refusedPaths } = runtime;
  if (refusedPaths.length > 0) {
    const ambiguity = findAmbiguity(head.path, refusedPaths);
    if (ambiguity !== undefined) {
      const reasonCode = AMBIGUITY_REASONS[ambiguity];
      return answer(400, `bad request: ${reasonCode}`, reasonCode, { requestId });
    }
  }
  const normalized = normalizeTarget(head.path, manager.pathNormalization);
  if (!normalized.ok) {
    return answer(400, 'bad request: ambiguous path', normalized.reasonCode, { requestId });
  }
  const { target } = normalized;
  const forwarded = forwardedFor(head.header('x-forwarded-for'), manager.trustedHops, {
    ip: facts.sourceIp,
    text: facts.sourceText,
  });
  facts.setRequest(head, pathOnly(target), target, forwarded.client);
  const known = { requestId, forwardedLine: forwarded.line, atMs, purpose };
  return passGates(new Passage(context, facts, known), 0);
}

function passGates(passage: Passage, from: number): HttpDecision | Promise<HttpDecision> {
  const { gates } = passage.runtime;
  for (let at = from; at < gates.length; at++) {
    const outcome = gates[at]?.check(passage) ?? REFUSED_BY_NOBODY;
    if (outcome === 'later') return passLater(passage.fork(), at);
    const refusal = takeOutcome(passage, outcome);
    if (refusal !== undefined) return refusal;
  }
  return passLateGates(passage, decide(passage));
}

async function passLater(passage: Passage, at: number): Promise<HttpDecision> {
  const outcome = (await passage.runtime.gates[at]?.checkLater(passage)) ?? REFUSED_BY_NOBODY;
  return takeOutcome(passage, outcome) ?? passGates(passage, at + 1);
}

function passLateGates(
  passage: Passage,
  decision: HttpDecision,
): HttpDecision | Promise<HttpDecision> {
  const { late } = passage.runtime;
  if (late === undefined || decision.kind !== 'forward' || passage.purpose === 'again') {
    return decision;
  }
  for (const gate of late) {
    const outcome = gate.check(passage);
    if (outcome.kind === 'pass') continue;
    if (outcome.kind === 'wait') {
      return waitOut(outcome, (then) =>
        then.kind === 'pass' ? decision : answerAs(then, decision),
      );
    }
    return answerAs(outcome, decision);
  }
  return decision;
}

/** For one that the rules allow and that is answered here all the same. */
function answerAs(refusal: GateRefusal, { requestId, verdict, marks }: Forward): LocalAnswer {
  const { status, body, reasonCode, headers, isBodyWhole } = refusal;
  const answered = answer(status, body, reasonCode, { requestId, verdict, marks });
  return { ...answered, headers, isBodyWhole };
}

/** There is a gate at every index; were there none, nothing would pass it. */
const REFUSED_BY_NOBODY: GateRefusal = {
  kind: 'refuse',
  status: 503,
  body: 'decision-failed',
  reasonCode: 'decision-failed',
  headers: [],
};

function takeOutcome(passage: Passage, outcome: GateOutcome): LocalAnswer | undefined {
  const { edited, facts, requestId, authorizers } = passage;
  if (outcome.authorizer !== undefined) authorizers.push(outcome.authorizer);
  if (outcome.kind === 'pass') {
    if (edited !== undefined) facts.applyEdits(edited);
    return undefined;
  }
  const { status, body, reasonCode, headers, authorizer, isBodyWhole } = outcome;
  const verdict = authorizer && customDenied(authorizer);
  const marks = withAuthorizers(undefined, authorizers);
  const known = { requestId, verdict, marks };
  return { ...answer(status, body, reasonCode, known), headers, isBodyWhole };
}

function decide(passage: Passage): HttpDecision {
  const { context, runtime, facts, requestId, atMs } = passage;
  const { evaluator, manager } = runtime;
  const decided = withAuthorizers(markRequest(evaluator, facts), passage.authorizers);
  const marks = runtime.gates.length === 0 ? decided : withUser(decided, facts);
  const verdict = evaluator?.decide(facts);
  if (verdict?.isAllowed === false) {
    const known = { requestId, verdict, marks };
    const nearest = context.isExplaining ? explainRefusal(evaluator, facts, verdict) : undefined;
    const { status, body, headers } = answerDenial(manager.denials ?? [], verdict.decidedBy);
    return { ...answer(status, body, 'rbac-denied', { ...known, nearest }), headers };
  }
  const { routes } = manager;
  const configuration = routes.kind === 'inline' ? routes.config : context.route(routes.name);
  const route = configuration && findRoute(configuration, facts);
  if (route === undefined)
    return answer(404, 'no route', 'no-route', { requestId, verdict, marks });
  const { rule } = route;
  const ruled =
    rule && applyRule(route, rule, facts, { edits: () => passage.edits(), random: context.random });
  if (ruled?.kind === 'respond') {
    const { status, reasonCode, headers } = ruled;
    const answered = answer(status, '', reasonCode, { requestId, verdict, marks });
    return { ...answered, headers, isBodyWhole: true };
  }
  const edits = passage.edited;
  const own = passage.meshHeaders();
  const added = edits === undefined ? own : [...own, ...edits.added];
  return {
    kind: 'forward',
    route: ruled?.route ?? route,
    target: ruled?.target ?? facts.target ?? '',
    added,
    edits,
    ruled,
    runtime,
    atMs,
    requestId,
    verdict,
    marks,
  };
}

/** An external authorizer refused, or nobody could ask it. */
const customDenied = ({ rule }: AuthorizerMark): Verdict => ({
  isAllowed: false,
  reason: 'custom-denied',
  decidedBy: rule,
});

/** For a refusal that no rule decided: which one came nearest. */
export function explainRefusal(
  evaluator: Evaluator | undefined,
  facts: ConnectionFacts,
  verdict: Verdict,
): string | undefined {
  if (evaluator === undefined || verdict.reason !== 'no-allow-match') return undefined;
  const near = nearestAllow(evaluator, facts);
  return near && formatNearMiss(near);
}

function answer(
  status: number,
  body: string,
  reasonCode: string,
  known: Pick<LocalAnswer, 'requestId'> &
    Partial<Pick<LocalAnswer, 'verdict' | 'marks' | 'nearest'>>,
): LocalAnswer {
  const { requestId, verdict, marks, nearest } = known;
  const headers: readonly string[] = [];
  return { kind: 'respond', status, body, reasonCode, headers, requestId, verdict, marks, nearest };
}

/** For a request of which nobody could say whether it may pass. */
export const undecided = (requestId: string): LocalAnswer =>
  answer(503, 'decision-failed', 'decision-failed', { requestId });

/** Entries of X-Forwarded-For that are looked at, however many hops are trusted. */
const MAX_FORWARDED = 32;

interface Forwarded {
  readonly client: IpAddress | undefined;
  /** The line to send on: what trusted hops said, then the peer. */
  readonly line: string;
}

/**
 * The client's address: with no trusted hop the peer itself, with N the N-th entry from the end. Entries before it
 * were written by nobody we trust and are dropped (CVE-2024-45806).
 */
export function forwardedFor(
  values: readonly string[] | undefined,
  trustedHops: number,
  peer: { readonly ip: IpAddress | undefined; readonly text: string },
): Forwarded {
  if (trustedHops === 0 || values === undefined) return { client: peer.ip, line: peer.text };
  const entries = values.flatMap((value) => value.split(',')).slice(-MAX_FORWARDED);
  const trusted = entries.map((entry) => entry.trim()).slice(-trustedHops);
  const client = trusted.length < trustedHops ? undefined : parseIp(trusted[0] ?? '');
  const known = trusted.filter((entry) => parseIp(entry) !== undefined);
  return { client: client ?? peer.ip, line: [...known, peer.text].join(', ') };
}
