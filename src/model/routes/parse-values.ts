// Reads the small parts of routes: durations, header names and values, paths, hosts.
import { isToken, RESERVED_FIELDS } from '../http-fields.ts';
import { isDnsLabel, isDnsSubdomain } from '../identity.ts';
import { isPlainObject, shown, type PlainObject, type Reader } from '../policy/reader.ts';
import { compileLinearRegex } from './linear-regex.ts';

/** Gateway API's own limits. */
export const MAX_RULES = 16;
export const MAX_MATCHES = 64;
export const MAX_ENTRIES = 16;

const UNITS: ReadonlyMap<string, number> = new Map([
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
]);
const MAX_PARTS = 4;
const MAX_DIGITS = 5;

/** GEP-2257: `1h30m`, `500ms`. @returns `undefined` when it is absent, or no duration, which is then a problem. */
export function readDuration(reader: Reader, value: unknown, field: string): number | undefined {
  const text = reader.string(value ?? undefined, field);
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  reader.error(field, 'bad-duration', `${shown(text)} is no duration`, 'write 500ms, 10s or 1h30m');
  return undefined;
}

function parseDuration(text: string): number | undefined {
  let total = 0;
  let at = 0;
  for (let parts = 0; at < text.length; parts++) {
    const start = at;
    while (isDigit(text, at)) at++;
    const digits = text.slice(start, at);
    const unit = text.startsWith('ms', at) ? 'ms' : (text[at] ?? '');
    const factor = UNITS.get(unit);
    const isBad = digits.length === 0 || digits.length > MAX_DIGITS || parts === MAX_PARTS;
    if (isBad || factor === undefined) return undefined;
    total += Number(digits) * factor;
    at += unit.length;
  }
  return text === '' ? undefined : total;
}

/** Of headers, methods and parameters. */
const MAX_TOKEN = 256;

export const isBoundedToken = (text: string): boolean => text.length <= MAX_TOKEN && isToken(text);

const isDigit = (text: string, at: number): boolean => {
  const code = text.charCodeAt(at);
  return code >= 0x30 && code <= 0x39;
};

/** Those that frame messages, choose where they go, or speak for the mesh: no route changes them. */
const UNCHANGEABLE: ReadonlySet<string> = new Set(RESERVED_FIELDS);

/** @returns the name in lower case. */
export function readHeaderName(reader: Reader, value: unknown, field: string): string | undefined {
  const name = reader.string(value, field);
  if (name !== undefined && isBoundedToken(name)) return name.toLowerCase();
  reader.error(field, 'bad-header', `${shown(name ?? '')} is no header's name`);
  return undefined;
}

/** For a header that a route changes. */
export function readChangedName(reader: Reader, value: unknown, field: string): string | undefined {
  const name = readHeaderName(reader, value, field);
  if (name === undefined) return undefined;
  const plain = name.replaceAll('_', '-');
  if (!UNCHANGEABLE.has(plain) && !plain.startsWith('x-weft-')) return name;
  const cure = plain === 'host' ? 'use a filter URLRewrite with a hostname' : undefined;
  reader.error(field, 'reserved-header', `${name} is not for routes to change`, cure);
  return undefined;
}

/** Without what would end its line, and nothing that is not ASCII: both versions of HTTP send it alike. */
export function readHeaderValue(reader: Reader, value: unknown, field: string): string | undefined {
  const text = reader.string(value, field);
  if (text !== undefined && text !== '' && isPrintable(text) && text.trim() === text) {
    return text;
  }
  reader.error(field, 'bad-header-value', 'is missing, or no value that a header can have');
  return undefined;
}

function isPrintable(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== 0x09 && (code < 0x20 || code > 0x7e)) return false;
  }
  return true;
}

const UNPATHLIKE = '#?\\';

/** What may stand in a path as it is sent. */
export function isPath(text: string): boolean {
  if (!text.startsWith('/') || text.length > 1_024) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 0x20 || code > 0x7e || UNPATHLIKE.includes(text[at] ?? '')) return false;
  }
  return true;
}

/** @returns the expression when it is in the dialect; else why not is a problem. */
export function readRegex(reader: Reader, value: string, field: string): string | undefined {
  const compiled = compileLinearRegex(value);
  if (compiled.ok) return value;
  const cure = 'use letters, classes, groups, | and * + ? {n,m}: what is matched in linear time';
  reader.error(field, 'unsupported-regex', `${shown(value)} ${compiled.why}`, cure);
  return undefined;
}

export function readHost(reader: Reader, value: unknown, field: string): string | undefined {
  const host = reader.string(value ?? undefined, field);
  if (host === undefined || isDnsSubdomain(host)) return host;
  reader.error(field, 'bad-host', `${shown(host)} is no name of a host`);
  return undefined;
}

export function readNamespace(reader: Reader, value: unknown, field: string): string | undefined {
  const namespace = reader.string(value ?? undefined, field);
  if (namespace === undefined || isDnsLabel(namespace)) return namespace;
  reader.error(field, 'bad-namespace', `${shown(namespace)} is no valid namespace`);
  return undefined;
}

/** A whole number within bounds; absent is `undefined`. */
export function readWhole(
  reader: Reader,
  value: unknown,
  at: { readonly field: string; readonly min: number; readonly max: number },
): number | undefined {
  if (value === undefined || value === null) return undefined;
  const { field, min, max } = at;
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  reader.error(field, 'out-of-range', `is no whole number from ${min} to ${max}`);
  return undefined;
}

export const readPort = (reader: Reader, value: unknown, field: string): number | undefined =>
  readWhole(reader, value, { field, min: 1, max: 65_535 });

/** The mappings of a list, each with its field. */
export function entries(
  reader: Reader,
  value: unknown,
  field: string,
  limit = MAX_ENTRIES,
): readonly (readonly [PlainObject, string])[] {
  const listed = reader.list(value ?? undefined, field, limit) ?? [];
  return listed.flatMap((entry, index): readonly (readonly [PlainObject, string])[] => {
    const at = `${field}[${index}]`;
    if (isPlainObject(entry)) return [[entry, at]];
    reader.error(at, 'wrong-type', 'expected a mapping');
    return [];
  });
}
