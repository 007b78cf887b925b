// What a TrafficPolicy may say to callers, and which of several they follow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { composeCalls } from './compose-calls.ts';
import { parseTrafficPolicy } from './parse-traffic-policy.ts';
import type { TrafficPolicy } from './types.ts';

const manifest = (spec: object, metadata: object = {}): Record<string, unknown> => ({
  apiVersion: 'mesh.weft.dev/v1',
  kind: 'TrafficPolicy',
  metadata: { name: 'p', namespace: 'shop', ...metadata },
  spec,
});

function parsed(spec: object, metadata: object = {}): TrafficPolicy {
  const result = parseTrafficPolicy(manifest(spec, metadata));
  assert.ok(result.ok, JSON.stringify(result.problems));
  return result.value;
}

test('all that callers follow is read', () => {
  const policy = parsed({
    targetRefs: [{ kind: 'Service', name: 'web' }],
    timeouts: { request: '1m', connect: '500ms' },
    retries: {
      attempts: 3,
      on: ['retriable-status-codes', 'reset'],
      statusCodes: [503, 429, 429],
      perTryTimeout: '2s',
      backOff: { base: '10ms' },
      methods: ['PUT', 'GET'],
      budget: { percent: 12.5 },
    },
    circuitBreaking: { maxConnections: 10, maxPendingRequests: 0, maxRequests: 100 },
    outlierDetection: { consecutive5xx: 3, baseEjection: '1m', maxEjectionPercent: 20 },
    loadBalancing: {
      policy: 'RING_HASH',
      locality: 'PREFER_NEAREST',
      hash: [{ header: 'X-User' }, { cookie: { name: 'sid', path: '/', ttl: '0s' } }],
    },
  });
  assert.deepEqual(policy.timeouts, { requestMs: 60_000, connectMs: 500 });
  assert.deepEqual(policy.retries, {
    attempts: 3,
    on: ['reset', 'retriable-status-codes'],
    statusCodes: [429, 503],
    perTryTimeoutMs: 2_000,
    backOff: { baseMs: 10, maxMs: 100 },
    methods: ['GET', 'PUT'],
    budget: { percent: 12.5, minConcurrency: 3 },
  });
  assert.deepEqual(policy.circuitBreaking, {
    maxConnections: 10,
    maxPendingRequests: 0,
    maxRequests: 100,
  });
  assert.deepEqual(policy.outlierDetection, {
    consecutive5xx: 3,
    maxEjectionPercent: 20,
    baseEjectionMs: 60_000,
  });
  assert.deepEqual(policy.loadBalancing, {
    policy: 'RING_HASH',
    hash: [
      { kind: 'header', name: 'x-user' },
      { kind: 'cookie', name: 'sid', path: '/', ttlMs: 0 },
    ],
    minimumRingSize: 1_024,
    prefersLocal: true,
  });
});

