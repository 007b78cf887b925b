// Reads policies, and says of each that cannot be enforced as written what has to hold in its place.
import type { BrokenPolicyObject, PeerAuthenticationObject } from '@weft/model/mesh/objects';
import { readBrokenPolicy } from '@weft/model/policy/broken';
import {
  parseAuthorizationPolicy,
  unsupportedFeatures,
} from '@weft/model/policy/parse-authorization-policy';
import { parsePeerAuthentication } from '@weft/model/policy/parse-peer-authentication';
import { parseRequestAuthentication } from '@weft/model/policy/parse-request-authentication';
import type { PlainObject } from '@weft/model/policy/reader';
import type { RequestAuthentication } from '@weft/model/policy/token-rules';
import type { Problem } from '@weft/model/problem';
import type { Reading } from './reading.ts';

/**
 * One that cannot be read is bad: its last good version holds, else what it selects is closed. One that is sound and
 * for gateways or waypoints (`targetRefs`) holds for no workload, and puts nothing in force.
 */
export function readAuthorizationPolicy(object: PlainObject): Reading {
  const parsed = parseAuthorizationPolicy(object);
  if (!parsed.ok) return { kind: 'bad', closed: closedPolicy(object), problems: parsed.problems };
  const policy = parsed.value;
  const unsupported = unsupportedFeatures(policy);
  const enforced = { kind: 'AuthorizationPolicy', policy } as const;
  const objects = unsupported.length === 0 ? [enforced] : [];
  return { kind: 'good', objects, problems: [...parsed.problems, ...unsupported] };
}

const brokenObject = (
  of: BrokenPolicyObject['of'],
  policy: BrokenPolicyObject['policy'],
): BrokenPolicyObject => ({ kind: 'BrokenPolicy', of, policy, selector: policy.selector });

/** @returns `undefined` when it would govern no workload. */
export function closedPolicy(object: PlainObject): BrokenPolicyObject | undefined {
  const broken = readBrokenPolicy(object);
  return broken === undefined ? undefined : brokenObject('AuthorizationPolicy', broken);
}

/** Without a version that holds, what it selects accepts mutual TLS alone. */
export function readPeerAuthentication(object: PlainObject): Reading {
  const parsed = parsePeerAuthentication(object);
  if (!parsed.ok) {
    return { kind: 'bad', closed: closedPeerAuthentication(object), problems: parsed.problems };
  }
  const objects = [{ kind: 'PeerAuthentication', policy: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}

/** STRICT for as much as it can have meant. The age of 0 has it stand before others of its level. */
export function closedPeerAuthentication(
  object: PlainObject,
): PeerAuthenticationObject | undefined {
  const broken = readBrokenPolicy(object);
  if (broken === undefined) return undefined;
  const { namespace, name, selector } = broken;
  const mode = 'STRICT' as const;
  return {
    kind: 'PeerAuthentication',
    policy: { namespace, name, createdAtMs: 0, selector, mode, portModes: new Map() },
  };
}

/** Without a version that holds, everything that it selects is closed: its application may count on it. */
export function readRequestAuthentication(object: PlainObject): Reading {
  const parsed = parseRequestAuthentication(object);
  if (!parsed.ok) {
    return { kind: 'bad', closed: closedRequestAuthentication(object), problems: parsed.problems };
  }
  const policy = parsed.value;
  const objects = [{ kind: 'RequestAuthentication', policy } as const];
  return { kind: 'good', objects, problems: [...parsed.problems, ...unsupportedTargets(policy)] };
}

/** No action: that closes whatever else allows. */
export function closedRequestAuthentication(object: PlainObject): BrokenPolicyObject | undefined {
  const broken = readBrokenPolicy(object);
  return broken && brokenObject('RequestAuthentication', { ...broken, action: undefined });
}

const unsupportedTargets = ({ targetRefs }: RequestAuthentication): readonly Problem[] =>
  targetRefs.length === 0
    ? []
    : [
        {
          severity: 'error',
          code: 'not-supported',
          field: 'spec.targetRefs',
          message: 'targets are not supported by this version: it holds for no workload',
          cure: 'use spec.selector',
        },
      ];
