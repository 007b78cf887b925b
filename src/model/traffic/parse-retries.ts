// Reads `spec.retries` of a TrafficPolicy: what callers send again, and how much of it they may.
import { isToken } from '../http-fields.ts';
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import type { RetryRules } from './call-types.ts';
import { RETRY_CONDITIONS, type RetryCondition } from './retry-conditions.ts';
import { readCount, readDuration, readPercent } from './values.ts';

/** More is no retry any more but an outage made worse. */
const ATTEMPTS = { min: 0, max: 10 };
const TRY_TIMEOUT = { min: 1, max: 3_600_000 };
const BACK_OFF = { min: 1, max: 3_600_000 };
const CONCURRENCY = { min: 0, max: 100_000 };
const STATUS = { min: 400, max: 599 };
const MAX_NAMES = 32;
/** Envoy's own defaults. */
const DEFAULT_BACK_OFF_MS = 25;
const BACK_OFF_GROWTH = 10;
const DEFAULT_CONCURRENCY = 3;

export function parseRetries(
  reader: Reader,
  value: unknown,
  field: string,
): RetryRules | undefined {
  const object = reader.object(value, field, [
    'attempts',
    'on',
    'statusCodes',
    'perTryTimeout',
    'backOff',
    'methods',
    'budget',
  ]);
  if (object === undefined) return undefined;
  const at = (name: string): string => `${field}.${name}`;
  const attempts = readCount(reader, object['attempts'], at('attempts'), ATTEMPTS);
  const on = parseConditions(reader, object['on'], at('on'));
  const statusCodes = parseStatuses(reader, object['statusCodes'], at('statusCodes'));
  const perTryTimeoutMs = readDuration(
    reader,
    object['perTryTimeout'],
    at('perTryTimeout'),
    TRY_TIMEOUT,
  );
  const backOff = parseBackOff(reader, object['backOff'], at('backOff'));
  const methods = parseMethods(reader, object['methods'], at('methods'));
  const budget = parseBudget(reader, object['budget'], at('budget'));
  if (Object.keys(object).length === 0) {
    reader.error(field, 'no-retries', 'says nothing', 'set attempts, or remove it');
  }
  const asksForCodes = on?.includes('retriable-status-codes') === true;
  if (statusCodes !== undefined && on !== undefined && !asksForCodes) {
    const message = 'have no meaning without "retriable-status-codes" in on';
    reader.error(at('statusCodes'), 'unused-status-codes', message, 'add it to on');
  }
  return {
    ...(attempts !== undefined && { attempts }),
    ...(on && { on }),
    ...(statusCodes && { statusCodes }),
    ...(perTryTimeoutMs !== undefined && { perTryTimeoutMs }),
    ...(backOff && { backOff }),
    ...(methods && { methods }),
    ...(budget && { budget }),
  };
}

function parseConditions(
  reader: Reader,
  value: unknown,
  field: string,
): readonly RetryCondition[] | undefined {
  if (value === undefined || value === null) return undefined;
  const names = reader.strings(value, field, MAX_NAMES);
  if (names.length === 0) {
    reader.error(field, 'empty-list', 'names no condition', 'set attempts: 0 for no retries');
  }
  names.forEach((name, index) => {
    if (RETRY_CONDITIONS.some((known) => known === name)) return;
    const cure = `write one of ${RETRY_CONDITIONS.join(', ')}`;
    reader.error(`${field}[${index}]`, 'unknown-condition', `${shown(name)} is not known`, cure);
  });
  return RETRY_CONDITIONS.filter((known) => names.includes(known));
}

function parseStatuses(
  reader: Reader,
  value: unknown,
  field: string,
): readonly number[] | undefined {
  if (value === undefined || value === null) return undefined;
  const codes = (reader.list(value, field, MAX_NAMES) ?? []).flatMap(
    (entry, index) => readCount(reader, entry, `${field}[${index}]`, STATUS) ?? [],
  );
  return [...new Set(codes)].sort((a, b) => a - b);
}

function parseBackOff(reader: Reader, value: unknown, field: string): RetryRules['backOff'] {
  if (value === undefined || value === null) return undefined;
  const object = reader.object(value, field, ['base', 'max']);
  if (object === undefined) return undefined;
  const baseMs =
    readDuration(reader, object['base'], `${field}.base`, BACK_OFF) ?? DEFAULT_BACK_OFF_MS;
  const maxMs =
    readDuration(reader, object['max'], `${field}.max`, BACK_OFF) ?? baseMs * BACK_OFF_GROWTH;
  if (maxMs < baseMs) {
    reader.error(`${field}.max`, 'bad-duration', 'is below base', 'write no less than base');
  }
  return { baseMs, maxMs };
}

function parseMethods(
  reader: Reader,
  value: unknown,
  field: string,
): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined;
  const methods = reader.strings(value, field, MAX_NAMES);
  if (methods.length === 0) {
    reader.error(field, 'empty-list', 'names no method', 'set attempts: 0 for no retries');
  }
  methods.forEach((method, index) => {
    if (isToken(method)) return;
    const message = `${shown(method)} is no method`;
    reader.error(`${field}[${index}]`, 'bad-method', message, 'write for example GET');
  });
  return [...new Set(methods)].sort();
}

function parseBudget(reader: Reader, value: unknown, field: string): RetryRules['budget'] {
  if (value === undefined || value === null) return undefined;
  const object: PlainObject | undefined = reader.object(value, field, [
    'percent',
    'minConcurrency',
  ]);
  if (object === undefined) return undefined;
  const percent = readPercent(reader, object['percent'], `${field}.percent`);
  const minConcurrency =
    readCount(reader, object['minConcurrency'], `${field}.minConcurrency`, CONCURRENCY) ??
    DEFAULT_CONCURRENCY;
  return { percent, minConcurrency };
}