const REFUSED: readonly (readonly [object, string, string])[] = [
  [{ timeouts: {} }, 'spec.timeouts', 'no-timeout'],
  [{ timeouts: { request: '1x' } }, 'spec.timeouts.request', 'bad-duration'],
  [{ timeouts: { connect: '0s' } }, 'spec.timeouts.connect', 'bad-duration'],
  [{ retries: {} }, 'spec.retries', 'no-retries'],
  [{ retries: { attempts: 11 } }, 'spec.retries.attempts', 'bad-number'],
  [{ retries: { on: ['5XX'] } }, 'spec.retries.on[0]', 'unknown-condition'],
  [{ retries: { on: [] } }, 'spec.retries.on', 'empty-list'],
  [{ retries: { methods: [] } }, 'spec.retries.methods', 'empty-list'],
  [{ retries: { methods: ['G T'] } }, 'spec.retries.methods[0]', 'bad-method'],
  [
    { retries: { on: ['5xx'], statusCodes: [429] } },
    'spec.retries.statusCodes',
    'unused-status-codes',
  ],
  [{ retries: { statusCodes: [200] } }, 'spec.retries.statusCodes[0]', 'bad-number'],
  [
    { retries: { backOff: { base: '1s', max: '1ms' } } },
    'spec.retries.backOff.max',
    'bad-duration',
  ],
  [{ retries: { budget: { percent: 101 } } }, 'spec.retries.budget.percent', 'bad-percent'],
  [{ circuitBreaking: {} }, 'spec.circuitBreaking', 'no-limit'],
  [{ circuitBreaking: { maxConnections: 0 } }, 'spec.circuitBreaking.maxConnections', 'bad-number'],
  [
    { circuitBreaking: { maxConections: 1 } },
    'spec.circuitBreaking.maxConections',
    'unknown-field',
  ],
  [{ outlierDetection: {} }, 'spec.outlierDetection', 'no-rule'],
  [
    { outlierDetection: { maxEjectionPercent: 101 } },
    'spec.outlierDetection.maxEjectionPercent',
    'bad-number',
  ],
  [{ loadBalancing: {} }, 'spec.loadBalancing.policy', 'unknown-policy'],
  [{ loadBalancing: { policy: 'MAGLEV' } }, 'spec.loadBalancing.policy', 'unknown-policy'],
  [{ loadBalancing: { policy: 'RANDOM', hash: [] } }, 'spec.loadBalancing.hash', 'unused-field'],
  [
    { loadBalancing: { policy: 'RANDOM', locality: 'NEAR' } },
    'spec.loadBalancing.locality',
    'bad-locality',
  ],
  [{ loadBalancing: { policy: 'RING_HASH' } }, 'spec.loadBalancing.hash', 'no-hash'],
  [
    { loadBalancing: { policy: 'RING_HASH', hash: [{}] } },
    'spec.loadBalancing.hash[0]',
    'bad-hash',
  ],
  [
    { loadBalancing: { policy: 'RING_HASH', hash: [{ header: ':path' }] } },
    'spec.loadBalancing.hash[0].header',
    'bad-header',
  ],
  [
    { loadBalancing: { policy: 'RING_HASH', hash: [{ cookie: { name: 'a', path: '/;x' } }] } },
    'spec.loadBalancing.hash[0].cookie.path',
    'bad-path',
  ],
  [
    { selector: { matchLabels: { a: 'b' } }, timeouts: { request: '1s' } },
    'spec.timeouts',
    'selector-with-calls',
  ],
];

for (const [spec, field, code] of REFUSED) {
  test(`${JSON.stringify(spec)} is refused: ${code}`, () => {
    const { ok, problems } = parseTrafficPolicy(manifest(spec));
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map((problem) => [problem.field, problem.code]),
      [[field, code]],
    );
    assert.ok(problems[0]?.cure, 'it says what to do');
  });
}

const WEB = { namespace: 'shop', name: 'web' };
const of = (spec: object, name: string, namespace = 'shop', createdAtMs = 0): TrafficPolicy => ({
  ...parsed(spec, { name, namespace }),
  createdAtMs,
});

test('of each field the nearest policy holds: Service, namespace, mesh; of one level the older', () => {
  const target = { targetRefs: [{ kind: 'Service', name: 'web' }] };
  const policies = [
    of({ timeouts: { request: '1s', connect: '1s' }, retries: { attempts: 1 } }, 'mesh', 'weft'),
    of({ timeouts: { request: '2s' }, loadBalancing: { policy: 'RANDOM' } }, 'space'),
    of({ ...target, timeouts: { request: '3s' } }, 'younger', 'shop', 2),
    of({ ...target, timeouts: { request: '4s' } }, 'older', 'shop', 1),
    of({ targetRefs: [{ kind: 'Service', name: 'other' }], timeouts: { request: '9s' } }, 'other'),
    of({ timeouts: { request: '9s' } }, 'elsewhere', 'bank'),
  ];
  assert.deepEqual(composeCalls(policies, WEB, 'weft'), {
    timeouts: { requestMs: 4_000, connectMs: 1_000 },
    retries: { attempts: 1 },
    loadBalancing: { policy: 'RANDOM' },
    sources: ['shop/older', 'shop/space', 'shop/younger', 'weft/mesh'],
  });
  assert.equal(composeCalls(policies.slice(-2), WEB, 'weft'), undefined);
});

test('a Service of another namespace of the same name is another Service', () => {
  const target = { targetRefs: [{ kind: 'Service', name: 'web' }] };
  const policies = [of({ ...target, timeouts: { request: '3s' } }, 'p', 'bank')];
  assert.equal(composeCalls(policies, WEB, 'weft'), undefined);
  const ofRoot = [of({ ...target, timeouts: { request: '3s' } }, 'p', 'weft')];
  assert.equal(composeCalls(ofRoot, WEB, 'weft'), undefined, 'a target is never all of the mesh');
});
