// Reads which workloads a WorkloadPolicy is for, and whom it leaves out, why and for how long.
import { isDnsLabel } from '../identity.ts';
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import { type Exemption, WORKLOAD_KINDS, type WorkloadKind, type WorkloadMatch } from './types.ts';

const MAX_NAMES = 256;
const MAX_LABELS = 64;
const MAX_LABEL_VALUE = 63;
const MAX_EXEMPTIONS = 64;
const MAX_REASON = 1_024;

type Scope = 'namespaced' | 'cluster';

export function parseMatch(reader: Reader, value: unknown, scope: Scope): WorkloadMatch {
  const field = 'spec.match';
  const ofCluster = ['namespaces', 'notNamespaces', 'namespaceLabels'];
  const keys = scope === 'cluster' ? ['kinds', 'labels', ...ofCluster] : ['kinds', 'labels'];
  const match = reader.object(value, field, keys) ?? {};
  return {
    kinds: parseKinds(reader, match['kinds'], `${field}.kinds`),
    labels: parseLabels(reader, match['labels'], `${field}.labels`),
    namespaces:
      match['namespaces'] === undefined
        ? undefined
        : parseNamespaces(reader, match['namespaces'], `${field}.namespaces`),
    notNamespaces: parseNamespaces(reader, match['notNamespaces'], `${field}.notNamespaces`),
    namespaceLabels: parseLabels(reader, match['namespaceLabels'], `${field}.namespaceLabels`),
  };
}

function parseKinds(reader: Reader, value: unknown, field: string): readonly WorkloadKind[] {
  if (value === undefined) return WORKLOAD_KINDS;
  const kinds = reader.strings(value, field, WORKLOAD_KINDS.length).flatMap((text, index) => {
    const kind = WORKLOAD_KINDS.find((known) => known === text);
    if (kind !== undefined) return [kind];
    const cure = `write one of ${WORKLOAD_KINDS.join(', ')}`;
    reader.error(`${field}[${index}]`, 'unknown-kind', `${shown(text)} makes no Pods`, cure);
    return [];
  });
  refuseEmpty(reader, value, field);
  return kinds;
}

/** An empty list would mean none, and a policy for none was hardly meant. */
function refuseEmpty(reader: Reader, value: unknown, field: string): void {
  if (!Array.isArray(value) || value.length > 0) return;
  reader.error(field, 'empty-list', 'must not be empty', 'remove it to have it mean all');
}

function parseNamespaces(reader: Reader, value: unknown, field: string): readonly string[] {
  const names = reader.strings(value, field, MAX_NAMES);
  names.forEach((name, index) => {
    if (isDnsLabel(name)) return;
    const cure = 'write whole names; use namespaceLabels for many';
    reader.error(`${field}[${index}]`, 'bad-namespace', `${shown(name)} is no namespace`, cure);
  });
  refuseEmpty(reader, value, field);
  return names;
}

export function parseLabels(
  reader: Reader,
  value: unknown,
  field: string,
): ReadonlyMap<string, string> {
  const labels = reader.stringMap(value, field, MAX_LABELS) ?? new Map<string, string>();
  for (const [key, text] of labels) {
    const at = `${field}.${key.slice(0, 64)}`;
    if (key === '') reader.error(at, 'empty-key', 'a label needs a key');
    if (`${key}${text}`.includes('*')) {
      const message = `${shown(`${key}=${text}`)}: wildcards are not supported in labels`;
      reader.error(at, 'no-wildcard', message, 'write the whole label');
    }
    if (text.length > MAX_LABEL_VALUE) {
      reader.error(at, 'too-long', `a label's value has at most ${MAX_LABEL_VALUE} characters`);
    }
  }
  return labels;
}

const WHO = ['namespaces', 'labels', 'serviceAccounts', 'users', 'groups'] as const;

