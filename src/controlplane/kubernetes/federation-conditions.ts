// Says what the status of a FederatedTrustDomain in the cluster is: accepted or not, and how old the keys are that it is believed by. Pure.
import type { Problem } from '@weft/model/problem';
import type { FederationState } from '../federation/federations.ts';
import type { ObjectOrigin } from '../registry/source.ts';
import { acceptedOf, type Condition, type PolicyObjectStatus } from './policy-conditions.ts';

/** Of fetching; they say nothing against the object. */
const OF_FETCHING: ReadonlySet<string> = new Set(['bundle-stale', 'bundle-missing']);

export interface FederationFacts {
  readonly origin: ObjectOrigin;
  /** All that is known of the object. */
  readonly problems: readonly Problem[];
  /** Absent: it does not hold. */
  readonly state: FederationState | undefined;
}

export function describeFederatedTrustDomain(facts: FederationFacts): PolicyObjectStatus {
  const { origin, problems, state } = facts;
  const own = problems.filter(({ code }) => !OF_FETCHING.has(code));
  return {
    observedGeneration: origin.generation,
    conditions: [acceptedOf({ origin, problems: own }), fetchedOf(state)],
  };
}

const timeOf = (ms: number | undefined): string =>
  ms === undefined ? 'never' : new Date(ms).toISOString();

/** True as long as the keys are believed; the message has both times. */
function fetchedOf(state: FederationState | undefined): Condition {
  const type = 'BundleFetched';
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({
    type,
    status,
    reason,
    message,
  });
  if (state === undefined) return say('False', 'NotInForce', 'nobody of it is believed');
  const { bundle, fetchedAtMs, holdsUntilMs, isInForce, failure } = state;
  const times = `fetched at ${timeOf(fetchedAtMs)}, believed until ${timeOf(holdsUntilMs)}`;
  if (!isInForce && fetchedAtMs === undefined) {
    const message = `nobody of it is believed: ${failure ?? 'it has not been fetched yet'}`;
    return say(failure === undefined ? 'Unknown' : 'False', 'NotFetched', message);
  }
  if (!isInForce) return say('False', 'TooOld', `${times}; ${failure ?? 'it is too old'}`);
  const { sequence, x509Authorities = [], jwtAuthorities = [] } = bundle ?? {};
  const what = `sequence ${sequence ?? 'none'}, ${x509Authorities.length} roots, ${jwtAuthorities.length} keys of tokens`;
  if (failure === undefined) return say('True', 'Fetched', `${times}; ${what}`);
  return say('True', 'LastGood', `${times}; ${what}; it cannot be fetched now: ${failure}`);
}
