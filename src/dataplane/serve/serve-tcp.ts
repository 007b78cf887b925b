// Serves an admitted TCP connection: opens one to the destination, joins the two, and says what became of them.
import type { Verdict } from '@weft/model/policy/evaluate';
import type { ConnectionFacts } from '../filters/connection-facts.ts';
import type { Admitted, Served } from '../listener/accept.ts';
import type { SeenRequest } from '../report/edge-counts.ts';
import type { Address } from '../upstream/cluster.ts';
import { formatHostPort } from '@weft/model/host-port';
import { refusalOf } from '../egress/refusals.ts';
import { resetConnection, resetSoon } from '../tls/reset.ts';
import { noteRefused, tunnelFor } from './outside.ts';
import { joinSockets, TCP_IDLE_TIMEOUT_MS, type TcpTunnel } from '../tcp/tcp-proxy.ts';
import { inboundFlow, outboundFlow } from './flow.ts';
import type { Traffic } from './traffic.ts';

export interface TcpServing {
  readonly traffic: Traffic;
  readonly isInbound: boolean;
  readonly destination: Address;
}

/** A connection, as summaries count it. */
export const tcpEdge = (facts: ConnectionFacts, verdict: Verdict | undefined): SeenRequest => ({
  source: facts.peerUri,
  port: facts.destinationPort,
  method: '',
  path: '',
  verdict,
});

export function serveTcp(admitted: Admitted, clusterName: string, serving: TcpServing): Served {
  const { socket, peer, verdict, marks, facts } = admitted;
  const { traffic, isInbound, destination } = serving;
  const startedAt = performance.now();
  const flow = isInbound
    ? inboundFlow(traffic, facts, clusterName)
    : outboundFlow(traffic, clusterName);
  let tunnel: TcpTunnel | undefined;
  let cutFor: string | undefined;
  const log = (upstream: string, reasonCode: string, received: number, sent: number): void => {
    if (traffic.isLogOff) return;
    traffic.log({
      direction: isInbound ? 'inbound' : 'outbound',
      protocol: 'tcp',
      source: peer?.spiffeId ?? 'plaintext',
      sourceIp: facts.endpoints.sourceAddress,
      destinationPort: facts.destinationPort,
      upstream,
      verdict,
      marks,
      reasonCode,
      bytesReceived: received,
      bytesSent: sent,
      durationMs: performance.now() - startedAt,
    });
  };
  if (verdict !== undefined && verdict.reason !== 'no-policy') traffic.metrics.decidedTcp('allow');
  if (isInbound) traffic.edges.note(tcpEdge(facts, verdict));
  if (marks !== undefined) flow.marked(marks);
  /** By a reset: what nobody has heard must not look like the clean end of an answer, and an application may die while it is connected to. */
  const fail = (reasonCode: string, upstream: string): void => {
    resetSoon(socket);
    traffic.metrics.refused(isInbound ? 'inbound' : 'outbound', reasonCode);
    log(upstream, reasonCode, 0, 0);
  };
  const outside = isInbound ? undefined : refusalOf(clusterName);
  if (outside !== undefined) {
    const { serverName } = facts.endpoints;
    const host = serverName === '' ? destination.address : serverName;
    noteRefused(traffic, { host, port: destination.port, reasonCode: outside });
    log(formatHostPort({ host, port: destination.port }), outside, 0, 0);
    resetConnection(socket);
    return { rejudge: () => undefined, drain: () => undefined, cut: () => undefined };
  }
  const cluster = tunnelFor(traffic.store.cluster(clusterName), facts, destination);
  if (cluster === undefined) fail('no-cluster', '');
  else {
    cluster.openTcp(destination, {
      onConnection: (upstream) => {
        if (socket.destroyed || cutFor !== undefined) {
          resetSoon(upstream.socket);
          upstream.done();
          log(upstream.address, cutFor ?? 'downstream-closed', 0, 0);
          return;
        }
        flow.connectionOpened();
        tunnel = joinSockets(socket, upstream.socket, { idleTimeoutMs: TCP_IDLE_TIMEOUT_MS });
        void tunnel.done.then(({ end, bytesReceived, bytesSent }) => {
          upstream.done();
          flow.connectionClosed(bytesReceived, bytesSent);
          const reasonCode = end === 'cut' ? (cutFor ?? end) : end;
          log(upstream.address, end === 'closed' ? '' : reasonCode, bytesReceived, bytesSent);
        });
      },
      onFailure: (reasonCode, address) => fail(reasonCode, address ?? ''),
    });
  }
  return {
    rejudge: (chain) => (chain.tcpCluster === clusterName ? undefined : 'chain-changed'),
    /** Nobody can ask a TCP peer to finish: it has until the limit. */
    drain: () => undefined,
    cut: (reasonCode) => {
      cutFor = reasonCode;
      if (tunnel === undefined) resetSoon(socket);
      else tunnel.cut();
    },
  };
}
