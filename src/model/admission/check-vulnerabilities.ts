// Finds whose images have more vulnerabilities than a policy lets be there, by the reports that are known.
import { imagesOf, isResolvedLater, type UsedImage } from './check-images.ts';
import { type CheckContext, type Finding, holds, type WorkloadRequest } from './check-workload.ts';
import type { WorkloadPolicy } from './types.ts';
import {
  SEVERITIES,
  type Severity,
  type VulnerabilitiesSection,
  type VulnerabilityReport,
} from './vulnerability-types.ts';

/** Of one severity there are more than may be. */
export interface Excess {
  readonly severity: Severity;
  readonly count: number;
  readonly limit: number;
  /** The first of them. */
  readonly ids: readonly string[];
}

/** Vulnerabilities that one message names. */
const MAX_NAMED = 5;

/** What counts, and is more than may be; worst first. */
export function excessOf(
  section: VulnerabilitiesSection,
  { vulnerabilities, more }: VulnerabilityReport,
  nowMs: number,
): readonly Excess[] {
  const { limits, fixableOnly, olderThanMs, ignore } = section;
  const ignored = new Set(ignore.filter((one) => nowMs < one.expiresAtMs).map(({ id }) => id));
  const counted = vulnerabilities.filter(
    ({ id, isFixable, publishedMs }) =>
      !ignored.has(id) &&
      (isFixable || !fixableOnly) &&
      (publishedMs === undefined || nowMs - publishedMs >= olderThanMs),
  );
  const bySeverity = Map.groupBy(counted, ({ severity }) => severity);
  return SEVERITIES.flatMap((severity) => {
    const limit = limits.get(severity);
    const found = bySeverity.get(severity) ?? [];
    const count = found.length + (more.get(severity) ?? 0);
    if (limit === undefined || count <= limit) return [];
    return [{ severity, count, limit, ids: found.slice(0, MAX_NAMED).map(({ id }) => id) }];
  });
}

/** What is known of an image; a report that finds nothing wrong and is too old says nothing. */
export type Verdict =
  | { readonly kind: 'good' }
  | { readonly kind: 'unknown'; readonly why: string }
  | { readonly kind: 'crossed'; readonly excess: readonly Excess[] };

export function judgeReport(
  section: VulnerabilitiesSection,
  report: VulnerabilityReport | undefined,
  nowMs: number,
): Verdict {
  if (report === undefined) return { kind: 'unknown', why: 'no report of it is known' };
  const excess = excessOf(section, report, nowMs);
  // What was wrong a month ago is not better for being old.
  if (excess.length > 0) return { kind: 'crossed', excess };
  const { maxReportAgeMs } = section;
  const isOld = maxReportAgeMs !== undefined && nowMs - report.madeAtMs > maxReportAgeMs;
  return isOld
    ? { kind: 'unknown', why: `the report of it is of ${new Date(report.madeAtMs).toISOString()}` }
    : { kind: 'good' };
}

/** Who knows of images. */
export type ReportOf = (
  image: UsedImage,
  section: VulnerabilitiesSection,
) => VulnerabilityReport | undefined;

/** What findings are made of. */
export interface KnownOfImages {
  readonly context: CheckContext;
  readonly reportOf: ReportOf;
  /** Default: each report anew. */
  readonly judge?: typeof judgeReport;
  /** Default: the names of images are taken apart anew. */
  readonly imagesIn?: typeof imagesOf;
}

/** One image of a workload, and what is known of it. */
export interface JudgedImage {
  readonly image: UsedImage;
  readonly report: VulnerabilityReport | undefined;
  readonly verdict: Verdict;
}

/** Every image of a workload for which the policy holds; none where it is left out. */
export function judgeImages(
  policy: WorkloadPolicy,
  request: WorkloadRequest,
  { context, reportOf, judge = judgeReport, imagesIn = imagesOf }: KnownOfImages,
): readonly JudgedImage[] {
  const { vulnerabilities: section } = policy;
  const held = holds(policy, request, context);
  if (section === undefined || held.kind === 'not' || held.isLeftOut('vulnerabilities')) return [];
  return imagesIn(request.workload.spec).map((image) => {
    const report = reportOf(image, section);
    return { image, report, verdict: judge(section, report, context.nowMs) };
  });
}

const CURE =
  'use an image in which they are fixed, or name them in spec.vulnerabilities.ignore with a reason and an end';
const CURE_UNKNOWN = 'name the image by its digest, and have it scanned before it is used';

/** What a policy finds wrong with a workload by reports of its images. */
export const findInVulnerabilities = (
  policy: WorkloadPolicy,
  request: WorkloadRequest,
  known: KnownOfImages,
): readonly Finding[] => {
  const isLater = isResolvedLater(policy, request, known.context);
  return judgeImages(policy, request, known).flatMap((judged) => {
    const isUnknown = !isLater || judged.image.reference?.digest !== undefined;
    const unknown = isUnknown ? unknownFinding(policy, judged) : undefined;
    return crossedFinding(policy, judged) ?? unknown ?? [];
  });
};

export function crossedFinding(
  policy: WorkloadPolicy,
  { image, report, verdict }: JudgedImage,
): Finding | undefined {
  if (verdict.kind !== 'crossed') return undefined;
  const what = verdict.excess.map(describeExcess).join('; ');
  return findingOf(policy, image, {
    rule: 'threshold',
    says: `has ${what}; by ${report?.origin}`,
    cure: CURE,
  });
}

function unknownFinding(
  policy: WorkloadPolicy,
  { image, verdict }: JudgedImage,
): Finding | undefined {
  if (verdict.kind !== 'unknown' || policy.vulnerabilities?.whenUnknown !== 'refuse') {
    return undefined;
  }
  const isNamed = image.reference?.digest !== undefined;
  const says = isNamed ? verdict.why : `${verdict.why}, for it is not named by its digest`;
  return findingOf(policy, image, {
    rule: 'whenUnknown',
    says: `is not known to be good: ${says}`,
    cure: CURE_UNKNOWN,
  });
}

const findingOf = (
  policy: WorkloadPolicy,
  { where, container, field, text }: UsedImage,
  { rule, says, cure }: { readonly rule: string; readonly says: string; readonly cure: string },
): Finding => ({
  policy,
  check: 'vulnerabilities',
  rule: `spec.vulnerabilities.${rule}`,
  ...(container !== undefined && { container }),
  field,
  value: text,
  text: `${where}: ${field} ${JSON.stringify(text)} ${says}`,
  cure,
});

/** `3 CRITICAL vulnerabilities where 0 may be: CVE-2026-1, CVE-2026-2, …`. */
export function describeExcess({ severity, count, limit, ids }: Excess): string {
  const noun = count === 1 ? 'vulnerability' : 'vulnerabilities';
  const named = ids.length === 0 ? '' : `: ${ids.join(', ')}${count > ids.length ? ', …' : ''}`;
  return `${count} ${severity} ${noun} where ${limit} may be${named}`;
}
