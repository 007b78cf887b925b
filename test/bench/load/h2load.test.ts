import assert from 'node:assert/strict';
import { test } from 'node:test';
import { h2loadArgs, readH2loadCounts, readH2loadLog } from './h2load.ts';

const said = (requests: string, statuses: string): string =>
  `starting benchmark...\n\nfinished in 2.00s, 10.00 req/s, 1.00KB/s\nrequests: ${requests}\nstatus codes: ${statuses}\ntraffic: 1KB (1024) total\n`;

test('readH2loadCounts() counts no failure when streams are cut by the end of the time', () => {
  const output = said(
    '20 total, 36 started, 20 done, 20 succeeded, 0 failed, 0 errored, 0 timeout',
    '20 2xx, 0 3xx, 0 4xx, 0 5xx',
  );
  assert.deepEqual(readH2loadCounts(output), { failures: 0, firstFailure: undefined });
});

test('readH2loadCounts() counts what broke and what was not 2xx', () => {
  const output = said(
    '20 total, 20 started, 20 done, 15 succeeded, 2 failed, 1 errored, 0 timeout',
    '15 2xx, 0 3xx, 3 4xx, 0 5xx',
  );
  assert.deepEqual(readH2loadCounts(output), {
    failures: 6,
    firstFailure: '2 failed, 1 errored, 3 4xx',
  });
});

test('readH2loadCounts() refuses output that it does not know', () => {
  assert.throws(() => readH2loadCounts('nothing was asked'), /no line "requests"/);
  assert.throws(() => readH2loadCounts(said('20 total', '20 2xx')), /no failed/);
});

test('readH2loadLog() says how many, for how long, and quantiles', () => {
  const log = Array.from({ length: 100 }, (_, at) => `${1_000_000 + at * 10}\t200\t${at + 1}\n`);
  assert.deepEqual(readH2loadLog(log.join('')), {
    requests: 100,
    elapsedMs: 1.09,
    p50Us: 50,
    p90Us: 90,
    p99Us: 99,
  });
  assert.throws(() => readH2loadLog('nothing\n'), /Cannot read h2load's log/);
});

test('h2loadArgs() gives each connection its share of the rate', () => {
  const job = { host: '127.0.0.1', port: 1, path: '/100b', durationMs: 1_200, maxRequests: 1 };
  const args = h2loadArgs({ ...job, connections: 4, streams: 16, rate: 2_000 }, 'log');
  assert.ok(args.includes('--rps=500'));
  assert.equal(args.at(-1), 'http://127.0.0.1:1/100b');
  const free = h2loadArgs({ ...job, connections: 4 }, 'log');
  assert.ok(!free.some((arg) => arg.startsWith('--rps')));
});
