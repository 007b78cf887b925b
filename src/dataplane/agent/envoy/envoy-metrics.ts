// What an agent with an Envoy says of itself, by the names that Weft's sidecar has for the same.
import type { MetricsRegistry } from '../../telemetry/metrics.ts';

export function createEnvoyMetrics(registry: MetricsRegistry) {
  const gauge = (name: string, help: string) => registry.gauge({ name, help, labels: [] }).labels();
  const ready = gauge('weft_ready', '1 when traffic is served');
  const expiry = gauge(
    'weft_certificate_expiration_timestamp_seconds',
    'When the certificate in use ends; 0 when there is none',
  );
  const live = gauge('weft_envoy_live', '1 while Envoy says that it is live');
  const connected = gauge(
    'weft_control_plane_connected',
    '1 while there is a stream to the control plane',
  );
  const restarts = registry
    .counter({
      name: 'weft_envoy_restarts_total',
      help: 'How often Envoy ended and was started again',
      labels: [],
    })
    .labels();
  const interception = registry.gauge({
    name: 'weft_interception_ok',
    help: '1 while a call of its own showed that traffic passes through the sidecar',
    labels: ['direction'],
  });
  return {
    ready: (isReady: boolean) => ready.set(isReady ? 1 : 0),
    live: (isLive: boolean) => live.set(isLive ? 1 : 0),
    connected: (isConnected: boolean) => connected.set(isConnected ? 1 : 0),
    certificate: (notAfterMs: number | undefined) => expiry.set((notAfterMs ?? 0) / 1_000),
    restarted: () => restarts.inc(),
    interception: (direction: 'inbound' | 'outbound', isProven: boolean) =>
      interception.labels(direction).set(isProven ? 1 : 0),
  };
}
