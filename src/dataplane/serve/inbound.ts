// Connections to this workload: accepted, judged and passed to the application.
import type { Socket } from 'node:net';
import {
  acceptConnection,
  type AcceptOptions,
  type Admitted,
  plainAddress,
  type Refused,
  type Served,
} from '../listener/accept.ts';
import type { Destination } from '../listener/original-dst.ts';
import type { OpenConnections } from '../state/open-connections.ts';
import type { AcceptorPool } from '../tls/acceptor-pool.ts';
import type { MeshContexts } from '../tls/credentials.ts';
import type { Address } from '../upstream/cluster.ts';
import { acceptUnlessFlood } from '../traffic/flood-connections.ts';
import type { FloodGuard } from '../traffic/flood-guard.ts';
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
    serve: (admitted) => watched(admitted, serve(admitted, options), traffic),
    onRefused: (refused) => {
      traffic.metrics.refused('inbound', refused.reasonCode);
      noteHandshake(traffic, refused);
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
  return (socket, destination) => {
    const floods = traffic.store.inbound()?.floods;
    const accepted = (): void => acceptConnection(socket, destination, accept);
    if (floods === undefined) accepted();
    else guard(floods, { socket, destination, accept: accepted, traffic });
  };
}

/** Of a client that has begun to do too much. */
const FLOOD_RECORD = {
  direction: 'inbound',
  protocol: 'tcp',
  source: '',
  upstream: '',
  verdict: undefined,
  marks: undefined,
  nearest: undefined,
  bytesReceived: 0,
  bytesSent: 0,
  durationMs: 0,
} as const;

/** Where clients that do too much are noticed: before anything is read from them. */
function guard(
  floods: FloodGuard,
  of: {
    readonly socket: Socket;
    readonly destination: Destination;
    readonly accept: () => void;
    readonly traffic: Traffic;
  },
): void {
  const { socket, destination, accept, traffic } = of;
  const ends = {
    sourceAddress: plainAddress(socket.remoteAddress),
    destinationAddress: destination.address,
  };
  floods.onFlood = ({ event, action }, { sourceAddress: sourceIp }) => {
    traffic.metrics.flooded(event, action);
    traffic.log({
      ...FLOOD_RECORD,
      sourceIp,
      destinationPort: destination.port,
      reasonCode: `flood-${event}`,
    });
  };
  const refuse = (): void => traffic.metrics.refused('inbound', 'flood');
  acceptUnlessFlood(floods, { socket, ends }, { accept, refuse });
}

/** A connection that never came to a request: its client counts for it. */
function noteHandshake(traffic: Traffic, { facts, verdict }: Refused): void {
  const floods = traffic.store.inbound()?.floods;
  if (floods === undefined || verdict !== undefined) return;
  const flood = floods.note(facts.endpoints, 'handshakes');
  if (flood?.isNew === true) floods.onFlood(flood, facts.endpoints);
}

function watched(
  { socket, facts }: Admitted,
  served: Served | undefined,
  traffic: Traffic,
): Served | undefined {
  const floods = traffic.store.inbound()?.floods;
  if (floods !== undefined && served !== undefined) {
    floods.watch(socket, facts.endpoints, () => served.cut('flood'));
  }
  return served;
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
