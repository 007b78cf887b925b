// Names the two ends of a flow for metrics, as Istio's dashboards expect them.
import { isDnsSubdomain, partsOf } from '@weft/model/identity';
import { MESH_SERVER_NAMES } from '@weft/xds/resources/listener';
import type { ConnectionFacts } from '../filters/connection-facts.ts';
import type { FlowMetrics } from '../telemetry/proxy-metrics.ts';
import type { Traffic } from './traffic.ts';

const UNKNOWN = 'unknown';

/** Calls that came in: the caller is known by its certificate alone. */
export function inboundFlow(
  traffic: Traffic,
  facts: ConnectionFacts,
  cluster: string | undefined,
): FlowMetrics {
  const { peer, serverName } = facts;
  const principal = peer?.spiffeId ?? UNKNOWN;
  return traffic.flows.get(`in ${principal} ${cluster ?? ''} ${serverName}`, () => {
    const caller = peer === undefined ? undefined : partsOf(peer.spiffeId);
    const own = traffic.workload();
    const service = peer === undefined ? undefined : calledService(serverName, own.namespace);
    return {
      reporter: 'destination',
      sourcePrincipal: principal,
      sourceWorkload: caller?.serviceAccount ?? UNKNOWN,
      sourceNamespace: caller?.namespace ?? UNKNOWN,
      destinationPrincipal: peer === undefined ? UNKNOWN : (own.spiffeId ?? UNKNOWN),
      destinationWorkload: own.name,
      destinationNamespace: own.namespace,
      destinationService: service ?? UNKNOWN,
      securityPolicy: peer === undefined ? 'none' : 'mutual_tls',
    };
  });
}

/**
 * The Service that the caller's sidecar named by SNI, `outbound_.80_._.web.shop.svc.cluster.local`, or a program without
 * one, `web.shop.svc.cluster.local.mesh.weft.dev`. It is the caller's word: only names of this workload's namespace are
 * taken, and only for telemetry.
 */
function calledService(serverName: string, namespace: string): string | undefined {
  const isOfMesh = serverName.endsWith(MESH_SERVER_NAMES);
  const named = isOfMesh ? serverName.slice(0, -MESH_SERVER_NAMES.length) : serverName;
  const at = named.startsWith('outbound_.') ? named.indexOf('_._.') : -1;
  if (at === -1 && !isOfMesh) return undefined;
  const host = at === -1 ? named : named.slice(at + '_._.'.length);
  return host.includes(`.${namespace}.svc.`) && isDnsSubdomain(host) ? host : undefined;
}

/** Calls that this workload makes. */
export function outboundFlow(traffic: Traffic, cluster: string | undefined): FlowMetrics {
  return traffic.flows.get(`out ${cluster ?? ''}`, () => {
    const own = traffic.workload();
    const definition = definitionOf(traffic, cluster);
    return {
      reporter: 'source',
      sourcePrincipal: own.spiffeId ?? UNKNOWN,
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
