// The exposition text and its bounds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MetricsRegistry } from './metrics.ts';

test('expose() writes counters, gauges and cumulative histogram buckets', () => {
  const registry = new MetricsRegistry();
  const requests = registry.counter({ name: 'r_total', help: 'Requests', labels: ['code'] });
  requests.labels('200').inc();
  requests.labels('200').inc(2);
  requests.labels('4"\\\n').inc();
  const open = registry.gauge({ name: 'open', help: 'Open', labels: [] });
  registry.onCollect(() => open.labels().set(7));
  const time = registry.histogram({ name: 't', help: 'Time', labels: ['a'], buckets: [1, 10] });
  for (const value of [0.5, 1, 5, 100]) time.labels('x').observe(value);
  assert.equal(
    registry.expose(),
    [
      '# HELP r_total Requests',
      '# TYPE r_total counter',
      'r_total{code="200"} 3',
      'r_total{code="4\\"\\\\\\n"} 1',
      '# HELP open Open',
      '# TYPE open gauge',
      'open 7',
      '# HELP t Time',
      '# TYPE t histogram',
      't_bucket{a="x",le="1"} 2',
      't_bucket{a="x",le="10"} 3',
      't_bucket{a="x",le="+Inf"} 4',
      't_sum{a="x"} 106.5',
      't_count{a="x"} 4',
      '',
    ].join('\n'),
  );
});

test('labels() folds series beyond the bound into one (CVE-2025-43915)', () => {
  const registry = new MetricsRegistry();
  const family = registry.counter({ name: 'n_total', help: 'N', labels: ['who'] });
  for (let index = 0; index < 5000; index++) family.labels(`v${index}`).inc();
  const lines = registry.expose().split('\n');
  assert.equal(lines.filter((line) => line.startsWith('n_total{')).length, 2001);
  assert.ok(lines.includes('n_total{who="other"} 3000'));
});

test('a name that is taken and a wrong number of labels are refused', () => {
  const registry = new MetricsRegistry();
  const family = registry.counter({ name: 'n', help: 'N', labels: ['a'] });
  assert.throws(() => registry.gauge({ name: 'n', help: 'N', labels: [] }), RangeError);
  assert.throws(() => family.labels(), RangeError);
});
