// Decides, for one stream, what a request means and which response is due next; no I/O, no clock.
import { createHash } from 'node:crypto';
import {
  isOpaqueKind,
  RESOURCE_ORDER,
  resourceIn,
  resourcesIn,
  type ResourceView,
  type StreamKind,
} from '../resource.ts';
import {
  ABSENT,
  addNames,
  type AnyResource,
  type Changes,
  changesOf,
  createSubscription,
  dropNames,
  isLegacyWildcard,
  noteAccepted,
  noteRefused,
  noteSent,
  openWildcard,
  oweNames,
  type Refusal,
  seedVersions,
  type Subscription,
  type Variant,
  WILDCARD,
} from './subscription.ts';

export interface SessionLimits {
  /** Names that one stream may ask for or bring, all kinds together. */
  readonly maxNames: number;
  /** UTF-16 units of one name. */
  readonly maxNameLength: number;
  /**
   * Resources of one response, where the protocol lets a response be split; a response holds at least one.
   * gRPC clients refuse messages above 4 MiB by default.
   */
  readonly maxResponseBytes: number;
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  /** Five kinds for each of 10,000 destinations would be a sidecar that calls everything in a very large mesh. */
  maxNames: 50_000,
  /** `outbound|65535||` and a DNS name of 253, twice over. */
  maxNameLength: 1_024,
  maxResponseBytes: 2 * 1_024 * 1_024,
};

/** How a request changes what is asked for: the whole list anew (state of the world), or by differences (delta). */
export type NameChange =
  | { readonly kind: 'replace'; readonly names: readonly string[] }
  | {
      readonly kind: 'adjust';
      readonly subscribe: readonly string[];
      readonly unsubscribe: readonly string[];
      /** Looked at in a stream's first request of the kind only. */
      readonly initialVersions: ReadonlyMap<string, string>;
    };

export interface StreamRequest {
  readonly kind: StreamKind;
  /** Of the response that is answered; empty when none is. */
  readonly nonce: string;
  /** Present when that response is refused. */
  readonly error: string | undefined;
  readonly names: NameChange;
}

export interface StreamResponse {
  readonly kind: StreamKind;
  readonly nonce: string;
  /**
   * What the view announces; otherwise a hash over the names and versions that the client holds of this kind when it
   * has taken this response, and nothing in delta, where each resource has its own.
   */
  readonly version: string;
  readonly resources: readonly AnyResource[];
  /** Delta only: names that are gone, or never were. */
  readonly removed: readonly string[];
}

