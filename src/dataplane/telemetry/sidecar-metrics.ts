// What the sidecar says of itself: what every agent does, what it took and refused of its configuration, and what it had to leave out or try again.
import type { MetricsRegistry } from './metrics.ts';
import { createWorkloadMetrics } from './workload-metrics.ts';

export function createSidecarMetrics(registry: MetricsRegistry) {
  const responses = registry.counter({
    name: 'weft_xds_responses_total',
    help: 'Configuration that was taken or refused',
    labels: ['type', 'result'],
  });
  const open = registry.gauge({
    name: 'weft_open_connections',
    help: 'Connections that are open now',
    labels: ['direction'],
  });
  const ejections = registry
    .counter({
      name: 'weft_endpoint_ejections_total',
      help: 'Endpoints left out because they kept failing',
      labels: [],
    })
    .labels();
  const overflows = registry.counter({
    name: 'weft_upstream_overflows_total',
    help: 'Requests and connections beyond what a destination is asked to do at once, by the limit: cx, pending, rq; and copies that were left out: mirror',
    labels: ['cluster', 'limit'],
  });
  const retries = registry.counter({
    name: 'weft_upstream_retries_total',
    help: 'Requests sent again, and those that the retry budget forbade to be',
    labels: ['cluster', 'result'],
  });
  const direct = registry.counter({
    name: 'weft_direct_connections_refused_total',
    help: 'Connections to the ports of interception that nobody redirected',
    labels: ['direction'],
  });
  return {
    ...createWorkloadMetrics(registry),
    response: (type: string, isAccepted: boolean) =>
      responses.labels(type, isAccepted ? 'accepted' : 'refused').inc(),
    open(inbound: number, outbound: number) {
      open.labels('inbound').set(inbound);
      open.labels('outbound').set(outbound);
    },
    ejected: () => ejections.inc(),
    overflow: (cluster: string, limit: string) => overflows.labels(cluster, limit).inc(),
    retry: (cluster: string, isAllowed: boolean) =>
      retries.labels(cluster, isAllowed ? 'sent' : 'over_budget').inc(),
    direct: (direction: 'inbound' | 'outbound') => direct.labels(direction).inc(),
  };
}
