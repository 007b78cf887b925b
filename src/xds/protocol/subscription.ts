// Owns what one stream has of one kind: what was asked for, what was sent, and what the client says is in force.
import {
  type EncodedResource,
  resourceIn,
  resourcesIn,
  type ResourceView,
  type StreamKind,
} from '../resource.ts';

/** `delta` sends differences; state of the world (`sotw`) sends whole sets of some kinds. */
export type Variant = 'sotw' | 'delta';

/** Of whatever kind. */
export type AnyResource = EncodedResource<StreamKind>;

/** Stands for "there is no such resource" where a version is expected; no content has an empty hash. */
export const ABSENT = '';
/** The name that asks for everything. */
export const WILDCARD = '*';

interface Entry {
  /** Asked for by name; otherwise only the wildcard covers it. */
  isNamed: boolean;
  /** To be sent whatever the client has. */
  isOwed: boolean;
  /** The last version sent; `undefined` while nothing was said about the name. */
  sent: string | undefined;
  /** The version that the client acknowledged last: the one in force. */
  acked: string | undefined;
  /** The version that the client refused last, until it accepts one. */
  rejected: string | undefined;
  /** What was sent, where a later full set may have to repeat it. */
  held: AnyResource | undefined;
}

/** A response that the client has not answered yet. */
interface InFlight {
  readonly nonce: string;
  /** By name; {@link ABSENT} where the response says that there is none. */
  readonly versions: ReadonlyMap<string, string>;
}

/** The last refusal of a kind on a stream. */
export interface Refusal {
  readonly nonce: string;
  /** The client's own words, cut to {@link MAX_REFUSAL_CHARS}. */
  readonly message: string;
  readonly atMs: number;
  /** Refusals of this kind on this stream so far. */
  readonly count: number;
  readonly names: readonly string[];
}

/** Differences between what the client has and what the view holds. */
export interface Changes {
  /** New, changed, or asked for anew. */
  readonly made: readonly AnyResource[];
  /** Asked for and not there; only delta can say so. */
  readonly missing: readonly string[];
  /** The client has them, the view no longer. */
  readonly gone: readonly string[];
}

export interface Subscription {
  readonly kind: StreamKind;
  readonly variant: Variant;
  /** State of the world: a response for listeners or clusters holds all of them; what it lacks is gone. */
  readonly isFullSet: boolean;
  isWildcard: boolean;
  /** Once names were given, an empty list no longer means everything. */
  hasGivenNames: boolean;
  /** The next response is due even if it holds nothing: the client waits for it. */
  isAnswerDue: boolean;
  namedCount: number;
  readonly entries: Map<string, Entry>;
  inFlight: InFlight | undefined;
  /** Of the last response sent; empty before the first. */
  lastNonce: string;
  lastVersion: string;
  refusal: Refusal | undefined;
  /** The differences last computed, valid for `comparedRevision` until the subscription itself changes. */
  changes: Changes | undefined;
  comparedRevision: number;
}

/** A refusal's text is shown and logged: enough for a list of fields, too little to fill memory. */
export const MAX_REFUSAL_CHARS = 4_096;
/** How many names a refusal remembers. */
const MAX_REFUSAL_NAMES = 64;

const isFullSetKind = (kind: StreamKind): boolean => kind === 'listener' || kind === 'cluster';

export function createSubscription(kind: StreamKind, variant: Variant): Subscription {
  return {
    kind,
    variant,
    isFullSet: variant === 'sotw' && isFullSetKind(kind),
    isWildcard: false,
    hasGivenNames: false,
    isAnswerDue: variant === 'sotw' && isFullSetKind(kind),
    namedCount: 0,
    entries: new Map(),
    inFlight: undefined,
    lastNonce: '',
    lastVersion: '',
    refusal: undefined,
    changes: undefined,
    comparedRevision: -1,
  };
}

function createEntry(isNamed: boolean): Entry {
  return {
    isNamed,
    isOwed: false,
    sent: undefined,
    acked: undefined,
    rejected: undefined,
    held: undefined,
  };
}

