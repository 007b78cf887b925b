// One HTTP connection as its codec sees it: what to do with each request, and what to say when it is done.
import { pathOnly, type Verdict } from '@weft/model/policy/evaluate';
import type { RouteConfiguration } from '@weft/xds/resources/route';
import type { HttpRuntime } from '../state/chain.ts';
import type { EdgeCounts } from '../report/edge-counts.ts';
import type { AccessRecord } from '../telemetry/access-log.ts';
import type { FlowMetrics } from '../telemetry/proxy-metrics.ts';
import type { ConnectionFacts, RequestHead } from './connection-facts.ts';
import {
  type HttpContext,
  type HttpDecision,
  type Purpose,
  runHttpFilters,
  undecided,
} from './http-filters.ts';
import { isRouteAnswer } from '../routes/apply-rule.ts';
import type { PolicyMarks } from './policy-marks.ts';
import { requestIdOf } from './request-id.ts';

export interface HttpSessionOptions {
  readonly facts: ConnectionFacts;
  readonly runtime: HttpRuntime;
  readonly protocol: 'http1' | 'http2';
  readonly isInbound: boolean;
  readonly clientCert: string | undefined;
  /** Who is calling, for the log: a SPIFFE id or `plaintext`. */
  readonly source: string;
  readonly route: (name: string) => RouteConfiguration | undefined;
  readonly flow: (cluster: string | undefined) => FlowMetrics;
  readonly log: (record: AccessRecord) => void;
  readonly isLogOff: boolean;
  /** Counts what came in; absent for calls that go out. */
  readonly edges: Pick<EdgeCounts, 'note'> | undefined;
}

export interface FinishedRequest {
  readonly head: RequestHead | undefined;
  readonly requestId: string;
  readonly cluster: string | undefined;
  readonly upstream: string;
  readonly verdict: Verdict | undefined;
  readonly marks: PolicyMarks | undefined;
  readonly nearest: string | undefined;
  readonly status: number;
  readonly grpcStatus: string;
  readonly reasonCode: string;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly durationMs: number;
}

/** Changes of the rules within one decision; nobody makes so many, and a request must not wait for ever. */
const MAX_ROUNDS = 8;

/** What routes answer now is for requests to come: no policy forbids those under way. */
const mayGoOn = (decision: HttpDecision): boolean =>
  decision.kind === 'forward' || isRouteAnswer(decision.reasonCode);

export class HttpSession implements HttpContext {
  readonly facts: ConnectionFacts;
  readonly clientCert: string | undefined;
  readonly isInbound: boolean;
  readonly isExplaining: boolean;
  readonly random = Math.random;
  readonly #options: HttpSessionOptions;
  #runtime: HttpRuntime;
  /** Of the request before: most go where the one before went. */
  #cluster: string | undefined;
  #flow: FlowMetrics | undefined;

  constructor(options: HttpSessionOptions) {
    this.#options = options;
    this.#runtime = options.runtime;
    this.facts = options.facts;
    this.clientCert = options.clientCert;
    this.isInbound = options.isInbound;
    this.isExplaining = !options.isLogOff;
  }

  get runtime(): HttpRuntime {
    return this.#runtime;
  }

  /** From now on requests are judged by these rules. */
  setRuntime(runtime: HttpRuntime): void {
    this.#runtime = runtime;
  }

  route(name: string): RouteConfiguration | undefined {
    return this.#options.route(name);
  }

  /** @param atMs of a request under way: as of when it was decided first. */
  decide(
    head: RequestHead,
    atMs?: number,
    purpose: Purpose = 'first',
  ): HttpDecision | Promise<HttpDecision> {
    const decision = runHttpFilters(this, head, atMs, purpose);
    return decision instanceof Promise ? this.#settle(head, decision, atMs) : decision;
  }

  /** What was decided under rules that have gone meanwhile is decided again. */
  async #settle(
    head: RequestHead,
    pending: Promise<HttpDecision>,
    atMs: number | undefined,
  ): Promise<HttpDecision> {
    let decision: HttpDecision | Promise<HttpDecision> = pending;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const runtime = this.#runtime;
      const decided = await decision;
      if (this.#runtime === runtime) return decided;
      // Once is enough to be counted and held up.
      decision = runHttpFilters(this, head, atMs, 'again');
    }
    return undecided(requestIdOf(head.header('x-request-id')?.[0]));
  }

  /** Whether a request under way may go on by the rules of now. @param earlier what was decided about it. */
  isStillAllowed(head: RequestHead, earlier: HttpDecision | undefined): boolean | Promise<boolean> {
    if (earlier?.kind === 'forward' && earlier.runtime === this.#runtime) return true;
    const atMs = earlier?.kind === 'forward' && earlier.atMs !== 0 ? earlier.atMs : undefined;
    const decision = this.decide(head, atMs, 'again');
    return decision instanceof Promise ? decision.then(mayGoOn) : mayGoOn(decision);
  }

  #flowTo(cluster: string | undefined): FlowMetrics {
    if (this.#flow === undefined || this.#cluster !== cluster) {
      this.#cluster = cluster;
      this.#flow = this.#options.flow(cluster);
    }
    return this.#flow;
  }

  finish(request: FinishedRequest): void {
    const { log, isLogOff, facts, isInbound, protocol, source, edges } = this.#options;
    const { verdict, marks, status, grpcStatus, reasonCode, durationMs } = request;
    const decision =
      verdict === undefined || verdict.reason === 'no-policy'
        ? 'none'
        : verdict.isAllowed
          ? 'allow'
          : 'deny';
    const isGrpc = grpcStatus !== '';
    const metrics = this.#flowTo(request.cluster);
    metrics.request({
      protocol: isGrpc ? 'grpc' : 'http',
      status,
      grpcStatus,
      decision,
      reasonCode,
      durationMs,
    });
    if (marks !== undefined) metrics.marked(marks);
    const { head: seen } = request;
    if (edges !== undefined && seen !== undefined) {
      edges.note({
        source: facts.peerUri,
        port: facts.destinationPort,
        method: seen.method,
        path: pathOnly(seen.path),
        verdict,
      });
    }
    /** Refusals are remembered, logged or not. */
    if (isLogOff && verdict?.isAllowed !== false) return;
    const { head } = request;
    log({
      direction: isInbound ? 'inbound' : 'outbound',
      protocol,
      source,
      sourceIp: facts.endpoints.sourceAddress,
      destinationPort: facts.destinationPort,
      upstream: request.upstream,
      verdict,
      marks,
      nearest: request.nearest,
      reasonCode,
      bytesReceived: request.bytesReceived,
      bytesSent: request.bytesSent,
      durationMs,
      http: {
        requestId: request.requestId,
        method: head?.method ?? '',
        path: head?.path ?? '',
        authority: head?.authority ?? '',
        status,
        grpcStatus,
      },
    });
  }
}
