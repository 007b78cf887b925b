// When endpoints that fail are left alone, on the wire.
import type { PlainMessage } from '../registry.ts';
import type { OutlierDetection } from '../resources/cluster.ts';
import { type Read, report } from './fields.ts';
import {
  encodeDuration,
  encodeUint,
  requiredDurationMs,
  requiredUint,
  uintValue,
} from './well-known.ts';

/** 502, 503, 504 and failed connections always count, a 500 only where it is asked for. */
export const encodeOutlierDetection = (detection: OutlierDetection): PlainMessage => {
  const { consecutive5xx } = detection;
  return {
    consecutive_5xx: consecutive5xx === undefined ? undefined : encodeUint(consecutive5xx),
    consecutive_gateway_failure: encodeUint(detection.consecutiveFailures),
    enforcing_consecutive_gateway_failure: encodeUint(100),
    enforcing_consecutive_5xx: encodeUint(consecutive5xx === undefined ? 0 : 100),
    enforcing_success_rate: encodeUint(0),
    interval: encodeDuration(detection.intervalMs),
    base_ejection_time: encodeDuration(detection.baseEjectionMs),
    max_ejection_percent: encodeUint(detection.maxEjectionPercent),
  };
};

export const readOutlierDetection: Read<OutlierDetection> = (fields) => {
  const consecutive5xx = uintValue(fields, 'consecutive_5xx');
  if (consecutive5xx === 0) report(fields, 'consecutive_5xx', 'out-of-range', 'is 0');
  const fixed = {
    enforcing_consecutive_gateway_failure: 100,
    enforcing_consecutive_5xx: consecutive5xx === undefined ? 0 : 100,
    enforcing_success_rate: 0,
  };
  for (const [name, percent] of Object.entries(fixed)) {
    if (requiredUint(fields, name, 100) !== percent)
      report(fields, name, 'not-supported', `must be ${percent}`);
  }
  return {
    consecutiveFailures: requiredUint(fields, 'consecutive_gateway_failure'),
    ...(consecutive5xx !== undefined && { consecutive5xx }),
    intervalMs: requiredDurationMs(fields, 'interval'),
    baseEjectionMs: requiredDurationMs(fields, 'base_ejection_time'),
    maxEjectionPercent: requiredUint(fields, 'max_ejection_percent', 100),
  };
};