/** Asks for names, `*` among them perhaps; a name that is asked for again is sent again. */
export function addNames(sub: Subscription, names: Iterable<string>): void {
  for (const name of names) {
    sub.hasGivenNames = true;
    if (name === WILDCARD) {
      openWildcard(sub);
      continue;
    }
    const entry = sub.entries.get(name) ?? createEntry(true);
    if (!entry.isNamed || !sub.entries.has(name)) sub.namedCount++;
    // A name seeded with the version that the client brought is owed only when it is asked for a second time.
    entry.isOwed = true;
    entry.isNamed = true;
    sub.entries.set(name, entry);
    if (sub.isFullSet) sub.isAnswerDue = true;
  }
  sub.changes = undefined;
}

/** Sends what was asked for once more, whatever the client has. */
export function oweNames(sub: Subscription, names: Iterable<string>): void {
  for (const name of names) {
    const entry = sub.entries.get(name);
    if (entry === undefined) continue;
    entry.isOwed = true;
    sub.changes = undefined;
  }
}

/** Forgets names. One that the wildcard still covers is sent again, for the client has just dropped it. */
export function dropNames(sub: Subscription, names: Iterable<string>): void {
  for (const name of names) {
    if (name === WILDCARD) closeWildcard(sub);
    else dropName(sub, name);
  }
  sub.changes = undefined;
}

function dropName(sub: Subscription, name: string): void {
  const entry = sub.entries.get(name);
  if (entry === undefined || !entry.isNamed) return;
  sub.namedCount--;
  if (!sub.isWildcard) {
    sub.entries.delete(name);
    return;
  }
  entry.isNamed = false;
  entry.isOwed = sub.variant === 'delta';
}

/** Everything, as an explicit `*` or the older empty first list asks for it. */
export function openWildcard(sub: Subscription): void {
  if (sub.isWildcard) return;
  sub.isWildcard = true;
  sub.isAnswerDue = true;
  sub.changes = undefined;
}

function closeWildcard(sub: Subscription): void {
  if (!sub.isWildcard) return;
  sub.isWildcard = false;
  for (const [name, entry] of sub.entries) if (!entry.isNamed) sub.entries.delete(name);
}

/** Whether an empty list still means everything: listeners and clusters, until names were given. */
export const isLegacyWildcard = (sub: Subscription): boolean =>
  isFullSetKind(sub.kind) && !sub.hasGivenNames;

/** Delta: what the client brought from an earlier stream is in force there, and is not sent again. */
export function seedVersions(sub: Subscription, versions: ReadonlyMap<string, string>): void {
  for (const [name, version] of versions) {
    const known = sub.entries.get(name);
    if (name === '' || version === ABSENT || (known === undefined && !sub.isWildcard)) continue;
    const entry = known ?? createEntry(false);
    entry.sent = version;
    entry.acked = version;
    entry.isOwed = false;
    sub.entries.set(name, entry);
  }
  // A client that has something already is not waiting to hear that there is nothing.
  if (versions.size > 0) sub.isAnswerDue = false;
  sub.changes = undefined;
}

/** What the client has yet to be told at this revision; the same object until something changes. */
export function changesOf(sub: Subscription, view: ResourceView): Changes {
  if (sub.changes !== undefined && sub.comparedRevision === view.revision) return sub.changes;
  const listed = sub.isWildcard ? listAll(sub, view) : undefined;
  const made: AnyResource[] = [];
  const missing: string[] = [];
  const gone: string[] = [];
  for (const [name, entry] of sub.entries) {
    const resource = entry.isNamed ? resourceIn(view, sub.kind, name) : listed?.get(name);
    if (resource !== undefined) {
      if (entry.isOwed || entry.sent !== resource.version) made.push(resource);
    } else if (entry.isOwed || (entry.isNamed && entry.sent === undefined)) missing.push(name);
    else if (entry.sent === undefined) sub.entries.delete(name);
    else if (entry.sent !== ABSENT) gone.push(name);
  }
  const changes = sayable(sub, { made, missing, gone });
  sub.changes = changes;
  sub.comparedRevision = view.revision;
  return changes;
}

