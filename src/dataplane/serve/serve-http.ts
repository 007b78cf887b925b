// Serves an admitted HTTP connection with the codec that fits its bytes; both codecs are given the same judgement.
import { forwardedOutsideClient } from '@weft/model/tls/client-facts';
import type { Admitted, Served } from '../listener/accept.ts';
import { inspect } from '../listener/inspect.ts';
import {
  callerText,
  type ConnectionFacts,
  forwardedClientCert,
  type RequestHead,
} from '../filters/connection-facts.ts';
import {
  isRemovedInbound,
  isRemovedOutbound,
  undecided,
  type Forward,
  type HttpDecision,
  type LocalAnswer,
} from '../filters/http-filters.ts';
import { type FinishedRequest, HttpSession } from '../filters/http-session.ts';
import { DRAIN_NOTICE_MS } from '../http/h1-downstream.ts';
import { Http1Connection, type Http1Action } from '../http/http1-proxy.ts';
import { Http2Connection, type Http2Action } from '../http2/http2-proxy.ts';
import type { HttpRuntime } from '../state/chain.ts';
import type { Address } from '../upstream/cluster.ts';
import { extrasOf, type RouteExtras } from '../routes/extras.ts';
import { inboundFlow, outboundFlow } from './flow.ts';
import { onceResolved, upstreamFor } from './outside.ts';
import { hashRequest } from './request-hash.ts';
import { beginRequest, endRequest } from './request-limits.ts';
import { decideUnlessFlood, noteReset } from '../traffic/flood-requests.ts';
import type { Traffic } from './traffic.ts';
import { securedHttp1, securedHttp2, withCredentials } from './with-credentials.ts';

export interface HttpServing {
  readonly traffic: Traffic;
  readonly isInbound: boolean;
  /** Where a client of this workload's was going. */
  readonly destination?: Address;
}

/** What was decided about requests that are under way, until they are logged. */
export type Decisions = Pick<
  Map<RequestHead, HttpDecision | 'pending'>,
  'get' | 'has' | 'delete' | 'clear'
> & { set(head: RequestHead, decision: HttpDecision | 'pending'): unknown };

/** Of a connection that has one request under way at a time, as HTTP/1 has. */
class OneDecision implements Decisions {
  #head: RequestHead | undefined;
  #decision: HttpDecision | 'pending' | undefined;

  get(head: RequestHead): HttpDecision | 'pending' | undefined {
    return this.has(head) ? this.#decision : undefined;
  }

  has(head: RequestHead): boolean {
    return this.#head === head;
  }

  set(head: RequestHead, decision: HttpDecision | 'pending'): void {
    this.#head = head;
    this.#decision = decision;
  }

  delete(head: RequestHead): boolean {
    if (!this.has(head)) return false;
    this.clear();
    return true;
  }

  clear(): void {
    this.#head = undefined;
    this.#decision = undefined;
  }
}

/** Decides, and notes it for the log; what is decided after its request has gone is forgotten. */
export function onDecision<Action>(
  session: HttpSession,
  decisions: Decisions,
  head: RequestHead,
  act: (decision: HttpDecision) => Action | Promise<Action>,
): Action | Promise<Action> {
  const decision = decideUnlessFlood(session, head);
  if (!(decision instanceof Promise)) {
    decisions.set(head, decision);
    return act(decision);
  }
  decisions.set(head, 'pending');
  return decision.then((decided) => {
    /** Who has gone meanwhile gets nothing, and holds nothing. */
    if (!decisions.has(head)) return act(undecided(decided.requestId));
    decisions.set(head, decided);
    return act(decided);
  });
}

function decidedOf(decisions: Decisions, head: RequestHead): HttpDecision | undefined {
  const decision = decisions.get(head);
  return decision === 'pending' ? undefined : decision;
}

export function serveHttp(admitted: Admitted, http: HttpRuntime, serving: HttpServing): Served {
  const { socket, protocol } = admitted;
  const { tls, termination } = admitted.chain;
  if (protocol !== 'unknown' || tls !== undefined || termination !== undefined) {
    return serveAs(admitted, http, serving, protocol === 'http2' ? 'http2' : 'http1');
  }
  /** Nobody has looked at the bytes yet, and both versions of HTTP may come to a plaintext port. */
  let served: Served | undefined;
  let isDraining = false;
  inspect(socket, http.manager.requestHeadersTimeoutMs || DEFAULT_HEAD_TIMEOUT_MS, (inspected) => {
    const version = inspected.kind === 'h2c' ? 'http2' : 'http1';
    served = serveAs(admitted, http, serving, version);
    if (isDraining) served.drain();
  });
  const endIfSilent = (): void => {
    if (served === undefined) socket.destroy();
  };
  return {
    rejudge: (chain) => served?.rejudge(chain),
    drain: () => {
      isDraining = true;
      if (served === undefined) setTimeout(endIfSilent, DRAIN_NOTICE_MS).unref();
      else served.drain();
    },
    cut: (reasonCode) => (served === undefined ? socket.destroy() : served.cut(reasonCode)),
  };
}

