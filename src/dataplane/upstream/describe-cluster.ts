// Says for people what a cluster's endpoints are doing.
import type { ClusterRuntime } from './cluster.ts';

export function describeCluster(cluster: ClusterRuntime): object {
  return {
    name: cluster.name,
    endpoints: cluster.endpoints.map((endpoint) => ({
      address: endpoint.key,
      health: endpoint.definition.health,
      tls: endpoint.definition.tlsMode,
      identity: endpoint.definition.identity,
      inFlight: endpoint.load,
      idleConnections: endpoint.idle.length,
      ejected: endpoint.ejectedUntil > 0,
      failures: endpoint.failures,
    })),
  };
}
