// Decides what policies find in one workload: for whom each holds, whom it leaves out, and what is wrong with it.
import { isJsonEqual } from '../json-equal.ts';
import type { PlainObject } from '../policy/reader.ts';
import { type Found, foundText, type PodView } from './finders.ts';
import { type PodCheck, podChecks } from './pod-checks.ts';
import type { Exemption, WorkloadPolicy } from './types.ts';

import type { Workload } from './workload.ts';

/** What is asked: of whom, before and after. */
export interface WorkloadRequest {
  readonly workload: Workload;
  /** The version before, when it is an update. */
  readonly old?: Workload;
  /** Absent: nobody knows, and no exemption for users or groups holds. */
  readonly user?: { readonly name: string; readonly groups: readonly string[] };
  /** Absent: not known, and whatever asks for labels of namespaces is taken to have found them. */
  readonly namespaceLabels?: ReadonlyMap<string, string>;
}

export interface CheckContext {
  readonly nowMs: number;
  /** The namespace of Weft itself: policies of the cluster hold there only when they name it. */
  readonly rootNamespace: string;
  /** Of the step that the injector puts into Pods; absent: none is taken for it. */
  readonly captureImage?: string;
  /** Of the sidecar that it puts into Pods, likewise. */
  readonly sidecarImage?: string;
  /** Of the sidecar with an Envoy, likewise. */
  readonly envoyImage?: string;
  /** Nothing has changed the workload yet that changes Pods when they are made: tags become digests still. */
  readonly isBeforeMutation?: boolean;
}

/** One thing that is wrong, as people are told. */
export interface Finding {
  readonly policy: WorkloadPolicy;
  /** The name by which exemptions mean it. */
  readonly check: string;
  readonly rule: string;
  readonly container?: string;
  readonly field: string;
  readonly value: string;
  /** `container "web": securityContext.privileged is true`. */
  readonly text: string;
  readonly cure: string;
}

/** Left alone by policies of the cluster that do not name them: what runs there keeps the cluster up. */
export const SYSTEM_NAMESPACES: readonly string[] = [
  'kube-system',
  'kube-public',
  'kube-node-lease',
];

export const policyName = ({ kind, namespace, name }: WorkloadPolicy): string =>
  kind === 'ClusterWorkloadPolicy' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;

/** The namespaces in which it holds, but for labels; absent: all but those that are left out. */
export function namespacesOf(
  policy: WorkloadPolicy,
  rootNamespace: string,
): { readonly only: readonly string[] | undefined; readonly not: readonly string[] } {
  const { kind, namespace, match } = policy;
  if (kind === 'WorkloadPolicy') return { only: [namespace], not: [] };
  const { namespaces: only, notNamespaces } = match;
  const left = only === undefined ? [...SYSTEM_NAMESPACES, rootNamespace] : [];
  return { only, not: [...new Set([...left, ...notNamespaces])] };
}

const has = (labels: PlainObject, wanted: ReadonlyMap<string, string>): boolean =>
  [...wanted].every(([key, value]) => labels[key] === value);

function isInNamespace(
  policy: WorkloadPolicy,
  { workload, namespaceLabels }: WorkloadRequest,
  { rootNamespace }: CheckContext,
): boolean {
  const { only, not } = namespacesOf(policy, rootNamespace);
  const { namespace } = workload;
  if (only?.includes(namespace) === false || not.includes(namespace)) return false;
  if (namespaceLabels === undefined) return true;
  return [...policy.match.namespaceLabels].every(
    ([key, value]) => namespaceLabels.get(key) === value,
  );
}

function isExempt(
  exemption: Exemption,
  workload: Workload,
  { user, nowMs }: { readonly user: WorkloadRequest['user']; readonly nowMs: number },
): boolean {
  const { namespaces, labels, serviceAccounts, users, groups, expiresAtMs } = exemption;
  if (nowMs >= expiresAtMs) return false;
  if (namespaces.length > 0 && !namespaces.includes(workload.namespace)) return false;
  if (!has(workload.labels, labels)) return false;
  const { serviceAccountName } = workload.spec;
  const account =
    typeof serviceAccountName === 'string' && serviceAccountName !== ''
      ? serviceAccountName
      : 'default';
  if (serviceAccounts.length > 0 && !serviceAccounts.includes(account)) return false;
  if (users.length > 0 && (user === undefined || !users.includes(user.name))) return false;
  return groups.length === 0 || user?.groups.some((group) => groups.includes(group)) === true;
}

