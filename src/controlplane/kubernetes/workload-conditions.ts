// Says what the status of a WorkloadPolicy is: accepted or not, and whether the API server enforces it by itself. Pure.
import { expiredExemptions } from '@weft/model/admission/check-workload';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import { isWaitedFor } from '../admission/render-webhooks.ts';
import { firstOf } from '@weft/model/problem';
import type { ObjectOrigin } from '../registry/source.ts';
import { acceptedOf, type Condition, type PolicyObjectStatus } from './policy-conditions.ts';
import type { PolicyStanding } from '../vulnerabilities/vulnerability-watch.ts';
import type { Rendering } from './workload-policy-keeper.ts';

export const isWorkloadPolicy = (kind: string): boolean =>
  kind === 'WorkloadPolicy' || kind === 'ClusterWorkloadPolicy';

export interface WorkloadPolicyFacts {
  readonly origin: ObjectOrigin;
  /** What is in force of it; absent when nothing is. */
  readonly policy: WorkloadPolicy | undefined;
  /** Absent when nobody keeps it, or it asks nothing that the API server could enforce. */
  readonly rendering: Rendering | undefined;
  /** Absent when it asks nothing of vulnerabilities, or nobody has looked yet. */
  readonly standing?: PolicyStanding | undefined;
  readonly nowMs: number;
}

export function describeWorkloadPolicy(facts: WorkloadPolicyFacts): PolicyObjectStatus {
  const { origin, rendering } = facts;
  const accepted = acceptedOf({ origin, problems: origin.problems });
  return {
    observedGeneration: origin.generation,
    ...(rendering?.name !== undefined && { rendered: rendering.name }),
    conditions: [accepted, enforcedOf(facts, accepted), ...vulnerableOf(facts)],
  };
}

function enforcedOf(facts: WorkloadPolicyFacts, accepted: Condition): Condition {
  const { policy, rendering, nowMs } = facts;
  const is = (status: 'True' | 'False', reason: string, message: string): Condition => ({
    type: 'Enforced',
    status,
    reason,
    message: `${message}${policy === undefined ? '' : endedText(policy, nowMs)}`,
  });
  if (accepted.status === 'False') {
    const held = policy === undefined ? '' : '; what held before, or a closure, holds';
    return is('False', 'Invalid', `this version is not in force${held}`);
  }
  if (policy === undefined) return is('False', 'Waiting', 'it is not in force yet');
  if (policy.mode !== 'enforce') {
    const what = policy.mode === 'warn' ? 'warns' : 'writes down';
    return is('False', 'NotEnforcing', `it only ${what}: set spec.mode: enforce to have it refuse`);
  }
  if (rendering === undefined) {
    return is('False', 'NotKept', 'nobody enforces it: install with workloads.enabled=true');
  }
  const { name, isAsked, isInPlace, problem } = rendering;
  const by = [
    ...(name === undefined ? [] : [`as ValidatingAdmissionPolicy ${name}`]),
    ...(isAsked ? [`by asking the webhook weft-workloads, ${withoutAnswer(policy)}`] : []),
  ].join(', and ');
  if (isInPlace) {
    const reason = name === undefined ? 'Asked' : 'Rendered';
    return is('True', reason, `the API server enforces it ${by}`);
  }
  return is('False', 'Waiting', problem ?? `it is being written ${by}`);
}

const withoutAnswer = (policy: WorkloadPolicy): string =>
  isWaitedFor(policy) ? 'without whose answer nothing is made' : 'while that answers';

/** Ended exemptions leave nobody out, and are only in the way of whoever reads the policy. */
function endedText(policy: WorkloadPolicy, nowMs: number): string {
  const ended = expiredExemptions(policy, nowMs).map(
    ({ index, exemption }) =>
      `spec.exemptions[${index}] ended ${new Date(exemption.expiresAtMs).toISOString()}`,
  );
  return ended.length === 0 ? '' : `; ${ended.join(', ')}: remove or renew`;
}

/** Pods that a message names; Events on the Pods and `weft admission report` have all. */
const MAX_NAMED = 10;

function vulnerableOf({ standing }: WorkloadPolicyFacts): readonly Condition[] {
  if (standing === undefined) return [];
  const { looked, unknown, crossed, problem } = standing;
  const is = (status: Condition['status'], reason: string, message: string): Condition => ({
    type: 'Vulnerable',
    status,
    reason,
    message: `${message}${problem === undefined ? '' : `; ${problem}`}`,
  });
  const rest = unknown === 0 ? '' : `; of images of ${unknown} no report is known`;
  if (crossed.length > 0) {
    const revoked = crossed.filter(({ isRevoked }) => isRevoked).length;
    const lost = revoked === 0 ? '' : `, and ${revoked} lost their identity`;
    const names = firstOf(
      crossed.map(({ pod }) => pod.key),
      MAX_NAMED,
    );
    const count = `${crossed.length} of ${looked} Pods have more vulnerabilities than may be`;
    return [is('True', 'Crossed', `${count}${lost}: ${names}${rest}`)];
  }
  if (unknown > 0 || problem !== undefined) {
    return [
      is(
        'Unknown',
        'NoReports',
        `nothing is wrong with ${looked - unknown} of ${looked} Pods${rest}`,
      ),
    ];
  }
  return [
    is('False', 'NoneCrossed', `none of ${looked} Pods has more vulnerabilities than may be`),
  ];
}
