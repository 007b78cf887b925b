// Reads WorkloadPolicies of both kinds, and says of each that cannot be read what has to hold in its place.
import {
  parseWorkloadPolicy,
  readBrokenWorkloadPolicy,
} from '@weft/model/admission/parse-workload-policy';
import type { WorkloadPolicyKind } from '@weft/model/admission/types';
import type { WorkloadPolicyObject } from '@weft/model/mesh/objects';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Reading } from './reading.ts';

function read(object: PlainObject, kind: WorkloadPolicyKind): Reading {
  const parsed = parseWorkloadPolicy(object, kind);
  if (!parsed.ok) return { kind: 'bad', closed: close(object, kind), problems: parsed.problems };
  const objects = [{ kind: 'WorkloadPolicy', policy: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}

/** @returns `undefined` when it clearly only writes down or warns: it refused nobody. */
function close(object: PlainObject, kind: WorkloadPolicyKind): WorkloadPolicyObject | undefined {
  const policy = readBrokenWorkloadPolicy(object, kind);
  return policy && { kind: 'WorkloadPolicy', policy };
}

export const readWorkloadPolicy = (object: PlainObject): Reading => read(object, 'WorkloadPolicy');
export const closedWorkloadPolicy = (object: PlainObject): WorkloadPolicyObject | undefined =>
  close(object, 'WorkloadPolicy');
export const readClusterWorkloadPolicy = (object: PlainObject): Reading =>
  read(object, 'ClusterWorkloadPolicy');
export const closedClusterWorkloadPolicy = (
  object: PlainObject,
): WorkloadPolicyObject | undefined => close(object, 'ClusterWorkloadPolicy');
