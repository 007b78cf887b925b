// How much a cluster may be asked to do at once, on the wire.
import type { PlainMessage } from '../registry.ts';
import type { CircuitBreakers, RetryBudget } from '../resources/cluster.ts';
import { double, message, messages, type Read, report } from './fields.ts';
import { encodeUint, uintValue } from './well-known.ts';

/** What Envoy would limit by a default of its own is not limited: its highest number. */
const UNLIMITED = 4_294_967_295;

export function encodeCircuitBreakers(breakers: CircuitBreakers): PlainMessage {
  const { maxConnections, maxPendingRequests, maxRequests, retryBudget } = breakers;
  return {
    thresholds: [
      {
        max_connections: encodeUint(maxConnections ?? UNLIMITED),
        max_pending_requests: encodeUint(maxPendingRequests ?? UNLIMITED),
        max_requests: encodeUint(maxRequests ?? UNLIMITED),
        retry_budget: retryBudget && {
          budget_percent: { value: retryBudget.percent },
          min_retry_concurrency: encodeUint(retryBudget.minConcurrency),
        },
      },
    ],
  };
}

export const readCircuitBreakers: Read<CircuitBreakers> = (fields) => {
  const [only, ...more] = messages(fields, 'thresholds', readThresholds);
  if (only === undefined || more.length > 0)
    return report(fields, 'thresholds', 'not-supported', 'must be one, of the default priority');
  return only;
};

const readThresholds: Read<CircuitBreakers> = (fields) => {
  const limits: { -readonly [Name in keyof CircuitBreakers]: CircuitBreakers[Name] } = {};
  for (const [name, field] of LIMITS) {
    const value = uintValue(fields, field);
    if (value !== undefined && value !== UNLIMITED) limits[name] = value;
  }
  const retryBudget = message(fields, 'retry_budget', readBudget);
  return { ...limits, ...(retryBudget && { retryBudget }) };
};

const LIMITS = [
  ['maxConnections', 'max_connections'],
  ['maxPendingRequests', 'max_pending_requests'],
  ['maxRequests', 'max_requests'],
] as const;

const readBudget: Read<RetryBudget> = (fields) => {
  const percent = message(fields, 'budget_percent', (share) => double(share, 'value')) ?? 0;
  const minConcurrency = uintValue(fields, 'min_retry_concurrency') ?? 0;
  if (!(percent >= 0 && percent <= 100))
    return report(fields, 'budget_percent', 'out-of-range', 'is not within 0 to 100');
  return { percent, minConcurrency };
};
