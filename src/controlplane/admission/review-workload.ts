// Decides reviews of Pods and of what makes them: refused, warned of or noted, as the WorkloadPolicies that hold for them say.
import {
  type CheckContext,
  describeFinding,
  type Finding,
  findInPod,
  holds,
  policyName,
  type WorkloadRequest,
} from '@weft/model/admission/check-workload';
import { findInImages } from '@weft/model/admission/check-images';
import type { AdmissionMode, WorkloadPolicy } from '@weft/model/admission/types';
import { readWorkload, type Workload } from '@weft/model/admission/workload';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { firstOf } from '@weft/model/problem';
import type { AdmissionDecision } from './admission-review.ts';

/** One way to look at a workload for a policy that holds for it. What it throws refuses the workload. */
export type WorkloadLook = (
  policy: WorkloadPolicy,
  request: WorkloadRequest,
  context: CheckContext,
) => readonly Finding[] | Promise<readonly Finding[]>;

export interface WorkloadReviewOptions {
  policies(): readonly WorkloadPolicy[];
  namespaceLabels(namespace: string): ReadonlyMap<string, string> | undefined;
  context(): CheckContext;
  /** Default: the checks of a Pod's fields and of its images' names. */
  readonly looks?: readonly WorkloadLook[];
  /** Told of everything that was found, for counting. */
  readonly onFinding?: (mode: AdmissionMode, check: string) => void;
}

/** Findings that one message names; who has more cures these first. */
const MAX_NAMED = 10;
/** An audit annotation is for a line in a log. */
const MAX_AUDIT = 4_096;
/** Parts of a Pod that are changed by themselves. */
const POD_PARTS: ReadonlySet<string> = new Set(['ephemeralcontainers', 'resize']);

const left = (reason: string): AdmissionDecision => ({
  allowed: true,
  warnings: [],
  auditAnnotations: { workload: reason },
});

/** @param request the `request` of an AdmissionReview v1 */
export async function reviewWorkload(
  request: PlainObject,
  options: WorkloadReviewOptions,
): Promise<AdmissionDecision> {
  const { subResource, operation } = request;
  const part = textOf(subResource);
  if (part !== '' && !POD_PARTS.has(part)) return left('subresource');
  if (operation !== 'CREATE' && operation !== 'UPDATE') return left('nothing is made or changed');
  const asked = workloadRequestOf(request, options);
  if (asked === undefined) return left('makes no Pods');
  const context = options.context();
  const found: Finding[] = [];
  for (const policy of options.policies()) {
    if (holds(policy, asked, context).kind === 'not') continue;
    for (const look of options.looks ?? [findInPod, findInImages]) {
      found.push(...(await look(policy, asked, context)));
    }
  }
  for (const { policy, check } of found) options.onFinding?.(policy.mode, check);
  return decide(asked.workload, found);
}

/** @returns `undefined` when it is about nothing that makes Pods. */
export function workloadRequestOf(
  request: PlainObject,
  options: Pick<WorkloadReviewOptions, 'namespaceLabels'>,
): WorkloadRequest | undefined {
  const namespace = textOf(request['namespace']);
  const workload = readIn(request['object'], namespace);
  if (workload === undefined) return undefined;
  const old = readIn(request['oldObject'], namespace);
  const labels = options.namespaceLabels(workload.namespace);
  const info = isPlainObject(request['userInfo']) ? request['userInfo'] : {};
  const { groups } = info;
  return {
    workload,
    ...(old !== undefined && { old }),
    user: {
      name: textOf(info['username']),
      groups: Array.isArray(groups) ? groups.filter((one) => typeof one === 'string') : [],
    },
    ...(labels !== undefined && { namespaceLabels: labels }),
  };
}

/** A Pod that is being made need not name the namespace that it is made in. */
function readIn(object: unknown, namespace: string): Workload | undefined {
  if (!isPlainObject(object)) return undefined;
  const workload = readWorkload(object);
  return workload && (namespace === '' ? workload : { ...workload, namespace });
}

function decide(workload: Workload, found: readonly Finding[]): AdmissionDecision {
  const of = (mode: AdmissionMode): readonly Finding[] =>
    found.filter(({ policy }) => policy.mode === mode);
  const [refused, warned, noted] = [of('enforce'), of('warn'), of('audit')];
  const auditAnnotations = {
    ...(refused.length > 0 && { refused: audited(refused) }),
    ...(warned.length > 0 && { warned: audited(warned) }),
    ...(noted.length > 0 && { noted: audited(noted) }),
    ...(found.length === 0 && { workload: 'complies' }),
  };
  const warnings = warned.map(
    (finding) => `${policyName(finding.policy)}: ${describeFinding(finding)}`,
  );
  if (refused.length === 0) return { allowed: true, warnings, auditAnnotations };
  return {
    allowed: false,
    code: 422,
    message: refusalText(workload, refused),
    warnings,
    auditAnnotations,
  };
}

function refusalText({ kind, namespace, name }: Workload, refused: readonly Finding[]): string {
  return [...Map.groupBy(refused, ({ policy }) => policy)]
    .map(([policy, own]) => {
      const texts = firstOf(own.map(describeFinding), MAX_NAMED);
      return `${policyName(policy)} refuses ${kind} ${namespace}/${name}: ${texts}`;
    })
    .join('. ');
}

const audited = (found: readonly Finding[]): string =>
  found
    .map((finding) => `${policyName(finding.policy)}: ${finding.text} (${finding.check})`)
    .join('; ')
    .slice(0, MAX_AUDIT);

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
