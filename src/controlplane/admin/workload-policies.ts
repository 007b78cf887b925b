// Says of each WorkloadPolicy in which condition it is, as its object in the cluster has it: every replica says what the leader wrote.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { formatProblem } from '@weft/model/problem';
import { workloadPoliciesOf } from '../admission/workload-policies.ts';
import type { ObjectOrigin, SourceState } from '../registry/source.ts';
import type { PolicyReport } from '../status/policy-status.ts';
import type { PolicyCondition } from './policy-conditions.ts';

/** `Observing`: it warns or notes, and refuses nothing. */
type WorkloadPolicyState = PolicyCondition['state'] | 'Observing';

export type WorkloadPolicyEntry = Omit<PolicyReport, 'kind'> &
  Omit<PolicyCondition, 'state'> & {
    readonly kind: string;
    readonly state: WorkloadPolicyState;
  };

const KINDS: ReadonlySet<string> = new Set(['WorkloadPolicy', 'ClusterWorkloadPolicy']);

export function describeWorkloadPolicies(state: SourceState): readonly WorkloadPolicyEntry[] {
  const modes = new Map(
    workloadPoliciesOf(state.snapshot).map((policy) => [keyOf(policy), policy.mode]),
  );
  const { origins } = state;
  const keys =
    origins === undefined
      ? [...modes.keys()]
      : [...origins].flatMap(([key, { resource }]) => (KINDS.has(resource.kind) ? [key] : []));
  return keys.map((key) => entryOf(key, { origin: origins?.get(key), mode: modes.get(key) }));
}

const keyOf = ({ kind, namespace, name }: Record<'kind' | 'namespace' | 'name', string>): string =>
  `${kind}/${namespace}/${name}`;

function entryOf(
  key: string,
  {
    origin,
    mode,
  }: { readonly origin: ObjectOrigin | undefined; readonly mode?: string | undefined },
): WorkloadPolicyEntry {
  const [kind = '', namespace = '', name = ''] = key.split('/');
  const enforced = conditionOf(origin?.status, 'Enforced');
  const isAccepted = origin?.isGood !== false;
  const since = enforced?.['lastTransitionTime'];
  const state = stateOf(origin, { isAccepted, enforced, mode });
  return {
    kind,
    namespace,
    name,
    ...(mode !== undefined && { action: mode }),
    workloads: [],
    enforced: '',
    isEnforced: state === 'Enforced',
    since: typeof since === 'string' ? since : '',
    state,
    isAccepted,
    ...whyOf(origin, { isAccepted, enforced }),
    problems: [...(origin?.problems ?? []).map(formatProblem), ...vulnerableAt(origin)],
  };
}

interface Told {
  readonly isAccepted: boolean;
  /** The condition of that name. */
  readonly enforced: PlainObject | undefined;
}

function stateOf(
  origin: ObjectOrigin | undefined,
  { isAccepted, enforced, mode }: Told & { readonly mode: string | undefined },
): WorkloadPolicyState {
  if (!isAccepted) return 'Refused';
  if (origin === undefined) return 'Ignored';
  if (mode !== 'enforce') return 'Observing';
  const isOfNow = enforced?.['observedGeneration'] === origin.generation;
  return isOfNow && enforced?.['status'] === 'True' ? 'Enforced' : 'Pending';
}

function whyOf(
  origin: ObjectOrigin | undefined,
  { isAccepted, enforced }: Told,
): { readonly why?: string } {
  if (!isAccepted) {
    return { why: origin?.problems.find(({ severity }) => severity === 'error')?.message ?? '' };
  }
  if (origin === undefined) {
    return { why: 'nobody admits Pods here; look at files with weft admission test' };
  }
  const message = enforced?.['message'];
  return typeof message === 'string' ? { why: message } : {};
}

function conditionOf(status: PlainObject | undefined, type: string): PlainObject | undefined {
  const conditions: unknown = status?.['conditions'];
  if (!Array.isArray(conditions)) return undefined;
  return conditions.filter(isPlainObject).find((one) => one['type'] === type);
}

/** Which Pods have more vulnerabilities than may be. */
function vulnerableAt(origin: ObjectOrigin | undefined): readonly string[] {
  const { status, message } = conditionOf(origin?.status, 'Vulnerable') ?? {};
  return status === 'True' && typeof message === 'string' ? [message] : [];
}
