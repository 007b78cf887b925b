// Reads what a WorkloadPolicy asks of vulnerabilities in images: spec.vulnerabilities.
import { type Reader, shown } from '../policy/reader.ts';
import { readCount, parseDuration } from '../traffic/values.ts';
import type { SignatureRule } from './image-types.ts';
import { parseSignatureRule } from './parse-images.ts';
import { parseExpiry, parseReason } from './parse-match.ts';
import {
  type IgnoredVulnerability,
  SEVERITIES,
  type Severity,
  type VulnerabilitiesSection,
} from './vulnerability-types.ts';

const FIELD = 'spec.vulnerabilities';
const KEYS = [
  'maxSeverity',
  'threshold',
  'fixableOnly',
  'olderThan',
  'ignore',
  'maxReportAge',
  'attestations',
  'whenUnknown',
  'onCrossing',
];
const MAX_IGNORED = 1_024;
const MAX_ATTESTATIONS = 32;
const MAX_ID = 128;
const MAX_COUNT = 1_000_000;
const DAY_MS = 86_400_000;
/** Ten years: what is longer was mistyped. */
const MAX_AGE_MS = 3_653 * DAY_MS;

export function parseVulnerabilitiesSection(
  reader: Reader,
  value: unknown,
): VulnerabilitiesSection | undefined {
  const section = reader.object(value, FIELD, KEYS);
  if (section === undefined) return undefined;
  if (section['maxSeverity'] === undefined && section['threshold'] === undefined) {
    const cure = 'set maxSeverity: HIGH, or threshold: {CRITICAL: 0}';
    reader.error(FIELD, 'empty-section', 'asks for nothing', cure);
  }
  const maxSeverity = choiceOf(reader, section['maxSeverity'], 'maxSeverity', SEVERITIES);
  const counts = parseThreshold(reader, section['threshold']);
  const crossing = reader.object(section['onCrossing'], `${FIELD}.onCrossing`, ['revokeIdentity']);
  const revoke = crossing?.['revokeIdentity'];
  return {
    limits: limitsOf(maxSeverity, counts),
    fixableOnly: flagOf(reader, section['fixableOnly'], 'fixableOnly'),
    olderThanMs: ageOf(reader, section['olderThan'], 'olderThan') ?? 0,
    ignore: parseIgnored(reader, section['ignore']),
    maxReportAgeMs: ageOf(reader, section['maxReportAge'], 'maxReportAge'),
    attestations: parseAttestations(reader, section['attestations']),
    whenUnknown:
      choiceOf(reader, section['whenUnknown'], 'whenUnknown', ['allow', 'refuse']) ?? 'allow',
    revokeIdentity: flagOf(reader, revoke, 'onCrossing.revokeIdentity'),
  };
}

/**
 * What is worse than the severity that may be there, or than the least that is counted, may not be there at all unless
 * it is counted itself.
 */
function limitsOf(
  maxSeverity: Severity | undefined,
  counts: ReadonlyMap<Severity, number>,
): ReadonlyMap<Severity, number> {
  const least = Math.max(
    ...[...counts.keys()].map((severity) => SEVERITIES.indexOf(severity)),
    maxSeverity === undefined ? -1 : SEVERITIES.indexOf(maxSeverity) - 1,
  );
  return new Map(
    SEVERITIES.slice(0, least + 1).map((severity) => [severity, counts.get(severity) ?? 0]),
  );
}

function parseThreshold(reader: Reader, value: unknown): ReadonlyMap<Severity, number> {
  const field = `${FIELD}.threshold`;
  const counts = new Map<Severity, number>();
  const threshold = reader.object(value, field, SEVERITIES);
  if (threshold === undefined) return counts;
  for (const severity of SEVERITIES) {
    const at = `${field}.${severity}`;
    if (threshold[severity] === null) reader.error(at, 'no-count', 'names no number', 'write 0');
    const count = readCount(reader, threshold[severity], at, { min: 0, max: MAX_COUNT });
    if (count !== undefined) counts.set(severity, count);
  }
  if (Object.keys(threshold).length === 0) {
    reader.error(field, 'empty-section', 'counts nothing', 'write for example CRITICAL: 0');
  }
  return counts;
}

function choiceOf<T extends string>(
  reader: Reader,
  value: unknown,
  name: string,
  choices: readonly T[],
): T | undefined {
  const field = `${FIELD}.${name}`;
  const text = reader.string(value, field);
  const found = choices.find((choice) => choice === text);
  if (text !== undefined && found === undefined) {
    const cure = `write one of ${choices.join(', ')}`;
    reader.error(field, 'unknown-value', `${shown(text)} is not known`, cure);
  }
  return found;
}

function flagOf(reader: Reader, value: unknown, name: string): boolean {
  if (value !== undefined && typeof value !== 'boolean') {
    reader.error(`${FIELD}.${name}`, 'wrong-type', 'expected true or false');
  }
  return value === true;
}

/** `30d`, or a duration as everywhere. */
function ageOf(reader: Reader, value: unknown, name: string): number | undefined {
  const field = `${FIELD}.${name}`;
  const text = reader.string(value, field);
  if (text === undefined) return undefined;
  const ms = text.endsWith('d') ? daysOf(text.slice(0, -1)) : parseDuration(text);
  if (ms !== undefined && ms > 0 && ms <= MAX_AGE_MS) return ms;
  const message = `${shown(text)} is no age`;
  reader.error(field, 'bad-duration', message, 'write for example "30d", "720h" or "1h30m"');
  return undefined;
}

function daysOf(digits: string): number | undefined {
  const hours = parseDuration(`${digits}h`);
  return hours === undefined ? undefined : hours * 24;
}

function parseAttestations(reader: Reader, value: unknown): readonly SignatureRule[] {
  const field = `${FIELD}.attestations`;
  const entries = reader.list(value, field, MAX_ATTESTATIONS) ?? [];
  return entries.flatMap(
    (entry, index) => parseSignatureRule(reader, entry, `${field}[${index}]`) ?? [],
  );
}

function parseIgnored(reader: Reader, value: unknown): readonly IgnoredVulnerability[] {
  const entries = reader.list(value, `${FIELD}.ignore`, MAX_IGNORED) ?? [];
  return entries.flatMap((entry, index) => {
    const field = `${FIELD}.ignore[${index}]`;
    const object = reader.object(entry ?? [], field, ['id', 'reason', 'expires']);
    if (object === undefined) return [];
    const id = reader.string(object['id'], `${field}.id`) ?? '';
    if (id === '' || id.length > MAX_ID || id.includes('*')) {
      const cure = 'write its whole id, as CVE-2026-12345 or GHSA-…';
      reader.error(`${field}.id`, 'bad-id', `${shown(id)} names no vulnerability`, cure);
    }
    const what = 'what is ignored';
    return [
      {
        id,
        reason: parseReason(reader, object['reason'], { field: `${field}.reason`, what }),
        expiresAtMs: parseExpiry(reader, object['expires'], { field: `${field}.expires`, what }),
      },
    ];
  });
}