/** @param checks the names that an exemption may be limited to */
export function parseExemptions(
  reader: Reader,
  value: unknown,
  { scope, checks }: { readonly scope: Scope; readonly checks: readonly string[] },
): readonly Exemption[] {
  const entries = reader.list(value, 'spec.exemptions', MAX_EXEMPTIONS) ?? [];
  const what = 'an exemption';
  return entries.flatMap((entry, index) => {
    const field = `spec.exemptions[${index}]`;
    const object = reader.object(entry ?? [], field, ['who', 'checks', 'reason', 'expires']);
    if (object === undefined) return [];
    const who = parseWho(reader, object['who'], { field: `${field}.who`, scope });
    return [
      {
        ...who,
        checks: parseCheckNames(reader, object['checks'], { field: `${field}.checks`, checks }),
        reason: parseReason(reader, object['reason'], { field: `${field}.reason`, what }),
        expiresAtMs: parseExpiry(reader, object['expires'], { field: `${field}.expires`, what }),
      },
    ];
  });
}

type Who = Pick<Exemption, (typeof WHO)[number]>;

function parseWho(
  reader: Reader,
  value: unknown,
  { field, scope }: { readonly field: string; readonly scope: Scope },
): Who {
  const keys = scope === 'cluster' ? WHO : WHO.filter((key) => key !== 'namespaces');
  const who: PlainObject = reader.object(value, field, keys) ?? {};
  if (!keys.some((key) => isFilled(who[key]))) {
    const cure = `set one of ${keys.join(', ')}; to leave out all, narrow spec.match`;
    reader.error(field, 'no-who', 'an exemption needs somebody', cure);
  }
  const names = (key: string): readonly string[] =>
    reader.strings(who[key], `${field}.${key}`, MAX_NAMES);
  return {
    namespaces:
      scope === 'cluster' && who['namespaces'] !== undefined
        ? parseNamespaces(reader, who['namespaces'], `${field}.namespaces`)
        : [],
    labels: parseLabels(reader, who['labels'], `${field}.labels`),
    serviceAccounts: names('serviceAccounts'),
    users: names('users'),
    groups: names('groups'),
  };
}

const isFilled = (value: unknown): boolean =>
  Array.isArray(value)
    ? value.length > 0
    : typeof value === 'object' && value !== null && Object.keys(value).length > 0;

function parseCheckNames(
  reader: Reader,
  value: unknown,
  { field, checks }: { readonly field: string; readonly checks: readonly string[] },
): readonly string[] {
  const names = reader.strings(value, field, checks.length);
  names.forEach((name, index) => {
    if (checks.includes(name)) return;
    const cure = `write one of ${checks.join(', ')}`;
    reader.error(`${field}[${index}]`, 'unknown-check', `there is no check ${shown(name)}`, cure);
  });
  refuseEmpty(reader, value, field);
  return names;
}

interface Named {
  readonly field: string;
  /** `an exemption`. */
  readonly what: string;
}

export function parseReason(reader: Reader, value: unknown, { field, what }: Named): string {
  const reason = reader.string(value, field) ?? '';
  if (reason.trim() === '') {
    reader.error(field, 'no-reason', `${what} needs a reason`, 'say why, and who decided it');
  }
  if (reason.length > MAX_REASON) {
    reader.error(field, 'too-long', `a reason has at most ${MAX_REASON} characters`);
  }
  return reason;
}

const DATE_LENGTH = '2027-01-31'.length;

/** A date, which ends at its first moment in UTC, or a time with its zone. */
export function parseExpiry(reader: Reader, value: unknown, { field, what }: Named): number {
  const text = value instanceof Date ? value.toISOString() : (reader.string(value, field) ?? '');
  const isWhole = text.length === DATE_LENGTH || text.endsWith('Z') || hasOffset(text);
  const at = text.includes('-') && isWhole ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  const message = text === '' ? `${what} needs an end` : `${shown(text)} is no time`;
  reader.error(field, 'bad-expiry', message, 'write a date as 2027-01-31, or 2027-01-31T08:00:00Z');
  return 0;
}

/** `…T08:00:00+01:00`. */
function hasOffset(text: string): boolean {
  const sign = text.at(-6);
  return text.includes('T') && (sign === '+' || sign === '-') && text.at(-3) === ':';
}
