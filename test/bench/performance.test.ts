import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { BUDGETS } from './budgets.ts';
import { PARTS } from './parts.ts';
import { performanceDocument } from './performance.ts';

const summary = (median: number): object => ({
  median,
  min: median,
  max: median,
  samples: [median],
});
const figures = (cpuUs: number, p99Us = 1): object => ({
  cpuUs: summary(cpuUs),
  perSecond: summary(1_000),
  p50Us: summary(1),
  p90Us: summary(1),
  p99Us: summary(p99Us),
});
const runOf = (date: string, cpuUs: number, more: object = {}): PlainObject => ({
  machine: { date, commit: 'abc', cpu: 'a|CPU', cores: 2, loadAverage: 7.25 },
  dataplane: {
    rounds: 3,
    peers: ['Envoy 1'],
    drivers: [],
    leftOut: ['haproxy: there is none'],
    verified: [{ pair: 'weft', mesh: 'two policies', tls: 'TLSv1.3', checks: ['it is so'] }],
    memory: [],
    scenarios: [
      {
        scenario: { name: '100 B, 32 connections' },
        driver: 'generator',
        byPair: { weft: figures(cpuUs, 3), envoy: figures(100, 2), direct: {} },
      },
    ],
    ...more,
  },
});
const draw = (...runs: readonly PlainObject[]): string => performanceDocument(runs, PARTS);

test('performanceDocument() says which budgets are met, missed, and not measured', () => {
  const text = draw(runOf('2026-01-01', 50));
  const row = (word: string): string => text.split('\n').find((line) => line.includes(word)) ?? '';
  assert.match(row('100-byte answer'), /Envoy: 0\.50× \(0\.50–0\.50\) \| met \| 7\.3 \|/);
  assert.match(row('latency p50 and p99'), /32, p99: 1\.50×[^|]*\*\*missed\*\* \| missed/);
  assert.match(row('10 MB bodies'), /not measured yet/);
  assert.match(draw(runOf('2026-01-01', 51)), /Envoy: 0\.51×[^|]*\*\*missed\*\* \| missed/);
});

test('performanceDocument() says machine, commit, load, peers and what was left out, and verified', () => {
  const text = draw(runOf('2026-01-01T10:20:30Z', 50));
  for (const words of [
    '2026-01-01T10:20 | abc | 7.3 | a\\|CPU',
    'left out: haproxy: there is none',
  ]) {
    assert.ok(text.includes(words), words);
  }
  assert.ok(text.includes('verified weft, two policies: TLSv1.3; it is so'));
  assert.ok(text.includes('| 100 B, 32 connections | 50.0 (50.0–50.0) | 100 (100–100) |'));
});

test('performanceDocument() takes the newest run of a part, in whatever order they come', () => {
  const [old, young] = [runOf('2026-01-01', 90), runOf('2026-02-01', 40)];
  assert.equal(draw(old, young), draw(young, old));
  assert.ok(draw(old, young).includes('**0.40×**'));
});

test('performanceDocument() refuses a run that ended before its end', () => {
  const failed = runOf('2026-01-01', 50, { failure: 'a request failed' });
  assert.throws(() => draw(failed), /a request failed/);
});

test('budgets are none without runs', () => {
  for (const { measured, what } of BUDGETS) assert.deepEqual(measured({}), [], what);
});

test('docs/performance.md is what the kept runs give', () => {
  const folder = new URL('../../docs/performance/', import.meta.url);
  const runs = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name): unknown => JSON.parse(readFileSync(new URL(name, folder), 'utf8')))
    .filter(isPlainObject);
  const kept = readFileSync(new URL('../../docs/performance.md', import.meta.url), 'utf8');
  assert.equal(kept, draw(...runs), 'draw it by npm run bench:performance');
});
