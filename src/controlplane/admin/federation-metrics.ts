// What is counted of federation, for Prometheus; nothing at all where there is none.
import { Gauge, type Registry } from 'prom-client';
import type { FederationScrape } from '../federation/federation-part.ts';

/** @returns sets the gauges; they are made when there is something to tell. */
export function addFederationMetrics(registry: Registry): (now: FederationScrape) => void {
  let set: ((now: FederationScrape) => void) | undefined;
  return (now) => {
    if (set === undefined && now.total === 0 && now.answers.size === 0) return;
    set ??= createGauges(registry);
    set(now);
  };
}

function createGauges(registry: Registry): (now: FederationScrape) => void {
  const gauge = (name: string, help: string, labelNames: readonly string[] = []): Gauge =>
    new Gauge({
      name: `weft_federation_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [registry],
    });
  const total = gauge('trust_domains', 'Trust domains that are federated with');
  const inForce = gauge('trust_domains_believed', 'Those of them whose keys are believed now');
  const age = gauge('bundle_age_seconds', 'Since the last good fetch', ['trust_domain']);
  const fetches = gauge('fetches', 'Fetches since the start, by result', ['result']);
  const answers = gauge('endpoint_answers', 'Answers of our own endpoint, by status', ['status']);
  return (now) => {
    total.set(now.total);
    inForce.set(now.inForce);
    age.reset();
    for (const [name, seconds] of now.ageSecondsByTrustDomain) {
      age.set({ trust_domain: name }, seconds);
    }
    fetches.set({ result: 'good' }, now.fetches.good);
    fetches.set({ result: 'failed' }, now.fetches.failed);
    for (const [status, count] of now.answers) answers.set({ status: String(status) }, count);
  };
}
