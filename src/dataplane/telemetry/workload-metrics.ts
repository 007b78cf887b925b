// What a workload's agent says of itself, whichever proxy is beside it: whether it serves and is connected, its certificate's end, and whether traffic passes.
import type { MetricsRegistry } from './metrics.ts';

export function createWorkloadMetrics(registry: MetricsRegistry) {
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
  const interception = registry.gauge({
    name: 'weft_interception_ok',
    help: '1 while a call of its own showed that traffic passes through the sidecar',
    labels: ['direction'],
  });
  return {
    ready: (isReady: boolean) => ready.set(isReady ? 1 : 0),
    connected: (isConnected: boolean) => connected.set(isConnected ? 1 : 0),
    certificate: (notAfterMs: number | undefined) => expiry.set((notAfterMs ?? 0) / 1_000),
    interception: (direction: 'inbound' | 'outbound', isProven: boolean) =>
      interception.labels(direction).set(isProven ? 1 : 0),
  };
}