/** How far a policy holds for a workload. */
export type Held =
  | { readonly kind: 'not' }
  /** `exempt`: checks that are left out. */
  | { readonly kind: 'held'; isLeftOut(check: string): boolean };

/**
 * An update that changes nothing of the Pod is not looked at where the policy held for it before as well: what runs
 * must be able to be labelled, scaled and ended.
 */
export function holds(
  policy: WorkloadPolicy,
  request: WorkloadRequest,
  context: CheckContext,
): Held {
  const { workload, old, user } = request;
  const { match } = policy;
  if (!match.kinds.includes(workload.kind) || !isInNamespace(policy, request, context)) {
    return { kind: 'not' };
  }
  if (!has(workload.labels, match.labels)) return { kind: 'not' };
  const { nowMs } = context;
  const leaving = (one: Workload): readonly Exemption[] =>
    policy.exemptions.filter((exemption) => isExempt(exemption, one, { user, nowMs }));
  const now = leaving(workload);
  if (old !== undefined && isSamePod(workload, old)) {
    const before = leaving(old);
    const wasHeld = has(old.labels, match.labels) && before.every((one) => now.includes(one));
    if (wasHeld || workload.isDeleting) return { kind: 'not' };
  }
  return {
    kind: 'held',
    isLeftOut: (check) => now.some(({ checks }) => checks.length === 0 || checks.includes(check)),
  };
}

const isSamePod = (workload: Workload, old: Workload): boolean =>
  isJsonEqual(workload.spec, old.spec) && isJsonEqual(workload.annotations, old.annotations);

/** What is wrong with a workload by the checks of its Pod's fields. */
export function findInPod(
  policy: WorkloadPolicy,
  request: WorkloadRequest,
  context: CheckContext,
): readonly Finding[] {
  const held = holds(policy, request, context);
  if (held.kind === 'not') return [];
  if (policy.broken !== undefined) return [brokenFinding(policy, policy.broken)];
  const { spec, annotations } = request.workload;
  const captureImage = policy.pod?.allowWeftCapture === true ? context.captureImage : undefined;
  const view: PodView = { spec, annotations, captureImage };
  return podChecksOf(policy).flatMap((check) =>
    held.isLeftOut(check.id)
      ? []
      : check.finder.find(view).map((found) => findingOf(policy, check, found)),
  );
}

/** Kept for as long as the policy is: they are made for each request otherwise. */
const known = new WeakMap<WorkloadPolicy, readonly PodCheck[]>();

export function podChecksOf(policy: WorkloadPolicy): readonly PodCheck[] {
  const found = known.get(policy);
  if (found !== undefined) return found;
  const checks = podChecks(policy.pod);
  known.set(policy, checks);
  return checks;
}

function findingOf(policy: WorkloadPolicy, check: PodCheck, found: Found): Finding {
  const { container, field, value } = found;
  return {
    policy,
    check: check.id,
    rule: check.rule,
    ...(container !== undefined && { container }),
    field,
    value,
    text: foundText(found),
    cure: check.cure,
  };
}

const brokenFinding = (policy: WorkloadPolicy, reason: string): Finding => ({
  policy,
  check: 'policy',
  rule: 'spec',
  field: 'spec',
  value: 'unreadable',
  text: reason,
  cure: `correct or delete ${policyName(policy)}`,
});

/** `container "web": securityContext.privileged is true (privileged, baseline …) — remove …`. */
export const describeFinding = ({ text, check, rule, cure }: Finding): string =>
  `${text} (${check}, ${rule}) — ${cure}`;

/** Exemptions that have ended, and no longer leave anybody out. */
export const expiredExemptions = (
  { exemptions }: WorkloadPolicy,
  nowMs: number,
): readonly { readonly index: number; readonly exemption: Exemption }[] =>
  exemptions.flatMap((exemption, index) =>
    nowMs >= exemption.expiresAtMs ? [{ index, exemption }] : [],
  );
