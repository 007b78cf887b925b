// Says what policies make of many workloads: what was found in each, in words and for programs.
import {
  type CheckContext,
  describeFinding,
  expiredExemptions,
  type Finding,
  findInPod,
  policyName,
} from '@weft/model/admission/check-workload';
import type { RunningPod } from '@weft/controlplane/vulnerabilities/running-pods';
import { findInImages, type UsedImage } from '@weft/model/admission/check-images';
import { findInVulnerabilities } from '@weft/model/admission/check-vulnerabilities';
import type { AdmissionMode, WorkloadPolicy } from '@weft/model/admission/types';
import type { VulnerabilityReport } from '@weft/model/admission/vulnerability-types';
import type { Workload } from '@weft/model/admission/workload';

export interface JudgedWorkload {
  /** `Pod shop/web`. */
  readonly name: string;
  /** `shop.yaml:12`; absent for what runs. */
  readonly place?: string;
  readonly findings: readonly Finding[];
}

export interface Judged {
  readonly workloads: readonly JudgedWorkload[];
  /** Exemptions that have ended, as sentences. */
  readonly ended: readonly string[];
}

export const workloadName = ({ kind, namespace, name }: Workload): string =>
  `${kind} ${namespace}/${name}`;

export interface Asked {
  readonly workload: Workload;
  readonly place?: string;
  readonly namespaceLabels?: ReadonlyMap<string, string>;
  /** Of one that runs. */
  readonly pod?: RunningPod;
}

export interface JudgeOptions {
  readonly context: CheckContext;
  /** Absent: vulnerabilities are not looked at. */
  readonly reportOf?: (asked: Asked, image: UsedImage) => VulnerabilityReport | undefined;
}

export function judgeWorkloads(
  asked: Iterable<Asked>,
  policies: readonly WorkloadPolicy[],
  { context, reportOf }: JudgeOptions,
): Judged {
  const workloads = [...asked].map((one) => ({
    name: workloadName(one.workload),
    ...(one.place !== undefined && { place: one.place }),
    findings: policies.flatMap((policy) => {
      const { workload, namespaceLabels } = one;
      const request = { workload, ...(namespaceLabels && { namespaceLabels }) };
      return [
        ...findInPod(policy, request, context),
        ...findInImages(policy, request, context),
        ...(reportOf === undefined
          ? []
          : findInVulnerabilities(policy, request, {
              context,
              reportOf: (image) => reportOf(one, image),
            })),
      ];
    }),
  }));
  return { workloads, ended: policies.flatMap((policy) => endedOf(policy, context.nowMs)) };
}

const endedOf = (policy: WorkloadPolicy, nowMs: number): readonly string[] =>
  expiredExemptions(policy, nowMs).map(({ index, exemption: { expiresAtMs, reason } }) => {
    const end = new Date(expiresAtMs).toISOString();
    return `${policyName(policy)} spec.exemptions[${index}] ended ${end} (${reason}): remove or renew it`;
  });

const MARKS: Readonly<Record<AdmissionMode, string>> = {
  enforce: 'REFUSED',
  warn: 'warning',
  audit: 'noted  ',
};

export const isRefused = ({ findings }: JudgedWorkload): boolean =>
  findings.some(({ policy }) => policy.mode === 'enforce');

/** One line for each workload that complies, and one for each thing that was found. */
export function judgedLines({ name, place, findings }: JudgedWorkload): readonly string[] {
  const at = place === undefined ? name : `${name} (${place})`;
  if (findings.length === 0) return [`ok       ${at}`];
  return findings.map(
    (finding) =>
      `${MARKS[finding.policy.mode]}  ${at}: ${policyName(finding.policy)}: ${describeFinding(finding)}`,
  );
}

/** For programs. */
export const judgedJson = ({ workloads, ended }: Judged): object => ({
  isGood: !workloads.some(isRefused),
  ended,
  workloads: workloads.map(({ name, place, findings }) => ({
    name,
    ...(place !== undefined && { place }),
    findings: findings.map(({ policy, check, rule, container, field, value, cure }) => ({
      policy: policyName(policy),
      mode: policy.mode,
      check,
      rule,
      ...(container !== undefined && { container }),
      field,
      value,
      cure,
    })),
  })),
});
