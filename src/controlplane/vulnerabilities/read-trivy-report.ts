// Reads a VulnerabilityReport of Trivy Operator: which image it is about, who runs it, and what counts of what was found.
import { isSha256, parseImageReference } from '@weft/model/admission/image-reference';
import {
  SEVERITIES,
  type Severity,
  type Vulnerability,
  type VulnerabilityReport,
} from '@weft/model/admission/vulnerability-types';
import { listIn } from '@weft/model/admission/workload';
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';

/** A report, and what it is found by. */
export interface TrivyReport {
  /** `NAMESPACE/NAME`. */
  readonly key: string;
  readonly digest: string | undefined;
  /** `REGISTRY/REPOSITORY`, as names of images are completed. */
  readonly repository: string | undefined;
  readonly tag: string | undefined;
  /** `NAMESPACE/ReplicaSet/NAME/CONTAINER`. */
  readonly runBy: string | undefined;
  readonly report: VulnerabilityReport;
}

/** Vulnerabilities that are kept of one image by name; the rest are counted. */
const MAX_KEPT = 2_048;
const MAX_ID = 128;
const LABEL = 'trivy-operator.';

/** Objects that are alike are kept once: images share most of what is wrong with them. */
export type Share = (vulnerability: Vulnerability) => Vulnerability;

export const keyOfReport = (object: KubeObject): string =>
  `${textAt(object, 'metadata', 'namespace') ?? ''}/${textAt(object, 'metadata', 'name') ?? ''}`;

/** Of an object that lacks a part the rest is read: what it found must not be lost for want of a label. */
export function readTrivyReport(object: KubeObject, share: Share): TrivyReport {
  const key = keyOfReport(object);
  const made =
    textAt(object, 'report', 'updateTimestamp') ??
    textAt(object, 'metadata', 'creationTimestamp') ??
    '';
  const madeAtMs = Date.parse(made);
  const digest = textAt(object, 'report', 'artifact', 'digest')?.toLowerCase();
  const named = [
    textAt(object, 'report', 'registry', 'server'),
    textAt(object, 'report', 'artifact', 'repository'),
  ].join('/');
  const image = parseImageReference(named);
  return {
    key,
    digest: digest !== undefined && isSha256(digest) ? digest : undefined,
    repository: image && `${image.registry}/${image.repository}`,
    tag: textAt(object, 'report', 'artifact', 'tag'),
    runBy: runByOf(object),
    report: {
      origin: `VulnerabilityReport ${key}`,
      // Of no time that can be read: as old as can be.
      madeAtMs: Number.isNaN(madeAtMs) ? 0 : madeAtMs,
      ...vulnerabilitiesOf(object, share),
    },
  };
}

function runByOf(object: KubeObject): string | undefined {
  const labels = objectAt(object, 'metadata', 'labels');
  const owner = listIn(objectAt(object, 'metadata') ?? {}, 'ownerReferences')[0];
  // A name that is too long for a label is not written there.
  const kind = textAt(labels, `${LABEL}resource.kind`) ?? textAt(owner, 'kind');
  const name = textAt(labels, `${LABEL}resource.name`) ?? textAt(owner, 'name');
  const container = textAt(labels, `${LABEL}container.name`);
  const namespace =
    textAt(labels, `${LABEL}resource.namespace`) ?? textAt(object, 'metadata', 'namespace');
  // Who may write reports in one namespace has no say about another.
  if (namespace !== textAt(object, 'metadata', 'namespace')) return undefined;
  if (kind === undefined || name === undefined || container === undefined) return undefined;
  return `${namespace}/${kind}/${name}/${container}`;
}

/** What is unknown or new to us may be anything; nobody has said that it is bad. */
const severityOf = (text: string | undefined): Severity =>
  SEVERITIES.find((known) => known === text?.toUpperCase()) ?? 'LOW';

function vulnerabilitiesOf(
  object: KubeObject,
  share: Share,
): Pick<VulnerabilityReport, 'vulnerabilities' | 'more'> {
  const byId = new Map<string, Vulnerability>();
  const more = new Map<Severity, number>();
  for (const entry of listIn(objectAt(object, 'report') ?? {}, 'vulnerabilities')) {
    const id = idOf(textAt(entry, 'vulnerabilityID') ?? '');
    const severity = severityOf(textAt(entry, 'severity'));
    const published = Date.parse(textAt(entry, 'publishedDate') ?? '');
    const found: Vulnerability = {
      id,
      severity,
      isFixable: (textAt(entry, 'fixedVersion') ?? '') !== '',
      publishedMs: Number.isNaN(published) ? undefined : published,
    };
    const known = byId.get(id);
    // One that nobody can name is one by itself.
    if (id === '') more.set(severity, (more.get(severity) ?? 0) + 1);
    else byId.set(id, known === undefined ? found : worseOf(known, found));
  }
  const all = [...byId.values()].toSorted((a, b) => rankOf(a) - rankOf(b));
  for (const { severity } of all.slice(MAX_KEPT)) more.set(severity, (more.get(severity) ?? 0) + 1);
  return { vulnerabilities: all.slice(0, MAX_KEPT).map(share), more };
}

/** It is shown to people and in terminals. @returns an empty text for what is none. */
const idOf = (text: string): string =>
  text.length <= MAX_ID && Array.from(text).every(isOfIds) ? text : '';

const isOfIds = (char: string): boolean =>
  (char >= 'a' && char <= 'z') ||
  (char >= 'A' && char <= 'Z') ||
  (char >= '0' && char <= '9') ||
  '-_.:/'.includes(char);

const rankOf = ({ severity }: Vulnerability): number => SEVERITIES.indexOf(severity);

/** The same in two packages: it counts when it does in either. */
const worseOf = (a: Vulnerability, b: Vulnerability): Vulnerability => ({
  id: a.id,
  severity: rankOf(a) <= rankOf(b) ? a.severity : b.severity,
  isFixable: a.isFixable || b.isFixable,
  publishedMs:
    a.publishedMs === undefined || b.publishedMs === undefined
      ? undefined
      : Math.min(a.publishedMs, b.publishedMs),
});
