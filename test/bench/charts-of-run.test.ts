import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chartsOf } from './charts-of-run.ts';

const summary = (median: number): object => ({ median, min: median, max: median, samples: [] });

const RUN = {
  machine: { date: '2026-01-02T03:04:05.000Z', commit: 'abc', cpu: 'a CPU', cores: 2 },
  dataplane: {
    scenarios: [
      {
        scenario: { name: '10 MB down', load: { path: '/10m' } },
        byPair: { weft: { cpuUs: summary(9_000), p99Us: summary(9_000) } },
      },
      {
        scenario: { name: '100 B' },
        byPair: {
          weft: { cpuUs: summary(1), p99Us: summary(2) },
          direct: { p99Us: summary(1) },
        },
      },
    ],
  },
  memory: {
    states: [
      { state: 'idle', proxy: 'weft', dirtyMb: summary(30) },
      { state: 'idle', proxy: 'envoy', dirtyMb: summary(20) },
    ],
  },
};

test('chartsOf() draws what a run measured, and nothing of parts that were not run', () => {
  const charts = chartsOf(RUN);
  assert.deepEqual(
    charts.map(({ name }) => name),
    ['dataplane-cpu.svg', 'dataplane-bulk-cpu.svg', 'dataplane-p99.svg', 'memory.svg'],
  );
  for (const { svg } of charts) assert.ok(svg.includes('2026-01-02, commit abc, a CPU, 2 cores'));
});

test('chartsOf() draws large bodies apart from small requests, beside which these would not be seen', () => {
  const svgOf = (name: string): string =>
    chartsOf(RUN).find((chart) => chart.name === name)?.svg ?? '';
  assert.ok(svgOf('dataplane-bulk-cpu.svg').includes('10 MB down'));
  for (const name of ['dataplane-cpu.svg', 'dataplane-p99.svg']) {
    assert.ok(!svgOf(name).includes('10 MB down'), name);
  }
});

test('chartsOf() leaves out a pair that has no figure', () => {
  const [cpu] = chartsOf(RUN);
  assert.ok(cpu !== undefined && cpu.svg.includes('weft') && !cpu.svg.includes('envoy'));
});

test('chartsOf() gives nothing for a run of nothing', () => {
  assert.deepEqual(chartsOf({ machine: {} }), []);
});
