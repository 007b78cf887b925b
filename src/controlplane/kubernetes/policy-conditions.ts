// Says what the status of a policy's object in the cluster is: accepted or not, enforced where and waited for where. Pure.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { describeProblem, firstOf, type Problem } from '@weft/model/problem';
import type { ObjectOrigin } from '../registry/source.ts';
import { missingAt, type PolicyReport, waitingText } from '../status/policy-status.ts';

/** Without the time of its last transition. */
export interface Condition {
  readonly type: 'Accepted' | 'Enforced' | 'Vulnerable' | 'BundleFetched';
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

export interface PolicyObjectStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  /** What it does, as it is read. */
  readonly action?: string;
  readonly selected?: number;
  /** `2/3`. */
  readonly enforced?: string;
  /** The API server's own policy that it was made into. */
  readonly rendered?: string;
}

export interface PolicyFacts {
  readonly origin: ObjectOrigin;
  /** What is in force of it; absent when nothing is. */
  readonly report: PolicyReport | undefined;
  /** All that is known of the object. */
  readonly problems: readonly Problem[];
  readonly isDryRun: boolean;
}

/** Problems and workloads that a message names; the control plane's own endpoints have all. */
const MAX_NAMED = 3;

const listed = (texts: readonly string[]): string => firstOf(texts, MAX_NAMED);

/** Kinds that select no workloads. */
const ACCEPTED_ALONE: ReadonlySet<string> = new Set(['MeshConfig']);

/** A kind that selects workloads has both conditions. */
export function describePolicyObject(facts: PolicyFacts): PolicyObjectStatus {
  const { origin, report } = facts;
  const accepted = acceptedOf(facts);
  const { generation: observedGeneration } = origin;
  if (ACCEPTED_ALONE.has(origin.resource.kind))
    return { observedGeneration, conditions: [accepted] };
  const action = report?.action;
  return {
    observedGeneration,
    ...(action !== undefined && { action }),
    selected: report?.workloads.length ?? 0,
    enforced: report?.enforced ?? '0/0',
    conditions: [accepted, enforcedOf(facts, accepted)],
  };
}

export function acceptedOf({
  origin,
  problems,
}: Pick<PolicyFacts, 'origin' | 'problems'>): Condition {
  const type = 'Accepted';
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (!origin.isGood || errors.length > 0) {
    const message = errors.length > 0 ? listed(errors.map(describeProblem)) : 'it cannot be read';
    return { type, status: 'False', reason: 'Invalid', message };
  }
  if (problems.length === 0) {
    return { type, status: 'True', reason: 'Valid', message: 'it is in force as written' };
  }
  const message = `it is in force; ${listed(problems.map(describeProblem))}`;
  return { type, status: 'True', reason: 'ValidWithWarnings', message };
}

/** Never true of a version that is not in force, and never of none: who waits for it may rely on it. */
function enforcedOf({ report, isDryRun }: PolicyFacts, accepted: Condition): Condition {
  const type = 'Enforced';
  const not = (reason: string, message: string): Condition => ({
    type,
    status: 'False',
    reason,
    message,
  });
  const workloads = report?.workloads ?? [];
  if (accepted.status === 'False') {
    const held =
      workloads.length === 0
        ? ''
        : `; what held before, or a closure, holds at ${workloads.length} workloads`;
    return not('Invalid', `this version is not in force${held}`);
  }
  if (isDryRun) return not('DryRun', 'it is on trial: what it would decide is only counted');
  const { destinations = [] } = report ?? {};
  if (workloads.length === 0 && destinations.length > 0) {
    const message = `nobody calls any of ${destinations.length} destinations yet; whoever does gets it first`;
    return { type, status: 'True', reason: 'NoCallers', message };
  }
  if (workloads.length === 0 && report?.destinations !== undefined) {
    return not(
      'NoDestinations',
      'it is for no destination that there is: compare names and targets',
    );
  }
  if (workloads.length === 0) {
    return not('NoWorkloads', 'it selects no workload with a sidecar: compare selector and labels');
  }
  const count = `${report?.enforced.replace('/', ' of ')} workloads`;
  const { waiting, unsupported } = missingAt(workloads);
  if (waiting.length + unsupported.length === 0) {
    return { type, status: 'True', reason: 'AllEnforced', message: `${count} enforce it` };
  }
  const never =
    unsupported.length === 0 ? '' : `; never, as they are, ${listed(unsupported.map(waitingText))}`;
  if (waiting.length === 0) return not('Unsupported', `${count} enforce it${never}`);
  return not('Waiting', `${count} enforce it; not yet ${listed(waiting.map(waitingText))}${never}`);
}

/**
 * The status as it is written: times are those of before where a condition has not turned.
 * @param before as it stands in the cluster
 */
export function withTimes(
  status: PolicyObjectStatus,
  before: PlainObject | undefined,
  nowMs: number,
): PlainObject {
  const known = conditionsOf(before);
  const { observedGeneration } = status;
  return {
    ...status,
    conditions: status.conditions.map((condition) => {
      const old = known.find(({ type }) => type === condition.type);
      const since = old?.['lastTransitionTime'];
      const isSame = old?.['status'] === condition.status && typeof since === 'string';
      return {
        ...condition,
        observedGeneration,
        lastTransitionTime: isSame ? since : kubernetesTime(nowMs),
      };
    }),
  };
}

/** Whole seconds, as the API server keeps them. */
const kubernetesTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** What is worth an Event: it was refused, or is good again, or a version is enforced for the first time. */
export function turnedConditions(
  before: PlainObject | undefined,
  now: PolicyObjectStatus,
  enforcedGeneration: number | undefined,
): readonly Condition[] {
  const known = conditionsOf(before);
  return now.conditions.filter(({ type, status }) => {
    // Told of on the Pods.
    if (type === 'Vulnerable') return false;
    if (type === 'Enforced') {
      return status === 'True' && enforcedGeneration !== now.observedGeneration;
    }
    const old = known.find((one) => one['type'] === type);
    if (status === 'True') return old?.['status'] === 'False';
    return old?.['status'] !== 'False' || old['observedGeneration'] !== now.observedGeneration;
  });
}

/** The version that a status says is enforced. */
export function enforcedGenerationOf(status: PlainObject | undefined): number | undefined {
  const found = conditionsOf(status).find(({ type }) => type === 'Enforced');
  const generation = found?.['status'] === 'True' ? found['observedGeneration'] : undefined;
  return typeof generation === 'number' ? generation : undefined;
}

function conditionsOf(status: PlainObject | undefined): readonly PlainObject[] {
  const conditions = status?.['conditions'];
  return Array.isArray(conditions) ? conditions.filter(isPlainObject) : [];
}

/** Whether what stands in the cluster says all that, and nothing else. */
export function isSameStatus(written: PlainObject | undefined, wanted: PlainObject): boolean {
  return written !== undefined && stableText(written) === stableText(wanted);
}

/** The same for equal objects, whatever the order of their keys. */
function stableText(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    isPlainObject(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
