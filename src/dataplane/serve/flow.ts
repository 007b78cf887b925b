// Names the two ends of a flow for metrics, as Istio's dashboards expect them.
import { partsOf } from '@weft/model/identity';
import type { MeshPeer } from '../tls/peer.ts';
import type { FlowMetrics } from '../telemetry/proxy-metrics.ts';
import type { Traffic } from './traffic.ts';

const UNKNOWN = 'unknown';

/** Calls that came in: the caller is known by its certificate alone. */
export function inboundFlow(
  traffic: Traffic,
  peer: MeshPeer | undefined,
  cluster: string | undefined,
): FlowMetrics {
  const principal = peer?.spiffeId ?? UNKNOWN;
  return traffic.flows.get(`in ${principal} ${cluster ?? ''}`, () => {
    const caller = peer === undefined ? undefined : partsOf(peer.spiffeId);
    const own = traffic.workload();
    const { destination } = definitionOf(traffic, cluster) ?? {};
    return {
      reporter: 'destination',
      sourcePrincipal: principal,
      sourceWorkload: caller?.serviceAccount ?? UNKNOWN,
      sourceNamespace: caller?.namespace ?? UNKNOWN,
      destinationPrincipal: peer === undefined ? UNKNOWN : own.spiffeId,
      destinationWorkload: own.name,
      destinationNamespace: own.namespace,
      destinationService: destination?.service ?? UNKNOWN,
      securityPolicy: peer === undefined ? 'none' : 'mutual_tls',
    };
  });
}

/** Calls that this workload makes. */
export function outboundFlow(traffic: Traffic, cluster: string | undefined): FlowMetrics {
  return traffic.flows.get(`out ${cluster ?? ''}`, () => {
    const own = traffic.workload();
    const definition = definitionOf(traffic, cluster);
    return {
      reporter: 'source',
      sourcePrincipal: own.spiffeId,
      sourceWorkload: own.name,
      sourceNamespace: own.namespace,
      destinationPrincipal: definition?.meshTls?.peerUris[0] ?? UNKNOWN,
      destinationWorkload: definition?.destination?.name ?? UNKNOWN,
      destinationNamespace: definition?.destination?.namespace ?? UNKNOWN,
      destinationService: definition?.destination?.service ?? UNKNOWN,
      securityPolicy: definition?.meshTls === undefined ? 'none' : 'mutual_tls',
    };
  });
}

const definitionOf = (traffic: Traffic, cluster: string | undefined) =>
  cluster === undefined ? undefined : traffic.store.clusterDefinition(cluster);
