// Reads what a scan of an image found, as it is attested: cosign's predicate of vulnerabilities, with a report of Trivy within.
import {
  SEVERITIES,
  type Severity,
  type Vulnerability,
  type VulnerabilityReport,
} from '@weft/model/admission/vulnerability-types';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';

export const VULNERABILITY_PREDICATE = 'https://cosign.sigstore.dev/attestation/vuln/v1';
/** Vulnerabilities that are kept of one image by name; the rest are counted. */
const MAX_KEPT = 2_048;
const MAX_ID = 128;

/** @param origin for people. @returns `undefined` for what is no report that can be read: it says nothing, good or bad. */
export function readAttestation(
  predicate: unknown,
  origin: string,
): VulnerabilityReport | undefined {
  const scanner = objectIn(predicate, 'scanner');
  const results = objectIn(scanner, 'result')?.['Results'];
  const finished = textIn(objectIn(predicate, 'metadata'), 'scanFinishedOn');
  const madeAtMs = Date.parse(finished ?? '');
  // Of an image without anything to scan Trivy writes no results; what has no time could be as old as can be.
  const isReport = objectIn(scanner, 'result') !== undefined && !Number.isNaN(madeAtMs);
  if (!isReport || (results !== undefined && !Array.isArray(results))) return undefined;
  const entries = (results ?? []).flatMap((result: unknown) => listIn(result, 'Vulnerabilities'));
  return { origin, madeAtMs, ...collect(entries) };
}

function collect(
  entries: readonly PlainObject[],
): Pick<VulnerabilityReport, 'vulnerabilities' | 'more'> {
  const byId = new Map<string, Vulnerability>();
  const more = new Map<Severity, number>();
  const count = (severity: Severity): void =>
    void more.set(severity, (more.get(severity) ?? 0) + 1);
  for (const entry of entries) {
    const id = (textIn(entry, 'VulnerabilityID') ?? '').slice(0, MAX_ID);
    const found: Vulnerability = {
      id,
      severity: severityOf(textIn(entry, 'Severity')),
      isFixable: (textIn(entry, 'FixedVersion') ?? '') !== '',
      publishedMs: timeOf(textIn(entry, 'PublishedDate')),
    };
    const known = byId.get(id);
    // One that nobody can name is one by itself.
    if (id === '') count(found.severity);
    else byId.set(id, known === undefined ? found : worse(known, found));
  }
  const all = [...byId.values()].toSorted((a, b) => rankOf(a) - rankOf(b));
  for (const { severity } of all.slice(MAX_KEPT)) count(severity);
  return { vulnerabilities: all.slice(0, MAX_KEPT), more };
}

const rankOf = ({ severity }: Vulnerability): number => SEVERITIES.indexOf(severity);

/** What is unknown or new to us may be anything; nobody has said that it is bad. */
const severityOf = (text: string | undefined): Severity =>
  SEVERITIES.find((known) => known === text?.toUpperCase()) ?? 'LOW';

function timeOf(text: string | undefined): number | undefined {
  const at = Date.parse(text ?? '');
  return Number.isNaN(at) ? undefined : at;
}

/** The same in two packages: it counts when it does in either. */
const worse = (a: Vulnerability, b: Vulnerability): Vulnerability => ({
  id: a.id,
  severity: rankOf(a) <= rankOf(b) ? a.severity : b.severity,
  isFixable: a.isFixable || b.isFixable,
  publishedMs:
    a.publishedMs === undefined || b.publishedMs === undefined
      ? undefined
      : Math.min(a.publishedMs, b.publishedMs),
});

const objectIn = (of: unknown, key: string): PlainObject | undefined => {
  const value = isPlainObject(of) ? of[key] : undefined;
  return isPlainObject(value) ? value : undefined;
};

const textIn = (of: PlainObject | undefined, key: string): string | undefined => {
  const value = of?.[key];
  return typeof value === 'string' ? value : undefined;
};

const listIn = (of: unknown, key: string): readonly PlainObject[] => {
  const list = isPlainObject(of) ? of[key] : undefined;
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};
