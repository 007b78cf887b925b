// Reads what a scan of an image found, as it is attested: cosign's predicate of vulnerabilities, with a report of Trivy within.
import type { VulnerabilityReport } from '@weft/model/admission/vulnerability-types';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import {
  collectVulnerabilities,
  type WrittenVulnerability,
} from '../vulnerabilities/collect-vulnerabilities.ts';

export const VULNERABILITY_PREDICATE = 'https://cosign.sigstore.dev/attestation/vuln/v1';

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
  return { origin, madeAtMs, ...collectVulnerabilities(entries.map(writtenIn)) };
}

const writtenIn = (entry: PlainObject): WrittenVulnerability => ({
  id: textIn(entry, 'VulnerabilityID'),
  severity: textIn(entry, 'Severity'),
  fixedVersion: textIn(entry, 'FixedVersion'),
  published: textIn(entry, 'PublishedDate'),
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
