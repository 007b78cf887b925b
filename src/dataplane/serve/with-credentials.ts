// Gives a request that the workload sends the credentials of where it goes, and keeps it from going anywhere else with them.
import type { HttpDecision } from '../filters/http-filters.ts';
import type { Http1Upstream } from '../http/h1-contract.ts';
import type { Http2Upstream } from '../http2/http2-contract.ts';
import type { ClusterRuntime } from '../upstream/cluster.ts';
import { isNamed, isSecured } from '../upstream/secured.ts';
import type { Traffic } from './traffic.ts';

interface Outbound {
  readonly traffic: Traffic;
  readonly isInbound: boolean;
}

/** The decision as it is for nearly every request: nothing is injected. */
export function withCredentials(
  decision: HttpDecision,
  { traffic, isInbound }: Outbound,
): HttpDecision {
  const injections = traffic.credentials?.injections;
  if (injections === undefined || isInbound || decision.kind === 'respond') return decision;
  const cluster = traffic.store.cluster(decision.route.cluster);
  if (cluster === undefined) return decision;
  return injections.applyTo(decision, {
    isNamed: () => isNamed(cluster.definition),
    isSecured: () => isSecured(cluster.definition, cluster.endpoints),
  });
}

type Runtime = Pick<ClusterRuntime, 'definition' | 'endpoints' | 'http1' | 'http2'>;

const isStill = ({ definition, endpoints }: Runtime): boolean => isSecured(definition, endpoints);
const NOTHING: Disposable = { [Symbol.dispose]: () => undefined };

/** Looks again at each try: an endpoint without TLS may have come since it was decided. */
export const securedHttp1 = (cluster: Runtime): Http1Upstream => ({
  connectRetries: cluster.http1.connectRetries,
  acquire(want, handlers) {
    if (isStill(cluster)) return cluster.http1.acquire(want, handlers);
    handlers.onFailure('credential-needs-tls', undefined);
    return NOTHING;
  },
});

export const securedHttp2 = (cluster: Runtime): Http2Upstream => ({
  connectRetries: cluster.http2.connectRetries,
  pick: (want) => (isStill(cluster) ? cluster.http2.pick(want) : undefined),
  report: (sessions, status) => cluster.http2.report(sessions, status),
});
