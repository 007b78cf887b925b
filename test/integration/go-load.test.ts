import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { splitAddress } from '../support/lab-clients.ts';
import { GO_DRIVERS, goJobOf, goResultOf, startGoApp } from '../bench/load/go-load.ts';
import type { LoadJob, LoadResult } from '../bench/load/job.ts';

const JOB: LoadJob = {
  host: '127.0.0.1',
  port: 1,
  path: '/100b',
  connections: 2,
  /** Long enough to be connected where everything else is busy. */
  durationMs: 300,
  maxRequests: 1_000,
};
const TLS = { keyPem: 'k', chainPem: 'c', bundlePem: 'b', serverId: 'spiffe://a/b' };
const SAID = { requests: 3, failures: 0, elapsedMs: 7, p50Us: 1, p90Us: 2, p99Us: 3, resumed: 0 };

test('goJobOf() asks for what the scenario says, and resumes only when it says so', () => {
  const ping = goJobOf('tcp', { ...JOB, more: { kind: 'tcp-ping', bytes: 100 } });
  assert.deepEqual([ping['kind'], ping['bytes'], ping['tls']], ['tcp-ping', 100, undefined]);
  assert.deepEqual(goJobOf('connections', { ...JOB, tls: TLS })['tls'], {
    ...TLS,
    alpn: 'http/1.1',
    isResumed: false,
  });
  const resumed = goJobOf('connections', { ...JOB, tls: TLS, more: { resumed: 1 } })['tls'];
  assert.deepEqual(resumed, { ...TLS, alpn: 'http/1.1', isResumed: true });
});

test('goResultOf() counts bulk transfers in MB and everything else as it comes', () => {
  const bulk = { ...JOB, more: { kind: 'tcp-down', bytes: 100_000_000, unit: 'MB' } };
  assert.equal(goResultOf(bulk, SAID).requests, 300);
  assert.equal(goResultOf(JOB, SAID).requests, 3);
  assert.throws(() => goResultOf(JOB, { ...SAID, failures: undefined }), /Cannot read failures/);
});

const hasGo = (): boolean => {
  try {
    execFileSync('go', ['version']);
    return true;
  } catch {
    return false;
  }
};

test('the Go program serves what it loads, counts each, and tells what broke', {
  skip: !hasGo() && 'there is no Go',
}, async () => {
  await using stack = new AsyncDisposableStack();
  const run = async (name: 'grpc' | 'tcp', more: LoadJob['more'], port?: number) => {
    const started = await startGoApp(name);
    assert.ok(started.ok);
    const { address } = stack.use(started.app);
    const kind = GO_DRIVERS.find((one) => one.name === name);
    const load = await kind?.start();
    assert.ok(load?.ok);
    const to = { ...splitAddress(address), ...(port !== undefined && { port }) };
    return stack.use(load.driver).run({ ...JOB, ...to, streams: 2, ...(more && { more }) });
  };
  const isFine = ({ requests, failures, p50Us, p90Us, p99Us }: LoadResult): boolean =>
    requests > 0 && failures === 0 && p50Us > 0 && p50Us <= p90Us && p90Us <= p99Us;
  for (const kind of ['grpc-unary', 'grpc-server-stream', 'grpc-bidi']) {
    const result = await run('grpc', { kind, bytes: 1_024 });
    assert.ok(isFine(result), `${kind}: ${JSON.stringify(result)}`);
  }
  for (const kind of ['tcp-ping', 'tcp-down', 'tcp-up']) {
    const result = await run('tcp', { kind, bytes: 10_000 });
    assert.ok(isFine(result), `${kind}: ${JSON.stringify(result)}`);
  }
  // Nobody is there.
  for (const [name, kind] of [['grpc', 'grpc-unary'] as const, ['tcp', 'tcp-ping'] as const]) {
    const { requests, failures, firstFailure } = await run(name, { kind, bytes: 100 }, 1);
    assert.deepEqual([requests, failures > 0], [0, true]);
    assert.match(firstFailure ?? '', /refused/);
  }
});
