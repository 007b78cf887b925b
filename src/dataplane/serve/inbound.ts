// Connections to this workload: accepted, judged and passed to the application.
import type { Socket } from 'node:net';
import {
  acceptConnection,
  type AcceptOptions,
  type Admitted,
  type Served,
} from '../listener/accept.ts';
import type { Destination } from '../listener/original-dst.ts';
import type { OpenConnections } from '../state/open-connections.ts';
import type { AcceptorPool } from '../tls/acceptor-pool.ts';
import type { MeshContexts } from '../tls/credentials.ts';
import type { Address } from '../upstream/cluster.ts';
import { inboundFlow } from './flow.ts';
import { refusedRecord } from './refused.ts';
import { serveHttp } from './serve-http.ts';
import { serveTcp, tcpEdge } from './serve-tcp.ts';
import type { Traffic } from './traffic.ts';

export interface InboundOptions {
  /** Where the application listens for what comes to a port of the workload. */
  readonly appAddress: (address: Address) => Address;
  readonly traffic: Traffic;
  readonly acceptors: AcceptorPool;
  readonly terminations?: AcceptOptions['terminations'];
  readonly contexts: () => MeshContexts | undefined;
  readonly open: OpenConnections;
  readonly now: () => number;
}

export type AcceptInbound = (socket: Socket, destination: Destination) => void;

export function createInbound(options: InboundOptions): AcceptInbound {
  const { traffic } = options;
  const accept: AcceptOptions = {
    listener: () => traffic.store.inbound(),
    acceptors: options.acceptors,
    ...(options.terminations && { terminations: options.terminations }),
    contexts: options.contexts,
    open: options.open,
    now: options.now,
    serve: (admitted) => serve(admitted, options),
    onRefused: (refused) => {
      traffic.metrics.refused('inbound', refused.reasonCode);
      if (refused.verdict !== undefined) {
        traffic.metrics.decidedTcp('deny');
        traffic.edges.note(tcpEdge(refused.facts, refused.verdict));
      }
      if (refused.marks !== undefined) {
        inboundFlow(traffic, refused.facts, undefined).marked(refused.marks);
      }
      traffic.log(refusedRecord('inbound', refused));
    },
  };
  return (socket, destination) => acceptConnection(socket, destination, accept);
}

function serve(admitted: Admitted, options: InboundOptions): Served | undefined {
  const { traffic, appAddress } = options;
  const { chain, facts } = admitted;
  if (chain.http !== undefined)
    return serveHttp(admitted, chain.http, { traffic, isInbound: true });
  if (chain.tcpCluster === undefined) return undefined;
  const { destinationAddress: address, destinationPort: port } = facts.endpoints;
  const destination = appAddress({ address, port });
  return serveTcp(admitted, chain.tcpCluster, { traffic, isInbound: true, destination });
}
