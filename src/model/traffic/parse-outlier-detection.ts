// Reads `spec.outlierDetection` of a TrafficPolicy: when callers leave out an endpoint that keeps failing.
import type { Reader } from '../policy/reader.ts';
import type { OutlierRules } from './call-types.ts';
import { readCount, readDuration } from './values.ts';

const IN_A_ROW = { min: 1, max: 10_000 };
const DURATION = { min: 1, max: 86_400_000 };
const SHARE = { min: 0, max: 100 };

export function parseOutlierDetection(
  reader: Reader,
  value: unknown,
  field: string,
): OutlierRules | undefined {
  const object = reader.object(value, field, [
    'consecutiveFailures',
    'consecutive5xx',
    'interval',
    'baseEjection',
    'maxEjectionPercent',
  ]);
  if (object === undefined) return undefined;
  const count = (name: string, bounds: typeof SHARE): number | undefined =>
    readCount(reader, object[name], `${field}.${name}`, bounds);
  const time = (name: string): number | undefined =>
    readDuration(reader, object[name], `${field}.${name}`, DURATION);
  const consecutiveFailures = count('consecutiveFailures', IN_A_ROW);
  const consecutive5xx = count('consecutive5xx', IN_A_ROW);
  const maxEjectionPercent = count('maxEjectionPercent', SHARE);
  const intervalMs = time('interval');
  const baseEjectionMs = time('baseEjection');
  if (Object.keys(object).length === 0) {
    reader.error(field, 'no-rule', 'says nothing', 'set consecutiveFailures, or remove it');
  }
  return {
    ...(consecutiveFailures !== undefined && { consecutiveFailures }),
    ...(consecutive5xx !== undefined && { consecutive5xx }),
    ...(intervalMs !== undefined && { intervalMs }),
    ...(baseEjectionMs !== undefined && { baseEjectionMs }),
    ...(maxEjectionPercent !== undefined && { maxEjectionPercent }),
  };
}
