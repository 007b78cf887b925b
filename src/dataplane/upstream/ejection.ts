// Leaves out endpoints that keep failing, for a while that grows, and never so many that too few are left.
import type { OutlierDetection } from '@weft/xds/resources/cluster';
import type { UpstreamEndpoint } from './endpoint.ts';
import { isGatewayError } from './retries.ts';

/** Envoy's `max_ejection_time` default. */
const MAX_EJECTION_MS = 300_000;

/** @param status that it answered with; 0: it failed. @returns whether it was ejected by it. */
export function noteResult(
  endpoint: UpstreamEndpoint,
  status: number,
  context: {
    readonly rules: OutlierDetection | undefined;
    readonly all: readonly UpstreamEndpoint[];
    readonly now: number;
  },
): boolean {
  const { rules, all, now } = context;
  const isFailure = status === 0 || isGatewayError(status);
  endpoint.failures = isFailure ? endpoint.failures + 1 : 0;
  endpoint.errors = isFailure || status >= 500 ? endpoint.errors + 1 : 0;
  if (endpoint.errors === 0) {
    if (endpoint.ejectedUntil !== 0 && endpoint.ejectedUntil <= now) {
      endpoint.ejectedUntil = 0;
      endpoint.ejections = Math.max(0, endpoint.ejections - 1);
    }
    return false;
  }
  const { consecutiveFailures = Infinity, consecutive5xx = Infinity } = rules ?? {};
  if (rules === undefined) return false;
  if (endpoint.failures < consecutiveFailures && endpoint.errors < consecutive5xx) return false;
  if (endpoint.ejectedUntil > now) return false;
  const ejected = all.filter((other) => other.ejectedUntil > now).length;
  /** One may always be ejected, as in Envoy; beyond it the share counts. */
  const isTooMany = (ejected + 1) * 100 > all.length * rules.maxEjectionPercent && ejected > 0;
  if (isTooMany || all.length === 1) return false;
  endpoint.ejections++;
  endpoint.failures = 0;
  endpoint.errors = 0;
  endpoint.ejectedUntil =
    now + Math.min(MAX_EJECTION_MS, rules.baseEjectionMs * endpoint.ejections);
  return true;
}
