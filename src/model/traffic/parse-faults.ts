// Reads `spec.faults` of a TrafficPolicy: delays and aborts for a share of requests, until a date.
import { parseMatchRules } from '../policy/parse-authorization-policy.ts';
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import type { Fault } from './types.ts';
import { readCount, readDuration, readName, readPercent, refuseDoubles } from './values.ts';

const MAX_FAULTS = 32;
/** 5 min: no caller waits longer, and every delayed request holds its memory. */
const MAX_DELAY_MS = 300_000;

export function parseFaults(reader: Reader, value: unknown, field: string): readonly Fault[] {
  const entries = reader.list(value, field, MAX_FAULTS) ?? [];
  const faults = entries.map((entry, index) => parseFault(reader, entry, `${field}[${index}]`));
  refuseDoubles(reader, faults, field);
  return faults;
}

function parseFault(reader: Reader, value: unknown, field: string): Fault {
  const object =
    reader.object(value ?? 0, field, ['name', 'rules', 'delay', 'abort', 'until']) ?? {};
  const name = readName(reader, object, field);
  const rules = parseMatchRules(reader, object['rules'], `${field}.rules`);
  const delay = parseDelay(reader, object['delay'], `${field}.delay`);
  const abort = parseAbort(reader, object['abort'], `${field}.abort`);
  const untilMs = parseUntil(reader, object['until'], `${field}.until`);
  if (delay === undefined && abort === undefined) {
    reader.error(field, 'no-fault', 'does nothing', 'set delay, abort or both');
  }
  return {
    name,
    rules,
    ...(delay && { delay }),
    ...(abort && { abort }),
    ...(untilMs !== undefined && { untilMs }),
  };
}

function parseDelay(reader: Reader, value: unknown, field: string): Fault['delay'] {
  const delay = reader.object(value, field, ['percent', 'duration']);
  if (delay === undefined) return undefined;
  const bounds = { min: 1, max: MAX_DELAY_MS };
  const durationMs = readDuration(
    reader,
    required(reader, delay, `${field}.duration`),
    `${field}.duration`,
    bounds,
  );
  return {
    percent: readPercent(reader, delay['percent'], `${field}.percent`),
    durationMs: durationMs ?? 0,
  };
}

function required(reader: Reader, object: PlainObject, field: string): unknown {
  const value = object[field.slice(field.lastIndexOf('.') + 1)];
  if (value === undefined || value === null) reader.error(field, 'missing', 'is required');
  return value;
}

function parseAbort(reader: Reader, value: unknown, field: string): Fault['abort'] {
  const abort = reader.object(value, field, ['percent', 'status']);
  if (abort === undefined) return undefined;
  const status = required(reader, abort, `${field}.status`);
  return {
    percent: readPercent(reader, abort['percent'], `${field}.percent`),
    status: readCount(reader, status, `${field}.status`, { min: 200, max: 599 }) ?? 0,
  };
}

/** RFC 3339. A date that has passed is no error: the object stays valid as time goes on. */
function parseUntil(reader: Reader, value: unknown, field: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.getTime();
  const text = reader.string(value, field);
  if (text === undefined) return undefined;
  const isZoned = text.includes('T') && (text.endsWith('Z') || hasOffset(text));
  const at = isZoned ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  const cure = 'write it with its time zone, "2027-01-31T18:00:00Z"';
  reader.error(field, 'bad-time', `${shown(text)} is no point in time`, cure);
  return undefined;
}

/** `…+01:00`. */
const hasOffset = (text: string): boolean =>
  text.length > 6 && '+-'.includes(text.at(-6) ?? ' ') && text.at(-3) === ':';
