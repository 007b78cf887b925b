// Reads `spec.timeouts` of a TrafficPolicy: how long callers wait.
import type { Reader } from '../policy/reader.ts';
import type { Timeouts } from './call-types.ts';
import { readDuration } from './values.ts';

const REQUEST = { min: 0, max: 86_400_000 };
const CONNECT = { min: 1, max: 60_000 };

export function parseTimeouts(reader: Reader, value: unknown, field: string): Timeouts | undefined {
  const object = reader.object(value, field, ['request', 'connect']);
  if (object === undefined) return undefined;
  const requestMs = readDuration(reader, object['request'], `${field}.request`, REQUEST);
  const connectMs = readDuration(reader, object['connect'], `${field}.connect`, CONNECT);
  if (Object.keys(object).length === 0) {
    reader.error(field, 'no-timeout', 'limits nothing', 'set request or connect, or remove it');
  }
  return {
    ...(requestMs !== undefined && { requestMs }),
    ...(connectMs !== undefined && { connectMs }),
  };
}
