// What a TrafficPolicy asks of callers, in the resources that they get.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterRules, routeRules } from './call-rules.ts';

test('without a policy a route retries what reached nobody, and a cluster is as ever', () => {
  assert.deepEqual(routeRules(undefined), { timeoutMs: 0, connectRetries: 2 });
  assert.deepEqual(clusterRules(undefined), {
    connectTimeoutMs: 10_000,
    balancing: 'leastRequest',
    outlierDetection: {
      consecutiveFailures: 5,
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionPercent: 50,
    },
  });
});

test('retries that say nothing but how many are safe ones', () => {
  assert.deepEqual(routeRules({ sources: [], retries: { attempts: 3 } }), {
    timeoutMs: 0,
    connectRetries: 3,
    retry: {
      on: ['connect-failure', 'refused-stream', 'gateway-error', 'reset'],
      statusCodes: [],
      retries: 3,
      perTryTimeoutMs: 0,
      backOff: { baseMs: 25, maxMs: 250 },
      methods: ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PUT', 'TRACE'],
    },
  });
  const none = routeRules({ sources: [], retries: { attempts: 0 } });
  assert.deepEqual(none, { timeoutMs: 0, connectRetries: 0 });
});

test('limits, ejection and balancing go to the cluster, what is hashed to the route', () => {
  const calls = {
    sources: [],
    timeouts: { connectMs: 500 },
    retries: { budget: { percent: 10, minConcurrency: 1 } },
    circuitBreaking: { maxRequests: 7 },
    outlierDetection: { consecutive5xx: 2, maxEjectionPercent: 10 },
    loadBalancing: {
      policy: 'RING_HASH',
      hash: [{ kind: 'header', name: 'x-user' }],
      minimumRingSize: 64,
    },
  } as const;
  assert.deepEqual(clusterRules(calls), {
    connectTimeoutMs: 500,
    balancing: { kind: 'ringHash', minimumRingSize: 64, maximumRingSize: 8_388_608 },
    outlierDetection: {
      consecutiveFailures: 5,
      consecutive5xx: 2,
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionPercent: 10,
    },
    circuitBreakers: { maxRequests: 7, retryBudget: { percent: 10, minConcurrency: 1 } },
  });
  assert.deepEqual(routeRules(calls).hashPolicies, [{ kind: 'header', name: 'x-user' }]);
});
