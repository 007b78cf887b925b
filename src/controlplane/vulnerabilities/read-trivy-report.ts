// Reads a VulnerabilityReport of Trivy Operator: which image it is about, who runs it, and what counts of what was found.
import { isSha256, parseImageReference } from '@weft/model/admission/image-reference';
import type { Vulnerability, VulnerabilityReport } from '@weft/model/admission/vulnerability-types';
import { listIn } from '@weft/model/admission/workload';
import type { PlainObject } from '@weft/model/policy/reader';
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { collectVulnerabilities, type WrittenVulnerability } from './collect-vulnerabilities.ts';

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

function vulnerabilitiesOf(
  object: KubeObject,
  share: Share,
): Pick<VulnerabilityReport, 'vulnerabilities' | 'more'> {
  const entries = listIn(objectAt(object, 'report') ?? {}, 'vulnerabilities');
  const { vulnerabilities, more } = collectVulnerabilities(entries.map(writtenIn));
  return { vulnerabilities: vulnerabilities.map(share), more };
}

const writtenIn = (entry: PlainObject): WrittenVulnerability => ({
  id: textAt(entry, 'vulnerabilityID'),
  severity: textAt(entry, 'severity'),
  fixedVersion: textAt(entry, 'fixedVersion'),
  published: textAt(entry, 'publishedDate'),
});
