// Reads `spec.circuitBreaking` of a TrafficPolicy: how much one caller asks of a Service at once.
import type { Reader } from '../policy/reader.ts';
import type { CircuitBreaking } from './call-types.ts';
import { readCount } from './values.ts';

const NAMES = ['maxConnections', 'maxPendingRequests', 'maxRequests'] as const;
const COUNT = { min: 1, max: 1_000_000_000 };
/** No request may wait: a limit of its own. */
const PENDING = { min: 0, max: COUNT.max };

export function parseCircuitBreaking(
  reader: Reader,
  value: unknown,
  field: string,
): CircuitBreaking | undefined {
  const object = reader.object(value, field, NAMES);
  if (object === undefined) return undefined;
  const limits: { [Name in (typeof NAMES)[number]]?: number } = {};
  for (const name of NAMES) {
    const bounds = name === 'maxPendingRequests' ? PENDING : COUNT;
    const limit = readCount(reader, object[name], `${field}.${name}`, bounds);
    if (limit !== undefined) limits[name] = limit;
  }
  if (Object.keys(object).length === 0) {
    reader.error(field, 'no-limit', 'limits nothing', `set one of ${NAMES.join(', ')}`);
  }
  return limits;
}
