// Decides of the Pods that run which have more vulnerabilities than a policy lets be there, and which lose their identity for it. Pure.
import {
  crossedFinding,
  judgeImages,
  judgeReport,
  type KnownOfImages,
} from '@weft/model/admission/check-vulnerabilities';
import { type CheckContext, type Finding, policyName } from '@weft/model/admission/check-workload';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import type {
  VulnerabilitiesSection,
  VulnerabilityReport,
} from '@weft/model/admission/vulnerability-types';
import { imagesOf, type UsedImage } from '@weft/model/admission/check-images';
import type { PlainObject } from '@weft/model/policy/reader';
import type { RunningPod } from './running-pods.ts';

/** A Pod that a policy finds something wrong with. */
export interface CrossedPod {
  readonly pod: RunningPod;
  readonly findings: readonly Finding[];
  readonly isRevoked: boolean;
}

/** What a policy has come to. */
export interface Standing {
  /** Pods that it holds for and does not leave out. */
  readonly looked: number;
  /** Pods with an image of which nothing is known. */
  readonly unknown: number;
  /** In the order of their names. */
  readonly crossed: readonly CrossedPod[];
}

/** A Pod without an identity. */
export interface RevokedPod {
  readonly pod: RunningPod;
  /** `WorkloadPolicy shop/scanned: container "web": …`. */
  readonly reason: string;
}

export interface Judged {
  readonly standings: ReadonlyMap<WorkloadPolicy, Standing>;
  /** By `NAMESPACE/NAME`. */
  readonly revoked: ReadonlyMap<string, RevokedPod>;
}

export const NOTHING_JUDGED: Judged = { standings: new Map(), revoked: new Map() };

export interface JudgePodsInput {
  readonly pods: Iterable<RunningPod>;
  readonly policies: readonly WorkloadPolicy[];
  readonly context: CheckContext;
  readonly namespaceLabels: (namespace: string) => ReadonlyMap<string, string> | undefined;
  readonly reportOf: (
    pod: RunningPod,
    image: UsedImage,
    section: VulnerabilitiesSection,
  ) => VulnerabilityReport | undefined;
  readonly judge?: KnownOfImages['judge'];
  /** Called now and then: who serves others meanwhile waits here. */
  readonly breathe?: () => Promise<void> | undefined;
}

/** For as long as a Pod is kept: taking names of images apart is most of the work. */
const known = new WeakMap<PlainObject, readonly UsedImage[]>();

function imagesIn(spec: PlainObject): readonly UsedImage[] {
  const found = known.get(spec) ?? imagesOf(spec);
  known.set(spec, found);
  return found;
}

export const revokes = ({ mode, vulnerabilities }: WorkloadPolicy): boolean =>
  mode === 'enforce' && vulnerabilities?.revokeIdentity === true;

export async function judgePods(input: JudgePodsInput): Promise<Judged> {
  const { policies, context, namespaceLabels, reportOf, judge, breathe } = input;
  const asking = policies.filter(({ vulnerabilities }) => vulnerabilities !== undefined);
  const pods = [...input.pods].toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const standings = new Map<WorkloadPolicy, Standing>();
  const revoked = new Map<string, RevokedPod>();
  for (const policy of asking) {
    const crossed: CrossedPod[] = [];
    let [looked, unknown] = [0, 0];
    for (const pod of pods) {
      const pause = breathe?.();
      if (pause !== undefined) await pause;
      const labels = namespaceLabels(pod.workload.namespace);
      const request = { workload: pod.workload, ...(labels && { namespaceLabels: labels }) };
      const images = judgeImages(policy, request, {
        context,
        reportOf: (image, section) => reportOf(pod, image, section),
        ...(judge && { judge }),
        imagesIn,
      });
      if (images.length === 0) continue;
      looked++;
      if (images.some(({ verdict }) => verdict.kind === 'unknown')) unknown++;
      const findings = images.flatMap((image) => crossedFinding(policy, image) ?? []);
      const [first] = findings;
      if (first === undefined) continue;
      const isRevoked = revokes(policy);
      crossed.push({ pod, findings, isRevoked });
      const reason = `${policyName(policy)}: ${first.text}`;
      if (isRevoked && !revoked.has(pod.key)) revoked.set(pod.key, { pod, reason });
    }
    standings.set(policy, { looked, unknown, crossed });
  }
  return { standings, revoked };
}

/** Pods share reports: a verdict holds for a while, by the second in which a vulnerability comes of age. */
export function createJudge(
  keptMs: number,
): (
  section: VulnerabilitiesSection,
  report: VulnerabilityReport | undefined,
  nowMs: number,
) => ReturnType<typeof judgeReport> {
  type Kept = { readonly atMs: number; readonly verdict: ReturnType<typeof judgeReport> };
  const bySection = new WeakMap<VulnerabilitiesSection, WeakMap<VulnerabilityReport, Kept>>();
  return (section, report, nowMs) => {
    if (report === undefined) return judgeReport(section, report, nowMs);
    let byReport = bySection.get(section);
    if (byReport === undefined) bySection.set(section, (byReport = new WeakMap()));
    const kept = byReport.get(report);
    if (kept !== undefined && Math.abs(nowMs - kept.atMs) < keptMs) return kept.verdict;
    const verdict = judgeReport(section, report, nowMs);
    byReport.set(report, { atMs: nowMs, verdict });
    return verdict;
  };
}
