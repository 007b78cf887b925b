// Reads `spec.throttling` of a TrafficPolicy: how many requests are let through, counted under which key.
import { isToken } from '../http-fields.ts';
import { parseMatchRules } from '../policy/parse-authorization-policy.ts';
import { type Reader, shown } from '../policy/reader.ts';
import type { Throttle, ThrottleKey } from './types.ts';
import { readCount, readDuration, readName, refuseDoubles } from './values.ts';

const MAX_THROTTLES = 32;
const MAX_PARTS = 4;
/** 50 ms is Envoy's shortest; a day is the longest that a counter in memory can mean anything for. */
const INTERVAL = { min: 50, max: 86_400_000 };
const REQUESTS = { min: 1, max: 1_000_000_000 };
/** 100 000 keys: some 3 MB. */
const DEFAULT_MAX_KEYS = 100_000;
const KEYS = { min: 1, max: 1_048_576 };
const PLAIN = ['caller', 'address', 'host', 'method', 'path', 'rule'] as const;
const HEADER = 'header:';

export function parseThrottling(
  reader: Reader,
  value: unknown,
  field: string,
): readonly Throttle[] {
  const entries = reader.list(value, field, MAX_THROTTLES) ?? [];
  const throttles = entries.map((entry, index) =>
    parseThrottle(reader, entry, `${field}[${index}]`),
  );
  refuseDoubles(reader, throttles, field);
  return throttles;
}

function parseThrottle(reader: Reader, value: unknown, field: string): Throttle {
  const known = ['name', 'rules', 'key', 'requests', 'interval', 'burst', 'maxKeys'];
  const object = reader.object(value ?? 0, field, known) ?? {};
  const name = readName(reader, object, field);
  const requests = readCount(reader, object['requests'], `${field}.requests`, REQUESTS);
  if (object['requests'] === undefined) {
    reader.error(
      `${field}.requests`,
      'missing',
      'is required',
      'say how many an interval lets through',
    );
  }
  const intervalMs = readDuration(reader, object['interval'], `${field}.interval`, INTERVAL);
  const burst = readCount(reader, object['burst'], `${field}.burst`, REQUESTS);
  const maxKeys = readCount(reader, object['maxKeys'], `${field}.maxKeys`, KEYS);
  const rules = parseMatchRules(reader, object['rules'], `${field}.rules`);
  const key = parseKey(reader, object['key'], `${field}.key`);
  if (rules === undefined && key.some(({ kind }) => kind === 'rule')) {
    reader.error(`${field}.key`, 'no-rules', 'counts by rule and has no rules', 'set rules');
  }
  return {
    name,
    rules,
    key,
    requests: requests ?? 1,
    intervalMs: intervalMs ?? 1_000,
    burst: burst ?? requests ?? 1,
    maxKeys: maxKeys ?? DEFAULT_MAX_KEYS,
  };
}

function parseKey(reader: Reader, value: unknown, field: string): readonly ThrottleKey[] {
  const parts = reader.strings(value, field, MAX_PARTS);
  const doubles = new Set(parts.map((part) => part.toLowerCase()));
  if (doubles.size < parts.length) reader.error(field, 'duplicate-key', 'has a part twice');
  return parts.flatMap((part, index): readonly ThrottleKey[] => {
    const plain = PLAIN.find((known) => known === part);
    if (plain !== undefined) return [{ kind: plain }];
    const name = part.startsWith(HEADER) ? part.slice(HEADER.length) : '';
    if (isToken(name)) return [{ kind: 'header', name: name.toLowerCase() }];
    const message = `${shown(part)} is nothing that requests are counted by`;
    const cure = `use ${PLAIN.join(', ')} or ${HEADER}NAME`;
    reader.error(`${field}[${index}]`, 'unknown-key', message, cure);
    return [];
  });
}