/** For listeners that do not say: Envoy's own limit for slow heads. */
const DEFAULT_HEAD_TIMEOUT_MS = 10_000;
/** 1 h, Envoy's default for connections without a request. */
const HTTP_IDLE_TIMEOUT_MS = 3_600_000;

function serveAs(
  admitted: Admitted,
  http: HttpRuntime,
  serving: HttpServing,
  protocol: 'http1' | 'http2',
): Served {
  const session = createSession(admitted, http, serving, protocol);
  const connection =
    protocol === 'http2'
      ? serveHttp2(admitted, session, serving)
      : serveHttp1(admitted, session, serving);
  return {
    rejudge: (chain) => {
      if (chain.http === undefined) return 'chain-changed';
      session.setRuntime(chain.http);
      if (connection instanceof Http2Connection) connection.rejudgeStreams();
      else connection.rejudge();
      return undefined;
    },
    drain: () => connection.drain(),
    cut: () => connection.cut(),
  };
}

export function createSession(
  admitted: Pick<Admitted, 'facts' | 'peer'>,
  runtime: HttpRuntime,
  { traffic, isInbound }: HttpServing,
  protocol: 'http1' | 'http2',
): HttpSession {
  const { facts } = admitted;
  const { spiffeId } = traffic.workload();
  return new HttpSession({
    facts,
    runtime,
    protocol,
    isInbound,
    clientCert: clientCertOf(facts, runtime, spiffeId),
    source: isInbound ? callerText(facts) : (spiffeId ?? 'application'),
    route: (name) => traffic.store.route(name),
    flow: (cluster) =>
      isInbound ? inboundFlow(traffic, facts, cluster) : outboundFlow(traffic, cluster),
    log: traffic.log,
    isLogOff: traffic.isLogOff,
    edges: isInbound ? traffic.edges : undefined,
  });
}

function clientCertOf(
  { peer, client }: ConnectionFacts,
  { manager }: HttpRuntime,
  ownUri: string | undefined,
): string | undefined {
  const mode = manager.forwardClientCert;
  if (mode === 'sanitizeSet' && peer !== undefined && ownUri !== undefined)
    return forwardedClientCert(ownUri, peer);
  if (mode === 'sanitizeSetClient' && client !== undefined)
    return forwardedOutsideClient(client.certificate);
  return undefined;
}

/** Who can send a request elsewhere when the application here has not got it. */
const isAskedBySidecar = ({ peer }: Admitted, { isInbound }: HttpServing): boolean =>
  isInbound && peer !== undefined;

function serveHttp1(
  admitted: Admitted,
  session: HttpSession,
  serving: HttpServing,
): Http1Connection {
  const decisions: Decisions = new OneDecision();
  const { manager } = session.runtime;
  return new Http1Connection(
    admitted.socket,
    {
      onRequest: (head) =>
        onDecision(session, decisions, head, (decision) => http1Action(decision, serving, head)),
      isStillAllowed: (head) => session.isStillAllowed(head, decidedOf(decisions, head)),
      onComplete: (completion) => {
        noteReset(session, completion);
        session.finish(finishedOf(completion, takeDecision(decisions, completion.head)));
      },
      onClose: () => decisions.clear(),
    },
    {
      idleTimeoutMs: manager.streamIdleTimeoutMs || HTTP_IDLE_TIMEOUT_MS,
      headTimeoutMs: manager.requestHeadersTimeoutMs || DEFAULT_HEAD_TIMEOUT_MS,
      responseTimeoutMs: 0,
      allowAbsoluteForm: false,
      upgrades: manager.upgrades,
      tellsUndelivered: isAskedBySidecar(admitted, serving),
    },
  );
}

export function http1Action(
  decided: HttpDecision,
  serving: HttpServing,
  head: RequestHead,
): Http1Action {
  const { traffic, isInbound } = serving;
  const decision = withCredentials(decided, serving);
  if (decision.kind === 'respond') return respondAction(decision);
  const cluster = upstreamFor(decision, serving, head);
  if ('kind' in cluster) return cluster;
  if (!beginRequest(head, cluster.breaker)) return overloaded(decision.requestId);
  const { hashPolicies } = decision.route;
  const hashed = hashPolicies && hashRequest(hashPolicies, head);
  return {
    kind: 'forward',
    upstream: decision.mustBeSecured === true ? securedHttp1(cluster) : cluster.http1,
    edits: {
      target: decision.target,
      isRemoved: removalOf(decision, isInbound),
      added: decision.added,
      authority: decision.ruled?.authority,
    },
    extras: extrasFor(decision, traffic, hashed?.setCookie),
    body: decision.runtime.body,
    retry: decision.route.retry && cluster.retryPlan(decision.route.retry),
    hash: hashed?.hash,
  };
}

