// Where a request's upstream is: its cluster, where the client was going, or nowhere, which is told, counted and reported.
import { isDnsSubdomain } from '@weft/model/identity';
import type { ConnectionFacts, RequestHead } from '../filters/connection-facts.ts';
import type { Forward, HttpDecision } from '../filters/http-filters.ts';
import { refusalOf, type RefusedOutside } from '../egress/refusals.ts';
import type { Address, ClusterRuntime } from '../upstream/cluster.ts';
import type { Traffic } from './traffic.ts';

interface Outside {
  readonly traffic: Traffic;
  /** Where the client was going. */
  readonly destination?: Address;
}

interface Told {
  readonly kind: 'respond';
  readonly status: number;
  readonly body: string;
  readonly reasonCode: string;
  readonly headers: readonly string[];
}

const told = (status: number, reasonCode: string, requestId: string): Told => ({
  kind: 'respond',
  status,
  body: `${reasonCode}\n`,
  reasonCode,
  headers: ['x-request-id', requestId],
});

/** @returns what to answer where there is none. */
export function upstreamFor(
  { route, requestId }: Forward,
  outside: Outside,
  head: RequestHead,
): ClusterRuntime | Told {
  const { traffic, destination } = outside;
  const reasonCode = refusalOf(route.cluster);
  if (reasonCode !== undefined) {
    noteRefused(traffic, { host: hostOf(head.authority), port: portOf(outside, head), reasonCode });
    return told(502, reasonCode, requestId);
  }
  const cluster = traffic.store.cluster(route.cluster);
  if (cluster === undefined) return told(503, 'no-cluster', requestId);
  const { definition } = cluster;
  const isDirect = definition.discovery.kind === 'originalDst' && destination !== undefined;
  return isDirect ? cluster.targets.towards(definition, destination) : cluster;
}

export function noteRefused({ metrics, edges }: Traffic, refused: RefusedOutside): void {
  metrics.refused('outbound', refused.reasonCode);
  edges.refusals.note(refused);
}

/** Without its port. */
export function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(':');
  return colon === -1 || authority.endsWith(']') ? authority : authority.slice(0, colon);
}

const HTTP_PORT = 80;

function portOf({ destination }: Outside, { authority }: RequestHead): number {
  if (destination !== undefined) return destination.port;
  const port = Number(authority.slice(hostOf(authority).length + 1));
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : HTTP_PORT;
}

/** Acts once the name of the upstream is resolved; mostly it is, and nothing is waited for. */
export function onceResolved<Action>(
  decision: HttpDecision,
  { traffic }: Outside,
  act: () => Action,
): Action | Promise<Action> {
  if (decision.kind === 'respond') return act();
  const waiting = traffic.store.cluster(decision.route.cluster)?.ready();
  return waiting === undefined ? act() : waiting.then(act);
}

/** Of a cluster that resolves server names, the one of the name that was asked for; no name, no cluster. */
export function tunnelFor(
  cluster: ClusterRuntime | undefined,
  { endpoints: { serverName } }: ConnectionFacts,
  { port }: Address,
): ClusterRuntime | undefined {
  if (cluster === undefined) return undefined;
  const { definition } = cluster;
  const { discovery } = definition;
  if (discovery.kind !== 'originalDst' || discovery.byServerName === undefined) return cluster;
  if (!isDnsSubdomain(serverName)) return undefined;
  const host = { kind: 'dns', host: serverName, port, ...discovery.byServerName } as const;
  return cluster.targets.named(definition, host);
}
