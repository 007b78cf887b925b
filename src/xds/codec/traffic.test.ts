// The filters of TrafficPolicies over the wire: the same there and back, and nothing that cannot be enforced.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FLOOD_EVENTS } from '@weft/model/traffic/types';
import { encodeMessage } from '../registry.ts';
import type {
  FaultConfig,
  FloodsConfig,
  LimitsConfig,
  ThrottleConfig,
} from '../resources/traffic.ts';
import type { HttpConnectionManager } from '../resources/listener.ts';
import { createReading, type Read, readMessage } from './fields.ts';
import { encodeHttpConnectionManager, readHttpConnectionManager } from './http.ts';
import {
  encodeFloods,
  encodeLimits,
  encodeTraffic,
  readFloods,
  readLimits,
  readTraffic,
} from './traffic.ts';

function read<T>(typeName: string, message: object, reader: Read<T>) {
  const reading = createReading();
  const bytes = encodeMessage(typeName, { ...message });
  const value = readMessage(typeName, bytes, { reading, path: '' }, reader);
  return { value, problems: reading.problems };
}

const name = fc.string({ minLength: 1, maxLength: 8 });
const count = fc.integer({ min: 1, max: 1e9 });
const ms = fc.integer({ min: 1, max: 1e8 });
const rulesOf = (action: 'ALLOW' | 'DENY') =>
  fc.constant({
    action,
    policies: [
      {
        name: 'a',
        permissions: [{ kind: 'any' as const }],
        principals: [{ kind: 'any' as const }],
      },
    ],
  });
const PLAIN = { noNullPrototype: true } as const;
const parts = fc.integer({ min: 0, max: 1e6 });
const throttles: fc.Arbitrary<ThrottleConfig> = fc
  .record(
    {
      name,
      key: fc.uniqueArray(
        fc.oneof(
          fc
            .constantFrom('caller', 'address', 'host', 'method', 'path', 'rule')
            .map((kind) => ({ kind })),
          fc
            .constantFrom('x-a', 'x-b')
            .map((header) => ({ kind: 'header' as const, name: header })),
        ),
        { maxLength: 4 },
      ),
      requests: count,
      intervalMs: ms,
      burst: count,
      maxKeys: count,
    },
    PLAIN,
  )
  .chain((one) =>
    fc
      .option(rulesOf('DENY'), { nil: undefined })
      .map((rules) => ({ ...one, ...(rules && { rules }) })),
  ) as fc.Arbitrary<ThrottleConfig>;
