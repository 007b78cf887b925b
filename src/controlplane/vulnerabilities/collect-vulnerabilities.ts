// Makes of what a scanner wrote the vulnerabilities that are kept of one image: each once, the worst by name, the rest as counts.
import {
  SEVERITIES,
  type Severity,
  type Vulnerability,
  type VulnerabilityReport,
} from '@weft/model/admission/vulnerability-types';

/** Vulnerabilities that are kept of one image by name; the rest are counted. */
const MAX_KEPT = 2_048;
const MAX_ID = 128;

/** One entry of a report of Trivy, as written; `undefined` where there is no text. */
export interface WrittenVulnerability {
  readonly id: string | undefined;
  readonly severity: string | undefined;
  readonly fixedVersion: string | undefined;
  readonly published: string | undefined;
}

export function collectVulnerabilities(
  entries: Iterable<WrittenVulnerability>,
): Pick<VulnerabilityReport, 'vulnerabilities' | 'more'> {
  const byId = new Map<string, Vulnerability>();
  const more = new Map<Severity, number>();
  const count = (severity: Severity): void =>
    void more.set(severity, (more.get(severity) ?? 0) + 1);
  for (const entry of entries) {
    const id = idOf(entry.id ?? '');
    const found: Vulnerability = {
      id,
      severity: severityOf(entry.severity),
      isFixable: (entry.fixedVersion ?? '') !== '',
      publishedMs: timeOf(entry.published),
    };
    const known = byId.get(id);
    // One that nobody can name is one by itself.
    if (id === '') count(found.severity);
    else byId.set(id, known === undefined ? found : worseOf(known, found));
  }
  const all = [...byId.values()].toSorted((a, b) => rankOf(a) - rankOf(b));
  for (const { severity } of all.slice(MAX_KEPT)) count(severity);
  return { vulnerabilities: all.slice(0, MAX_KEPT), more };
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

/** What is unknown or new to us may be anything; nobody has said that it is bad. */
const severityOf = (text: string | undefined): Severity =>
  SEVERITIES.find((known) => known === text?.toUpperCase()) ?? 'LOW';

function timeOf(text: string | undefined): number | undefined {
  const at = Date.parse(text ?? '');
  return Number.isNaN(at) ? undefined : at;
}

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