function listAll(sub: Subscription, view: ResourceView): Map<string, AnyResource> {
  const listed = new Map<string, AnyResource>();
  for (const resource of resourcesIn(view, sub.kind)) {
    listed.set(resource.name, resource);
    if (!sub.entries.has(resource.name)) sub.entries.set(resource.name, createEntry(false));
  }
  return listed;
}

/**
 * State of the world has no words for "there is none". Absence is noted without being sent; where a whole set is
 * sent, what is gone is told by leaving it out.
 */
function sayable(sub: Subscription, changes: Changes): Changes {
  if (sub.variant === 'delta') return changes;
  for (const name of changes.missing) noteAbsence(sub, name);
  if (sub.isFullSet) return { ...changes, missing: [] };
  for (const name of changes.gone) noteAbsence(sub, name);
  return { made: changes.made, missing: [], gone: [] };
}

function noteAbsence(sub: Subscription, name: string): void {
  const entry = sub.entries.get(name);
  if (entry === undefined) return;
  entry.isOwed = false;
  entry.sent = ABSENT;
  entry.held = undefined;
  if (!entry.isNamed) sub.entries.delete(name);
}

/** Notes that a response is on its way. */
export function noteSent(
  sub: Subscription,
  response: {
    readonly nonce: string;
    readonly version: string;
    readonly resources: readonly AnyResource[];
    readonly removed: readonly string[];
  },
): void {
  const versions = new Map<string, string>();
  for (const resource of response.resources) {
    versions.set(resource.name, resource.version);
    const entry = sub.entries.get(resource.name);
    if (entry === undefined) continue;
    entry.sent = resource.version;
    entry.isOwed = false;
    entry.held = sub.isFullSet ? resource : undefined;
  }
  for (const name of response.removed) {
    versions.set(name, ABSENT);
    const entry = sub.entries.get(name);
    if (entry === undefined) continue;
    entry.sent = ABSENT;
    entry.isOwed = false;
    entry.held = undefined;
  }
  sub.inFlight = { nonce: response.nonce, versions };
  sub.lastNonce = response.nonce;
  sub.lastVersion = response.version;
  sub.isAnswerDue = false;
  sub.changes = undefined;
}

/** The client took the response in flight. @returns its versions by name. */
export function noteAccepted(sub: Subscription): ReadonlyMap<string, string> {
  const versions = sub.inFlight?.versions ?? new Map<string, string>();
  sub.inFlight = undefined;
  for (const [name, version] of versions) {
    const entry = sub.entries.get(name);
    // Dropped and asked for again meanwhile: the answer is not about what the client will be sent.
    if (entry?.sent === undefined) continue;
    entry.acked = version === ABSENT ? undefined : version;
    entry.rejected = undefined;
    if (version === ABSENT && entry.sent === ABSENT && !entry.isNamed) sub.entries.delete(name);
  }
  return versions;
}

/** The client refused the response in flight: what it acknowledged before stays in force there. */
export function noteRefused(
  sub: Subscription,
  refusal: { readonly message: string; readonly atMs: number },
): Refusal {
  const { nonce, versions } = sub.inFlight ?? {
    nonce: sub.lastNonce,
    versions: new Map<string, string>(),
  };
  sub.inFlight = undefined;
  for (const [name, version] of versions) {
    const entry = sub.entries.get(name);
    if (entry !== undefined && version !== ABSENT) entry.rejected = version;
  }
  sub.refusal = {
    nonce,
    message: refusal.message.slice(0, MAX_REFUSAL_CHARS),
    atMs: refusal.atMs,
    count: (sub.refusal?.count ?? 0) + 1,
    names: [...versions.keys()].slice(0, MAX_REFUSAL_NAMES),
  };
  return sub.refusal;
}
