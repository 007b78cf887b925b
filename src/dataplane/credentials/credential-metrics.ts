// Counts what becomes of credentials: how many are held, how they were handed over, and what was refused.
import type { MetricsRegistry } from '../telemetry/metrics.ts';
import type { Way } from './credential.ts';

export type RefusalReason =
  | 'not-attested'
  | 'not-granted'
  | 'way-not-granted'
  | 'bad-request'
  | 'too-many'
  | 'unreadable'
  /** A newer control plane says something of it that is not known here. */
  | 'unknown-field'
  | 'needs-tls'
  | 'unusable'
  /** A copy of a request with a credential was not sent. */
  | 'mirrored';

export type CredentialMetrics = ReturnType<typeof createCredentialMetrics>;

export function createCredentialMetrics(registry: MetricsRegistry) {
  const held = registry
    .gauge({ name: 'weft_credentials_held', help: 'Credentials that are granted now', labels: [] })
    .labels();
  const handedOver = registry.counter({
    name: 'weft_credentials_handed_over_total',
    help: 'Credentials that were handed on, by way',
    labels: ['way'],
  });
  const refused = registry.counter({
    name: 'weft_credentials_refused_total',
    help: 'Requests for credentials that were refused, and credentials that could not be used',
    labels: ['reason'],
  });
  const failures = registry.counter({
    name: 'weft_credentials_delivery_failures_total',
    help: 'Deliveries that failed: files that could not be written, commands and signals that could not be carried out',
    labels: ['what'],
  });
  const byWay = {
    injected: handedOver.labels('injected'),
    url: handedOver.labels('url'),
    files: handedOver.labels('files'),
  };
  return {
    held: (count: number) => held.set(count),
    /** To be counted with. */
    handedOver: (way: Way) => byWay[way],
    refused: (reason: RefusalReason) => refused.labels(reason).inc(),
    failed: (what: 'files' | 'command' | 'signal') => failures.labels(what).inc(),
  };
}
