// Decides what is in force for one key: the newest version, the last good one, or what closes; and of several, which.
import { isDeepStrictEqual } from 'node:util';
import { STRICTEST_MESH_CONFIG } from '@weft/model/mesh/config';
import type {
  RegistryObject,
  TrafficPolicyObject,
  WorkloadPolicyObject,
} from '@weft/model/mesh/objects';
import type { ObjectRef, Problem, SourcePosition } from '@weft/model/problem';
import type { ObjectOutcome } from './read-objects.ts';

/** One object at one place: a file of a folder, or a resource of a cluster. */
export interface Entry {
  readonly ref: ObjectRef;
  /** The same for every version of it; no two entries of one key have one. For people when there is no `source`. */
  readonly place: string;
  /** Absent in a cluster. */
  readonly source?: SourcePosition;
  readonly outcome: ObjectOutcome;
  /** The last good version that stood at this place; the present one when it is good. */
  readonly lastGood: { readonly object: RegistryObject | undefined } | undefined;
  readonly problems: readonly Problem[];
}

/** What was found to be in force for a key. */
export interface Holder {
  /** Where it stands; absent when nothing single holds. */
  readonly place: string | undefined;
  /** Absent: nothing good was ever known. */
  readonly good: { readonly object: RegistryObject | undefined } | undefined;
}

export interface Resolution {
  readonly holder: Holder;
  readonly objects: readonly RegistryObject[];
  readonly problems: readonly Problem[];
}

interface Candidate {
  readonly entry: Entry;
  readonly good: { readonly object: RegistryObject | undefined };
}

/**
 * The rules, in this order:
 * - the one that was in force stays, be there others of its name or not: nobody takes a name by writing it again;
 * - equal ones are one;
 * - of unequal ones of which none was known, a policy's DENYs are all in force and each other one is closed, for
 *   neither may let through what the other does not; of other kinds the first holds, by file name, then position;
 * - without a good version, now or before, what is to restrict is closed.
 * @param entries at least one, in an order that does not change.
 */
export function resolve(entries: readonly Entry[], previous: Holder | undefined): Resolution {
  const candidates = entries.flatMap((entry) =>
    entry.lastGood === undefined ? [] : [{ entry, good: entry.lastGood }],
  );
  const [first] = candidates;
  if (first === undefined) return withoutCandidate(entries, previous);
  const known = knownAmong(candidates, previous);
  const isAgreed = candidates.every(({ good }) => saysTheSame(good.object, first.good.object));
  const hasUnread = candidates.length < entries.length;
  const chosen = known ?? (isAgreed && !hasUnread ? first : undefined);
  if (chosen !== undefined) return hold(chosen, entries, isAgreed && !hasUnread);
  const closing = entries.flatMap((entry) => closingOf(entry));
  const isRestricting =
    closing.length > 0 || entries.some(({ ref }) => RESTRICTING_KINDS.has(ref.kind));
  if (!isRestricting) return hold(first, entries, false);
  return {
    holder: { place: undefined, good: undefined },
    objects: distinct(closing),
    problems: entries.flatMap((entry) => [duplicateProblem(entry, entries, 'each is closed')]),
  };
}

function knownAmong(
  candidates: readonly Candidate[],
  previous: Holder | undefined,
): Candidate | undefined {
  if (previous?.good === undefined) return undefined;
  const { good, place } = previous;
  return (
    candidates.find(
      ({ good: own }) => own.object !== undefined && isDeepStrictEqual(own.object, good.object),
    ) ?? candidates.find(({ entry }) => entry.place === place)
  );
}

/** But for their age: a policy that was copied to another place is a younger one. */
function saysTheSame(a: RegistryObject | undefined, b: RegistryObject | undefined): boolean {
  return a === b || isDeepStrictEqual(ageless(a), ageless(b));
}

function ageless(object: RegistryObject | undefined): unknown {
  if (object === undefined || !('policy' in object) || object.kind === 'BrokenPolicy') {
    return object;
  }
  return { ...object, policy: { ...object.policy, createdAtMs: 0 } };
}

function hold(chosen: Candidate, entries: readonly Entry[], isAgreed: boolean): Resolution {
  const { entry, good } = chosen;
  const problems: Problem[] = [];
  if (entry.outcome.kind === 'bad') problems.push(lastGoodProblem(entry));
  for (const other of entries) {
    if (other === entry) continue;
    const problem = duplicateProblem(other, [entry, other], `${where(entry)} is in force`);
    problems.push(isAgreed ? { ...problem, severity: 'warning' } : problem);
  }
  return {
    holder: { place: entry.place, good },
    objects: good.object === undefined ? [] : [good.object],
    problems,
  };
}

function withoutCandidate(entries: readonly Entry[], previous: Holder | undefined): Resolution {
  const [first] = entries;
  const good = previous?.good;
  if (good?.object !== undefined && first !== undefined) {
    // It was good where it stood before, and has come here broken.
    const problems = [lastGoodProblem(first)];
    return { holder: { place: first.place, good }, objects: [good.object], problems };
  }
  const closing = entries.flatMap((entry) => closingOf(entry));
  const problems = entries.flatMap((entry): readonly Problem[] => {
    const [closing] = closingOf(entry);
    if (closing === undefined) return [];
    if (closing.kind === 'ServiceRoute') {
      const message = 'cannot be read and has no good version: it is not applied';
      return [{ severity: 'warning', code: 'not-applied', message, ...placeOf(entry) }];
    }
    const message = 'cannot be read and has no good version: what it selects is closed';
    return [{ severity: 'warning', code: 'fails-closed', message, ...placeOf(entry) }];
  });
  return {
    holder: { place: undefined, good: undefined },
    objects: distinct(closing),
    problems,
  };
}