function http2Action(decided: HttpDecision, serving: HttpServing, head: RequestHead): Http2Action {
  const { traffic, isInbound } = serving;
  const decision = withCredentials(decided, serving);
  if (decision.kind === 'respond') return respondAction(decision);
  const cluster = upstreamFor(decision, serving, head);
  if ('kind' in cluster) return cluster;
  if (!beginRequest(head, cluster.breaker)) return overloaded(decision.requestId);
  const { hashPolicies } = decision.route;
  const hashed = hashPolicies && hashRequest(hashPolicies, head);
  return {
    kind: 'forward',
    upstream: decision.mustBeSecured === true ? securedHttp2(cluster) : cluster.http2,
    edits: {
      path: decision.target,
      isRemoved: removalOf(decision, isInbound),
      added: decision.added,
      secrets: decision.secrets,
      authority: decision.ruled?.authority,
    },
    extras: extrasFor(decision, traffic, hashed?.setCookie),
    body: decision.runtime.body,
    retry: decision.route.retry && cluster.retryPlan(decision.route.retry),
    hash: hashed?.hash,
  };
}

/** Copies go where the workload may send requests itself, and are no reason to wait. */
const extrasFor = (
  { route, ruled }: Forward,
  { store }: Traffic,
  setCookie: string | undefined,
): RouteExtras | undefined =>
  route.timeoutMs === 0 && ruled === undefined && setCookie === undefined
    ? undefined
    : extrasOf(route, ruled, (name) => store.cluster(name), setCookie);

function removalOf({ edits }: Forward, isInbound: boolean): (name: string) => boolean {
  const isRemoved = isInbound ? isRemovedInbound : isRemovedOutbound;
  return edits === undefined ? isRemoved : (name) => isRemoved(name) || edits.isRemoved(name);
}

function serveHttp2(
  admitted: Admitted,
  session: HttpSession,
  serving: HttpServing,
): Http2Connection {
  const decisions: Decisions = new Map();
  const { manager } = session.runtime;
  return new Http2Connection(
    admitted.socket,
    {
      onRequest: (head) =>
        onDecision(session, decisions, head, (decision) =>
          onceResolved(decision, serving, () => http2Action(decision, serving, head)),
        ),
      isStillAllowed: (head) => session.isStillAllowed(head, decidedOf(decisions, head)),
      onComplete: (completion) => {
        noteReset(session, completion);
        session.finish(
          finishedOf(completion, takeDecision(decisions, completion.head), completion.grpcStatus),
        );
      },
      onClose: () => undefined,
    },
    {
      idleTimeoutMs: manager.streamIdleTimeoutMs || HTTP_IDLE_TIMEOUT_MS,
      refusesUndelivered: isAskedBySidecar(admitted, serving),
    },
  );
}

/** `body` says nothing of policies; the request id leads to the log line that does. */
function respondAction(decision: LocalAnswer) {
  const { status, body, reasonCode, requestId, headers, isBodyWhole } = decision;
  return {
    kind: 'respond',
    status,
    body: isBodyWhole === true ? body : `${body}\n`,
    reasonCode,
    headers: ['x-request-id', requestId, ...headers],
  } as const;
}

const unavailable = (reasonCode: string, headers: readonly string[]) =>
  ({ kind: 'respond', status: 503, body: `${reasonCode}\n`, reasonCode, headers }) as const;

/** Told as Envoy tells it. */
const overloaded = (requestId: string) =>
  unavailable('upstream-overflow', ['x-request-id', requestId, 'x-envoy-overloaded', 'true']);

type Taken = ReturnType<typeof takeDecision>;

/** Field by field: spreading costs more than all of them (100 B of `npm run bench:dataplane`). */
export const finishedOf = (
  done: Omit<FinishedRequest, keyof Taken | 'grpcStatus'>,
  taken: Taken,
  grpcStatus = '',
): FinishedRequest => ({
  head: done.head,
  requestId: taken.requestId,
  cluster: taken.cluster,
  upstream: done.upstream,
  verdict: taken.verdict,
  marks: taken.marks,
  nearest: taken.nearest,
  status: done.status,
  grpcStatus,
  reasonCode: done.reasonCode,
  bytesReceived: done.bytesReceived,
  bytesSent: done.bytesSent,
  durationMs: done.durationMs,
});

export function takeDecision(decisions: Decisions, head: RequestHead | undefined) {
  endRequest(head);
  const decision = head === undefined ? undefined : decidedOf(decisions, head);
  if (head !== undefined) decisions.delete(head);
  return {
    requestId: decision?.requestId ?? '',
    verdict: decision?.verdict,
    marks: decision?.marks,
    nearest: decision?.kind === 'respond' ? decision.nearest : undefined,
    cluster: decision?.kind === 'forward' ? decision.route.cluster : undefined,
  };
}
