// Counts what becomes of calls of the Workload API: streams that are open, what was handed over, and what was refused.
import type { MetricsRegistry } from '../telemetry/metrics.ts';

export type Handed = 'x509-svid' | 'x509-bundles' | 'jwt-svid' | 'jwt-bundles';
export type ApiRefusal =
  | 'not-attested'
  | 'no-security-header'
  | 'bad-request'
  | 'not-served'
  | 'too-many'
  | 'no-identity'
  | 'control-plane';

export type WorkloadApiMetrics = ReturnType<typeof createWorkloadApiMetrics>;

export function createWorkloadApiMetrics(registry: MetricsRegistry) {
  const handed = registry.counter({
    name: 'weft_workload_api_handed_over_total',
    help: 'Answers of the Workload API, by what is in them',
    labels: ['what'],
  });
  const refused = registry.counter({
    name: 'weft_workload_api_refused_total',
    help: 'Calls of the Workload API that were refused',
    labels: ['reason'],
  });
  const open = registry
    .gauge({ name: 'weft_workload_api_calls', help: 'Calls that are open now', labels: [] })
    .labels();
  return {
    handed: (what: Handed) => handed.labels(what).inc(),
    refused: (reason: ApiRefusal) => refused.labels(reason).inc(),
    open: (count: number) => open.set(count),
  };
}