const faults = fc
  .tuple(
    name,
    fc.record(
      {
        rules: rulesOf('ALLOW'),
        delay: fc.record({ partsPerMillion: parts, durationMs: ms }, PLAIN),
        abort: fc.record(
          { partsPerMillion: parts, status: fc.integer({ min: 200, max: 599 }) },
          PLAIN,
        ),
        untilMs: count,
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  )
  .map(([one, rest]): FaultConfig => ({ name: one, ...rest }));

test('throttles and faults come back as they were', () => {
  fc.assert(
    fc.property(
      fc.array(throttles, { maxLength: 3 }),
      fc.array(faults, { maxLength: 3 }),
      (some, others) => {
        const control = { throttles: some, faults: others };
        const { value, problems } = read(
          'weft.traffic.v1.TrafficControl',
          encodeTraffic(control),
          readTraffic,
        );
        assert.deepEqual(problems, []);
        assert.deepEqual(value, control);
      },
    ),
  );
});

test('limits and floods come back as they were', () => {
  const limits: LimitsConfig = {
    name: 'shop/p',
    limits: {
      maxBodyBytes: 0,
      maxHeaders: 3,
      methods: ['GET'],
      contentTypes: ['a/b'],
      bodyTimeoutMs: 100,
      maxHeaderBytes: 9,
    },
  };
  assert.deepEqual(
    read('weft.traffic.v1.RequestLimits', encodeLimits(limits), readLimits).value,
    limits,
  );
  const bare: LimitsConfig = { name: 'a/b', limits: {} };
  assert.deepEqual(
    read('weft.traffic.v1.RequestLimits', encodeLimits(bare), readLimits).value,
    bare,
  );
  const floods: FloodsConfig = {
    action: 'slow',
    windowMs: 1_000,
    thresholds: Object.fromEntries(FLOOD_EVENTS.map((event, at) => [event, at + 1])),
    exempt: ['10.0.0.0/8'],
    maxClients: 16,
  };
  assert.deepEqual(read('weft.traffic.v1.Floods', encodeFloods(floods), readFloods).value, floods);
});

const throttle = {
  name: 'a',
  key: [],
  requests: 1,
  interval: { seconds: 1 },
  burst: 1,
  max_keys: 1,
};
for (const [what, message] of [
  ['a throttle that lets nothing through', { throttles: [{ ...throttle, requests: 0 }] }],
  ['one without an interval', { throttles: [{ ...throttle, interval: {} }] }],
  ['one that counts by something unknown', { throttles: [{ ...throttle, key: ['moon'] }] }],
  ['one whose rules allow', { throttles: [{ ...throttle, rules: { action: 'ALLOW' } }] }],
  ['a fault whose rules deny', { faults: [{ name: 'a', rules: { action: 'DENY' } }] }],
  [
    'a fault for more than all',
    { faults: [{ name: 'a', abort: { parts_per_million: 1_000_001, status: 500 } }] },
  ],
] as const) {
  test(`${what} is refused, with the field`, () => {
    const { problems } = read('weft.traffic.v1.TrafficControl', message, readTraffic);
    assert.equal(problems.length > 0 && problems[0]?.field !== undefined, true);
  });
}

const RULES = {
  action: 'DENY',
  policies: [{ name: 'a', permissions: [{ kind: 'any' }], principals: [{ kind: 'any' }] }],
} as const;
const whole: HttpConnectionManager = {
  statPrefix: 'in',
  routes: { kind: 'rds', name: 'r' },
  filters: [
    {
      kind: 'requestLimits',
      limits: {
        name: 'shop/p',
        limits: {
          maxHeaders: 9,
          maxHeaderBytes: 4_000,
          bodyTimeoutMs: 500,
          maxBodyBytes: 10,
          methods: ['GET'],
          contentTypes: ['a/*'],
        },
      },
    },
    {
      kind: 'traffic',
      traffic: {
        throttles: [
          {
            name: 'shop/p/t',
            rules: RULES,
            key: [{ kind: 'caller' }, { kind: 'header', name: 'x-a' }, { kind: 'path' }],
            requests: 1,
            intervalMs: 1_000,
            burst: 1,
            maxKeys: 8,
          },
        ],
        faults: [{ name: 'shop/p/f', abort: { partsPerMillion: 1, status: 503 } }],
      },
    },
    { kind: 'router' },
  ],
  forwardClientCert: 'sanitize',
  trustedHops: 0,
  pathNormalization: 'NONE',
  upgrades: [],
  requestHeadersTimeoutMs: 1,
  streamIdleTimeoutMs: 1,
};
const MANAGER = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';

test('filters come back with what Envoys are told beside them', () => {
  const { value, problems } = read(
    MANAGER,
    encodeHttpConnectionManager(whole),
    readHttpConnectionManager,
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(value, whole);
});

test('an Envoy must be told neither less nor more than the sidecar enforces, and Weft’s filters are optional to it', () => {
  const encoded = encodeHttpConnectionManager(whole);
  const filters = encoded['http_filters'] as readonly Record<string, unknown>[];
  const twins = filters.filter(({ name }) => String(name).startsWith('weft.twin/'));
  assert.equal(twins.length, 4);
  const own = filters.find(({ name }) => name === 'weft.filters.http.traffic');
  for (const http_filters of [
    filters.filter((filter) => filter !== twins[0]),
    filters.filter((filter) => filter !== own),
    [...filters.slice(0, -1), twins[1], ...filters.slice(-1)],
    filters.map((filter) => (filter === own ? { ...own, is_optional: false } : filter)),
    filters.map((filter) =>
      filter === filters.at(-1) ? { ...filter, is_optional: true } : filter,
    ),
  ]) {
    const { problems } = read(MANAGER, { ...encoded, http_filters }, readHttpConnectionManager);
    assert.notEqual(problems.length, 0);
  }
});