/** Kinds that say what is let through: a choice between two of them could let through more. */
const RESTRICTING_KINDS: ReadonlySet<string> = new Set([
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'BasicAuthentication',
  'TlsTermination',
  'TrafficPolicy',
  'ExternalService',
  'CredentialBinding',
  'FederatedTrustDomain',
  'WorkloadPolicy',
  'ClusterWorkloadPolicy',
  'MeshConfig',
]);

function closingOf({ outcome, lastGood }: Entry): readonly RegistryObject[] {
  const object = lastGood === undefined ? undefined : lastGood.object;
  const isUnread = lastGood === undefined && outcome.kind === 'bad';
  const closed = isUnread ? outcome.closed : object && closedVersionOf(object);
  return closed === undefined ? [] : [closed];
}

/** What lets through no more than this one nor any other could. @returns `undefined` for kinds that restrict nothing. */
function closedVersionOf(object: RegistryObject): RegistryObject | undefined {
  switch (object.kind) {
    case 'AuthorizationPolicy': {
      const { namespace, name, action, selector } = object.policy;
      if (action === 'DENY') return object;
      const policy = { namespace, name, action, selector };
      return { kind: 'BrokenPolicy', of: 'AuthorizationPolicy', policy, selector };
    }
    case 'PeerAuthentication': {
      const closed = { mode: 'STRICT', portModes: new Map(), createdAtMs: 0 } as const;
      return { kind: 'PeerAuthentication', policy: { ...object.policy, ...closed } };
    }
    case 'RequestAuthentication': {
      const { namespace, name, selector, targetRefs } = object.policy;
      if (targetRefs.length > 0) return undefined;
      const policy = { namespace, name, action: undefined, selector };
      return { kind: 'BrokenPolicy', of: 'RequestAuthentication', policy, selector };
    }
    case 'BasicAuthentication': {
      const { namespace, name, selector } = object.policy;
      const policy = { namespace, name, action: undefined, selector };
      return { kind: 'BrokenPolicy', of: 'BasicAuthentication', policy, selector };
    }
    case 'TlsTermination': {
      const { namespace, name, selector } = object.policy;
      const policy = { namespace, name, action: undefined, selector };
      return { kind: 'BrokenPolicy', of: 'TlsTermination', policy, selector };
    }
    case 'TrafficPolicy':
      return closedTraffic(object);
    case 'WorkloadPolicy':
      return closedWorkloads(object);
    case 'BrokenPolicy':
      return object;
    case 'MeshConfig':
      return { ...object, config: STRICTEST_MESH_CONFIG };
    case 'ExternalService': {
      const nobody = { principals: [], namespaces: [] };
      const { service } = object;
      return { kind: object.kind, service: { ...service, allowedCallers: nobody, isClosed: true } };
    }
    // Without it nothing is granted.
    case 'FederatedTrustDomain':
    case 'Data':
    case 'CredentialBinding':
    case 'Namespace':
    case 'ServiceAccount':
    case 'Service':
    case 'EndpointSlice':
    case 'Pod':
    case 'ServiceRoute':
    case 'ReferenceGrant':
      return undefined;
    default:
      return object satisfies never;
  }
}

function distinct(objects: readonly RegistryObject[]): readonly RegistryObject[] {
  const kept: RegistryObject[] = [];
  for (const object of objects) {
    if (!kept.some((other) => isDeepStrictEqual(other, object))) kept.push(object);
  }
  return kept;
}

const where = ({ source, place }: Entry): string =>
  source === undefined ? place : `${source.file}:${source.line ?? 1}`;

const placeOf = ({ ref, source }: Entry): Pick<Problem, 'object' | 'source'> =>
  source === undefined ? { object: ref } : { object: ref, source };

/** Two that disagree about what is held back: neither may let through what the other does not. */
function closedTraffic({ policy: traffic }: TrafficPolicyObject): RegistryObject | undefined {
  const { throttling, floods, limits, namespace, name, targetRefs } = traffic;
  if (throttling === undefined && floods === undefined && limits === undefined) return undefined;
  const selector = targetRefs.length > 0 ? undefined : traffic.selector;
  const policy = { namespace, name, action: undefined, selector };
  return { kind: 'BrokenPolicy', of: 'TrafficPolicy', policy, selector };
}

/** Places that a message names. */
const MAX_SHOWN_PLACES = 5;

function duplicateProblem(entry: Entry, all: readonly Entry[], what: string): Problem {
  const places = all.slice(0, MAX_SHOWN_PLACES).map(where).join(', ');
  const message = `is there ${all.length === 2 ? 'twice' : `${all.length} times`}: ${places}; ${what}`;
  const cure = 'keep one of them';
  return { severity: 'error', code: 'duplicate-object', message, cure, ...placeOf(entry) };
}

function lastGoodProblem(entry: Entry): Problem {
  const message = 'its last good version stays in force';
  return { severity: 'warning', code: 'last-good-version', message, ...placeOf(entry) };
}

/** Two that disagree: what either selects is refused, unless it only says what it would refuse. */
function closedWorkloads({ policy }: WorkloadPolicyObject): RegistryObject | undefined {
  if (policy.mode !== 'enforce') return undefined;
  const broken = 'two policies of this name disagree';
  return { kind: 'WorkloadPolicy', policy: { ...policy, exemptions: [], pod: undefined, broken } };
}