/** `versions`: by name, {@link ABSENT} for what the response removed. */
export type Answer =
  | {
      readonly kind: 'accepted';
      readonly nonce: string;
      readonly versions: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

export type RequestOutcome =
  | { readonly ok: true; readonly answer: Answer | undefined; readonly isStale: boolean }
  | { readonly ok: false; readonly code: 'bad-name' | 'too-many-names'; readonly reason: string };

/**
 * One stream's state. It belongs to its stream and is changed in place: copying the names of a thousand streams at
 * every change would cost more than the change. Equal requests and views, in equal order, give equal responses.
 */
export interface Session {
  readonly variant: Variant;
  readonly limits: SessionLimits;
  readonly subscriptions: Map<StreamKind, Subscription>;
  nonces: number;
}

export function createSession(
  variant: Variant,
  limits: SessionLimits = DEFAULT_SESSION_LIMITS,
): Session {
  return { variant, limits, subscriptions: new Map(), nonces: 0 };
}

/** Takes one request. Afterwards {@link nextResponse} says what it leads to. */
export function takeRequest(
  session: Session,
  request: StreamRequest,
  atMs: number,
): RequestOutcome {
  const refused = checkNames(session, request);
  if (refused !== undefined) return refused;
  const known = session.subscriptions.get(request.kind);
  const sub = known ?? createSubscription(request.kind, session.variant);
  if (known === undefined) session.subscriptions.set(request.kind, sub);
  // A nonce of an earlier stream means nothing here: a stream's first request of a kind answers no response.
  const isStale = known !== undefined && isStaleNonce(sub, request.nonce);
  if (request.names.kind === 'replace') {
    if (isStale) return { ok: true, answer: undefined, isStale };
    const answer = takeAnswer(sub, request, atMs);
    const isLatest = known !== undefined && request.nonce === sub.lastNonce;
    replaceNames(sub, request.names.names, {
      isRepeat: isLatest && answer === undefined && request.error === undefined,
    });
    return { ok: true, answer, isStale };
  }
  // Differences hold whatever response the client had seen when it sent them.
  const answer = isStale ? undefined : takeAnswer(sub, request, atMs);
  adjustNames(sub, request.names, { isFirst: known === undefined });
  return { ok: true, answer, isStale };
}

/** What has no nonce answers nothing: it was sent for its names alone, which are the newest. */
const isStaleNonce = (sub: Subscription, nonce: string): boolean =>
  nonce !== '' && nonce !== sub.lastNonce;

function takeAnswer(sub: Subscription, request: StreamRequest, atMs: number): Answer | undefined {
  const { inFlight } = sub;
  if (inFlight === undefined || request.nonce !== inFlight.nonce) return undefined;
  if (request.error !== undefined) {
    return { kind: 'refused', refusal: noteRefused(sub, { message: request.error, atMs }) };
  }
  return { kind: 'accepted', nonce: inFlight.nonce, versions: noteAccepted(sub) };
}

function checkNames(session: Session, { kind, names }: StreamRequest): RequestOutcome | undefined {
  const { maxNames, maxNameLength } = session.limits;
  const given =
    names.kind === 'replace'
      ? names.names
      : [...names.subscribe, ...names.unsubscribe, ...names.initialVersions.keys()];
  if (given.some((name) => name.length > maxNameLength)) {
    const reason = `a ${kind} name is longer than ${maxNameLength}`;
    return { ok: false, code: 'bad-name', reason };
  }
  let others = 0;
  for (const sub of session.subscriptions.values()) {
    if (names.kind === 'adjust' || sub.kind !== kind) others += sub.namedCount;
  }
  const mine = session.subscriptions.get(kind)?.entries;
  const added =
    names.kind === 'replace'
      ? names.names.length
      : countNew(mine, new Set([...names.subscribe, ...names.initialVersions.keys()]));
  if (others + added <= maxNames) return undefined;
  const reason = `the stream asks for more than ${maxNames} names`;
  return { ok: false, code: 'too-many-names', reason };
}

function countNew(
  entries: Subscription['entries'] | undefined,
  names: ReadonlySet<string>,
): number {
  let count = 0;
  for (const name of names) if (entries?.get(name)?.isNamed !== true) count++;
  return count;
}

/** `isRepeat`: no first request and no answer, so a client that changes nothing is asking anew. */
function replaceNames(
  sub: Subscription,
  given: readonly string[],
  options: { readonly isRepeat: boolean },
): void {
  const names = new Set(given);
  // An empty name is nobody's. Clients say by it that they ask for nothing, not for everything.
  if (names.delete('')) sub.hasGivenNames = true;
  if (names.size === 0 && isLegacyWildcard(sub)) {
    openWildcard(sub);
    return;
  }
  const added = [...names].filter((name) =>
    name === WILDCARD ? !sub.isWildcard : sub.entries.get(name)?.isNamed !== true,
  );
  const dropped: string[] = [];
  if (sub.isWildcard && !names.has(WILDCARD)) dropped.push(WILDCARD);
  for (const [name, entry] of sub.entries)
    if (entry.isNamed && !names.has(name)) dropped.push(name);
  const isUnchanged = added.length === 0 && dropped.length === 0;
  if (names.size > 0) sub.hasGivenNames = true;
  dropNames(sub, dropped);
  // Envoy asks for the endpoints of a cluster that it warms again by repeating its list, and waits for them.
  const isAskedAnew = isUnchanged && options.isRepeat && !sub.isFullSet;
  addNames(sub, isAskedAnew ? names : added);
}

function adjustNames(
  sub: Subscription,
  names: Extract<NameChange, { kind: 'adjust' }>,
  options: { readonly isFirst: boolean },
): void {
  if (options.isFirst && names.subscribe.length === 0 && isLegacyWildcard(sub)) openWildcard(sub);
  const subscribe = names.subscribe.filter((name) => name !== '');
  // What a client names no more while it asks for everything it still has: it must hear whether that is there.
  if (subscribe.includes(WILDCARD)) openWildcard(sub);
  if (names.unsubscribe.length > 0) dropNames(sub, names.unsubscribe);
  if (subscribe.length > 0) addNames(sub, subscribe);
  if (options.isFirst) seedVersions(sub, names.initialVersions);
}

type Phase = 'make' | 'break';

/**
 * Make before break: what is new or changed goes out in the order in which it is referred to, what is gone in the
 * reverse. Secrets are referred to by name and stand outside of the order.
 */
const STEPS: readonly { readonly kind: StreamKind; readonly phase: Phase }[] = [
  { kind: 'secret', phase: 'make' },
  ...RESOURCE_ORDER.filter((kind) => kind !== 'secret').map((kind) => ({
    kind,
    phase: 'make' as const,
  })),
  ...RESOURCE_ORDER.filter((kind) => kind !== 'secret')
    .map((kind) => ({ kind, phase: 'break' as const }))
    .toReversed(),
  { kind: 'secret', phase: 'break' },
];

/**
 * The next response that is due, which the caller must send; `undefined` when there is none for now. A kind has one
 * response in flight at most, so what changes meanwhile is merged into the next, and a client that does not answer
 * costs nothing. What waits for an answer holds back what comes after it in the order.
 */
export const nextResponse = (session: Session, view: ResourceView): StreamResponse | undefined =>
  orderedResponse(session, view) ?? opaqueResponse(session, view);

function orderedResponse(session: Session, view: ResourceView): StreamResponse | undefined {
  let waitsForClusters = false;
  for (const { kind, phase } of STEPS) {
    // The answer to clusters may be waiting for endpoints: nothing else passes them.
    if (waitsForClusters && kind !== 'endpoints') return undefined;
    const sub = session.subscriptions.get(kind);
    if (sub === undefined) continue;
    const changes = changesOf(sub, view);
    if (!hasWork(sub, changes, phase)) continue;
    if (sub.inFlight === undefined) return respond(session, sub, { changes, phase, view });
    if (kind === 'cluster' && phase === 'make') waitsForClusters = true;
    else if (kind !== 'secret') return undefined;
  }
  return undefined;
}

/** What a type that nothing here reads refers to is unknown: it stands outside of the order. */
function opaqueResponse(session: Session, view: ResourceView): StreamResponse | undefined {
  for (const sub of session.subscriptions.values()) {
    if (!isOpaqueKind(sub.kind) || sub.inFlight !== undefined) continue;
    const changes = changesOf(sub, view);
    for (const phase of ['make', 'break'] as const) {
      if (hasWork(sub, changes, phase)) return respond(session, sub, { changes, phase, view });
    }
  }
  return undefined;
}

function hasWork(sub: Subscription, changes: Changes, phase: Phase): boolean {
  if (phase === 'break') return changes.gone.length > 0;
  return changes.made.length > 0 || changes.missing.length > 0 || sub.isAnswerDue;
}

interface Due {
  readonly changes: Changes;
  readonly phase: Phase;
  readonly view: ResourceView;
}

function respond(session: Session, sub: Subscription, due: Due): StreamResponse {
  const nonce = String(++session.nonces);
  // Where nothing else is on the stream, nothing on it refers to what is gone.
  const keepsGone = due.phase === 'make' && session.subscriptions.size > 1;
  const content = sub.isFullSet
    ? fullSet(sub, { view: due.view, keepsGone })
    : difference(sub, due, session.limits);
  const { resources, removed } = content;
  const version = due.view.announced?.(sub.kind) ?? versionAfter(sub, resources, removed);
  if (sub.kind === 'cluster') oweEndpoints(session, sub, resources);
  noteSent(sub, { nonce, version, resources, removed });
  // State of the world leaves out what is gone; only delta names it.
  return { kind: sub.kind, nonce, version, resources, removed: sub.isFullSet ? [] : removed };
}

/**
 * Envoy takes a changed cluster into use only when it has been sent endpoints for it, even if they are the same, and
 * answers no response of clusters until then. In delta it does not ask for them again, and in state of the world its
 * asking cannot be told from the dropping of other names. Source: xDS protocol, "Warming".
 */
function oweEndpoints(
  session: Session,
  clusters: Subscription,
  resources: readonly AnyResource[],
): void {
  const endpoints = session.subscriptions.get('endpoints');
  if (endpoints === undefined) return;
  const isChanged = ({ name, version }: AnyResource): boolean => {
    const sent = clusters.entries.get(name)?.sent;
    return sent !== undefined && sent !== ABSENT && sent !== version;
  };
  oweNames(
    endpoints,
    resources.filter(isChanged).map(({ name }) => name),
  );
}

interface Content {
  readonly resources: readonly AnyResource[];
  readonly removed: readonly string[];
}

function difference(sub: Subscription, due: Due, limits: SessionLimits): Content {
  const { made, missing, gone } = due.changes;
  if (due.phase === 'break') return { resources: [], removed: gone };
  let bytes = 0;
  const fitting: AnyResource[] = [];
  for (const resource of made) {
    bytes += resource.bytes.byteLength + resource.name.length;
    if (fitting.length > 0 && bytes > limits.maxResponseBytes) break;
    fitting.push(resource);
  }
  return { resources: fitting, removed: missing };
}

/** While something is being made, what is gone stays in the set: listeners and routes may still name it. */
function fullSet(
  sub: Subscription,
  { view, keepsGone }: { readonly view: ResourceView; readonly keepsGone: boolean },
): Content {
  const listed = new Map<string, AnyResource>();
  if (sub.isWildcard) {
    for (const resource of resourcesIn(view, sub.kind)) listed.set(resource.name, resource);
  }
  const resources: AnyResource[] = [];
  const removed: string[] = [];
  for (const [name, entry] of sub.entries) {
    const current = entry.isNamed ? resourceIn(view, sub.kind, name) : listed.get(name);
    const kept = keepsGone ? entry.held : undefined;
    const resource = current ?? kept;
    if (resource === undefined) removed.push(name);
    else resources.push(resource);
  }
  return { resources, removed };
}

function versionAfter(
  sub: Subscription,
  resources: readonly AnyResource[],
  removed: readonly string[],
): string {
  // Delta has a version for each resource; the client ignores one for the whole.
  if (sub.variant === 'delta') return '';
  const versions = new Map<string, string>();
  for (const [name, { sent }] of sub.entries) {
    if (sent !== undefined && sent !== ABSENT) versions.set(name, sent);
  }
  for (const name of removed) versions.delete(name);
  for (const { name, version } of resources) versions.set(name, version);
  const hash = createHash('sha256');
  for (const name of [...versions.keys()].sort()) hash.update(`${name}\0${versions.get(name)}\0`);
  return hash.digest('hex').slice(0, 16);
}

/** Whether the client has acknowledged exactly this version and nothing since. */
export function isInForce(
  session: Session,
  resource: { readonly kind: StreamKind; readonly name: string; readonly version: string },
): boolean {
  const entry = session.subscriptions.get(resource.kind)?.entries.get(resource.name);
  return entry?.acked === resource.version;
}
