// Requests count under what became of each, however they alternate.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MetricsRegistry } from './metrics.ts';
import { createProxyMetrics, type Flow, type RequestOutcome } from './proxy-metrics.ts';

const FLOW: Flow = {
  reporter: 'destination',
  sourcePrincipal: 'p',
  sourceWorkload: 'w',
  sourceNamespace: 'n',
  destinationPrincipal: 'p',
  destinationWorkload: 'w',
  destinationNamespace: 'n',
  destinationService: 's',
  securityPolicy: 'mutual_tls',
};
const OK: RequestOutcome = {
  protocol: 'http',
  status: 200,
  grpcStatus: '',
  decision: 'allow',
  reasonCode: '',
  durationMs: 1,
};

test('requests are counted by outcome, also when each ends otherwise than the one before', () => {
  const registry = new MetricsRegistry();
  const flow = createProxyMetrics(registry).flow(FLOW);
  const outcomes: RequestOutcome[] = [
    OK,
    { ...OK, status: 500 },
    { ...OK, decision: 'deny' },
    { ...OK, reasonCode: 'upstream-reset' },
    { ...OK, protocol: 'grpc', grpcStatus: '0' },
    { ...OK, protocol: 'grpc', grpcStatus: '5' },
  ];
  for (const outcome of [...outcomes, ...outcomes]) {
    flow.request(outcome);
    flow.request({ ...outcome, durationMs: 2 });
  }
  const lines = registry.expose().split('\n');
  const counts = lines.filter((line) => line.startsWith('weft_requests_total{'));
  assert.equal(counts.length, outcomes.length);
  for (const line of counts) assert.ok(line.endsWith('} 4'), line);
  const decided = lines.filter((line) => line.startsWith('weft_rbac_decisions_total{'));
  assert.deepEqual(
    decided.map((line) => line.slice(line.indexOf('decision='))),
    ['decision="allow"} 20', 'decision="deny"} 4'],
  );
});
