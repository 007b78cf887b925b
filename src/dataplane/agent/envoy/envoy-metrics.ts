// What an agent with an Envoy says of itself, besides what every agent does.
import type { MetricsRegistry } from '../../telemetry/metrics.ts';
import { createWorkloadMetrics } from '../../telemetry/workload-metrics.ts';

export function createEnvoyMetrics(registry: MetricsRegistry) {
  const live = registry
    .gauge({ name: 'weft_envoy_live', help: '1 while Envoy says that it is live', labels: [] })
    .labels();
  const restarts = registry
    .counter({
      name: 'weft_envoy_restarts_total',
      help: 'How often Envoy ended and was started again',
      labels: [],
    })
    .labels();
  return {
    ...createWorkloadMetrics(registry),
    live: (isLive: boolean) => live.set(isLive ? 1 : 0),
    restarted: () => restarts.inc(),
  };
}
