// What the sidecar says of itself: whether it is ready and connected, its certificate's end, and what it refused of its configuration.
import type { MetricsRegistry } from './metrics.ts';

export function createSidecarMetrics(registry: MetricsRegistry) {
  const gauge = (name: string, help: string) => registry.gauge({ name, help, labels: [] }).labels();
  const ready = gauge('weft_ready', '1 when traffic is served');
  const connected = gauge(
    'weft_control_plane_connected',
    '1 while there is a stream to the control plane',
  );
  const expiry = gauge(
    'weft_certificate_expiration_timestamp_seconds',
    'When the certificate in use ends; 0 when there is none',
  );
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
  const interception = registry.gauge({
    name: 'weft_interception_ok',
    help: '1 while a call of its own showed that traffic passes through the sidecar',
    labels: ['direction'],
  });
  return {
    ready: (isReady: boolean) => ready.set(isReady ? 1 : 0),
    connected: (isConnected: boolean) => connected.set(isConnected ? 1 : 0),
    certificate: (notAfterMs: number | undefined) => expiry.set((notAfterMs ?? 0) / 1_000),
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
    interception: (direction: 'inbound' | 'outbound', isProven: boolean) =>
      interception.labels(direction).set(isProven ? 1 : 0),
    direct: (direction: 'inbound' | 'outbound') => direct.labels(direction).inc(),
  };
}
