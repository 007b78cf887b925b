// Says in Envoy's words what a TrafficPolicy asks of a Service's callers: of their routes, and of their clusters.
import type { CallTraffic } from '@weft/model/traffic/compose-calls';
import { IDEMPOTENT_METHODS } from '@weft/model/traffic/retry-conditions';
import type { RetryRules } from '@weft/model/traffic/call-types';
import type {
  Balancing,
  CircuitBreakers,
  Cluster,
  OutlierDetection,
} from '@weft/xds/resources/cluster';
import type { RetryPolicy } from '@weft/xds/resources/retry';
import type { Route } from '@weft/xds/resources/route';

/** Two more endpoints are tried when nothing has reached the first: Istio's default. */
export const CONNECT_RETRIES = 2;
/** Envoy's defaults. */
const BACK_OFF = { baseMs: 25, maxMs: 250 };
const MAXIMUM_RING_SIZE = 8_388_608;
/** 10 s, Istio's default. */
export const CONNECT_TIMEOUT_MS = 10_000;

/** Half of the endpoints always stay: an outage of a whole service is not made worse by ejecting what is left of it. */
const OUTLIER_DETECTION: OutlierDetection = {
  consecutiveFailures: 5,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 50,
};

type RouteRules = Pick<Route, 'timeoutMs' | 'connectRetries' | 'retry' | 'hashPolicies'>;

/** What holds for every route to the Service that does not say it itself. */
export function routeRules(calls: CallTraffic | undefined): RouteRules {
  const { timeouts, retries, loadBalancing } = calls ?? {};
  const timeoutMs = timeouts?.requestMs ?? 0;
  const hash = loadBalancing?.policy === 'RING_HASH' ? loadBalancing.hash : undefined;
  return {
    timeoutMs,
    ...retryRules(retries),
    ...(hash && { hashPolicies: hash }),
  };
}

function retryRules(retries: RetryRules | undefined): Pick<Route, 'connectRetries' | 'retry'> {
  if (retries === undefined) return { connectRetries: CONNECT_RETRIES };
  const attempts = retries.attempts ?? CONNECT_RETRIES;
  if (attempts === 0) return { connectRetries: 0 };
  const asked = retries.on ?? ['gateway-error', 'reset'];
  const retry: RetryPolicy = {
    on: [
      'connect-failure',
      'refused-stream',
      ...asked.filter((one) => one !== 'connect-failure' && one !== 'refused-stream'),
    ],
    statusCodes: retries.statusCodes ?? [],
    retries: attempts,
    perTryTimeoutMs: retries.perTryTimeoutMs ?? 0,
    backOff: retries.backOff ?? BACK_OFF,
    methods: retries.methods ?? IDEMPOTENT_METHODS,
  };
  return { connectRetries: attempts, retry };
}

type ClusterRules = Pick<
  Cluster,
  'connectTimeoutMs' | 'balancing' | 'prefersLocal' | 'outlierDetection' | 'circuitBreakers'
>;

export function clusterRules(calls: CallTraffic | undefined): ClusterRules {
  const breakers = breakersOf(calls);
  return {
    connectTimeoutMs: calls?.timeouts?.connectMs ?? CONNECT_TIMEOUT_MS,
    balancing: balancingOf(calls),
    ...(calls?.loadBalancing?.prefersLocal === true && { prefersLocal: true as const }),
    outlierDetection: { ...OUTLIER_DETECTION, ...calls?.outlierDetection },
    ...(breakers && { circuitBreakers: breakers }),
  };
}

function breakersOf(calls: CallTraffic | undefined): CircuitBreakers | undefined {
  const { circuitBreaking, retries } = calls ?? {};
  const retryBudget = retries?.budget;
  if (circuitBreaking === undefined && retryBudget === undefined) return undefined;
  return { ...circuitBreaking, ...(retryBudget && { retryBudget }) };
}

const WAYS = {
  LEAST_REQUEST: 'leastRequest',
  ROUND_ROBIN: 'roundRobin',
  RANDOM: 'random',
} as const;

function balancingOf(calls: CallTraffic | undefined): Balancing {
  const asked = calls?.loadBalancing;
  if (asked === undefined) return 'leastRequest';
  if (asked.policy !== 'RING_HASH') return WAYS[asked.policy];
  const { minimumRingSize } = asked;
  return { kind: 'ringHash', minimumRingSize, maximumRingSize: MAXIMUM_RING_SIZE };
}
