// What a TrafficPolicy may say, and which of several holds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { composeTraffic } from './compose.ts';
import { parseTrafficPolicy } from './parse-traffic-policy.ts';
import type { TrafficPolicy } from './types.ts';
import { parseDuration } from './values.ts';

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

test('a whole policy is read', () => {
  const policy = parsed({
    targetRefs: [{ kind: 'Service', name: 'web' }],
    faults: [
      {
        name: 'slow',
        rules: [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/a'] } }] }],
        delay: { percent: 12.5, duration: '1m30s' },
        until: '2027-01-01T00:00:00Z',
      },
    ],
    throttling: [{ name: 'each', key: ['caller', 'header:X-Key'], requests: 10, interval: '1s' }],
    floods: { connections: 100, action: 'slow' },
    limits: { maxBodyBytes: '10Mi', methods: ['GET'], contentTypes: ['Application/JSON'] },
  });
  assert.deepEqual(policy.faults?.[0]?.delay, { percent: 12.5, durationMs: 90_000 });
  assert.equal(policy.faults[0].untilMs, Date.UTC(2027, 0, 1));
  assert.deepEqual(policy.throttling?.[0]?.key, [
    { kind: 'caller' },
    { kind: 'header', name: 'x-key' },
  ]);
  assert.equal(policy.throttling[0].burst, 10, 'a burst is as large as the rate');
  assert.deepEqual(policy.floods?.thresholds, { connections: 100 });
  assert.deepEqual(policy.limits?.contentTypes, ['application/json']);
  assert.equal(policy.limits.maxBodyBytes, 10 * 1_048_576);
});

for (const [spec, field, code] of [
  [{}, 'spec', 'empty-policy'],
  [{ throtling: [] }, 'spec.throtling', 'unknown-field'],
  [
    {
      selector: { matchLabels: { a: 'b' } },
      targetRefs: [{ kind: 'Service', name: 'a' }],
      limits: { maxHeaders: 1 },
    },
    'spec',
    'two-scopes',
  ],
  [
    { targetRefs: [{ kind: 'Pod', name: 'a' }], limits: { maxHeaders: 1 } },
    'spec.targetRefs[0].kind',
    'unknown-target',
  ],
  [{ targetRefs: [], limits: { maxHeaders: 1 } }, 'spec.targetRefs', 'empty-list'],
  [{ faults: [{ name: 'a' }] }, 'spec.faults[0]', 'no-fault'],
  [{ faults: [null] }, 'spec.faults[0]', 'wrong-type'],
  [
    { faults: [{ name: 'a', abort: { percent: 101, status: 500 } }] },
    'spec.faults[0].abort.percent',
    'bad-percent',
  ],
  [
    { faults: [{ name: 'a', abort: { percent: 1, status: 99 } }] },
    'spec.faults[0].abort.status',
    'bad-number',
  ],
  [
    { faults: [{ name: 'a', delay: { percent: 1, duration: '1d' } }] },
    'spec.faults[0].delay.duration',
    'bad-duration',
  ],
  [{ faults: [{ name: 'a', delay: { percent: 1 } }] }, 'spec.faults[0].delay.duration', 'missing'],
  [
    { faults: [{ name: 'a', abort: { percent: 1, status: 500 }, until: '2027-01-01' }] },
    'spec.faults[0].until',
    'bad-time',
  ],
  [{ throttling: [{ name: 'a' }] }, 'spec.throttling[0].requests', 'missing'],
  [
    { throttling: [{ name: 'a', requests: 1, key: ['ip'] }] },
    'spec.throttling[0].key[0]',
    'unknown-key',
  ],
  [
    { throttling: [{ name: 'a', requests: 1, key: ['header:bad name'] }] },
    'spec.throttling[0].key[0]',
    'unknown-key',
  ],
  [
    { throttling: [{ name: 'a', requests: 1, key: ['header:x-\u212aey'] }] },
    'spec.throttling[0].key[0]',
    'unknown-key',
  ],
  [
    { throttling: [{ name: 'a', requests: 1, key: ['rule'] }] },
    'spec.throttling[0].key',
    'no-rules',
  ],
  [
    { throttling: [{ name: 'a', requests: 1, interval: '10ms' }] },
    'spec.throttling[0].interval',
    'bad-duration',
  ],
  [
    {
      throttling: [
        { name: 'a', requests: 1 },
        { name: 'a', requests: 2 },
      ],
    },
    'spec.throttling[1].name',
    'duplicate-name',
  ],
  [{ throttling: [{ name: 'A b', requests: 1 }] }, 'spec.throttling[0].name', 'bad-name'],
  [
    { throttling: [{ name: 'a', requests: 1, rules: [] }] },
    'spec.throttling[0].rules',
    'empty-list',
  ],
  [{ floods: { action: 'ban', connections: 1 } }, 'spec.floods.action', 'unknown-action'],
  [{ floods: {} }, 'spec.floods', 'no-threshold'],
  [{ floods: { requests: 1, exempt: ['host'] } }, 'spec.floods.exempt[0]', 'bad-ip'],
  [{ limits: {} }, 'spec.limits', 'no-limit'],
  [{ limits: { maxBodyBytes: '1MB' } }, 'spec.limits.maxBodyBytes', 'bad-size'],
  [{ limits: { methods: [] } }, 'spec.limits.methods', 'empty-list'],
  [{ limits: { contentTypes: ['json'] } }, 'spec.limits.contentTypes[0]', 'bad-content-type'],
  [
    { limits: { contentTypes: ['text/\u212a'] } },
    'spec.limits.contentTypes[0]',
    'bad-content-type',
  ],
] as const) {
  test(`${JSON.stringify(spec).slice(0, 60)} is refused: ${code}`, () => {
    const result = parseTrafficPolicy(manifest(spec));
    assert.ok(!result.ok);
    assert.ok(
      result.problems.some((problem) => problem.field === field && problem.code === code),
      JSON.stringify(result.problems),
    );
  });
}

test('durations are as Gateway API has them', () => {
  for (const [text, ms] of [
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['1s500ms', 1_500],
    ['0s', 0],
    ['', undefined],
    ['1', undefined],
    ['1.5s', undefined],
    ['1m1h', undefined],
    ['1s1s', undefined],
    ['100000s', undefined],
    ['-1s', undefined],
  ] as const) {
    assert.equal(parseDuration(text), ms, text);
  }
});

const LABELS = new Map([['app', 'web']]);
const WEB = { namespace: 'shop', labels: LABELS };
const OF = {
  rootNamespace: 'weft-system',
  selectorOf: (namespace: string, name: string) =>
    namespace === 'shop' && name === 'web' ? LABELS : undefined,
};
const limits = (maxHeaders: number, more: object = {}): object => ({
  limits: { maxHeaders, ...more },
});

test('the nearest policy holds: Service or selector, then namespace, then mesh; limits field by field', () => {
  const mesh = parsed(limits(1, { maxBodyBytes: 1, methods: ['GET'] }), {
    namespace: 'weft-system',
  });
  const namespace = parsed(limits(2, { maxBodyBytes: 2 }));
  const service = parsed(
    { ...limits(3), targetRefs: [{ kind: 'Service', name: 'web' }] },
    { name: 's' },
  );
  const all = composeTraffic([mesh, namespace, service], WEB, OF);
  assert.deepEqual(
    [all?.limits?.maxHeaders, all?.limits?.maxBodyBytes, all?.limits?.methods],
    [3, 2, ['GET']],
  );
  assert.deepEqual(all?.sources, ['shop/p', 'shop/s', 'weft-system/p']);
  assert.equal(composeTraffic([namespace], { ...WEB, namespace: 'other' }, OF), undefined);
});

test('a policy for a Service that is not there, or of another namespace, holds for nobody', () => {
  const gone = parsed({ ...limits(3), targetRefs: [{ kind: 'Service', name: 'gone' }] });
  const foreign = parsed(
    { ...limits(3), targetRefs: [{ kind: 'Service', name: 'web' }] },
    { namespace: 'other' },
  );
  assert.equal(composeTraffic([gone, foreign], WEB, OF), undefined);
});

test('a list holds whole as the nearest policy says, an older one before a younger one of its level', () => {
  const throttle = (name: string): object => ({ throttling: [{ name, requests: 1 }] });
  const wide = parsed(throttle('wide'), { namespace: 'weft-system' });
  const young = parsed(throttle('young'), { name: 'a', creationTimestamp: '2026-01-02T00:00:00Z' });
  const old = parsed(throttle('old'), { name: 'b', creationTimestamp: '2026-01-01T00:00:00Z' });
  const all = composeTraffic([wide, young, old], WEB, OF);
  assert.deepEqual(
    all?.throttling.map(({ name, policy }) => [name, policy.name]),
    [['old', 'b']],
  );
  assert.deepEqual(all?.sources, ['shop/b']);
});
