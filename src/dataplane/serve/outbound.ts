// Connections that this workload makes: the destination is subscribed to when it is first called, then served.
import type { Socket } from 'node:net';
import { acceptConnection, type Admitted, type Served } from '../listener/accept.ts';
import type { Destination } from '../listener/original-dst.ts';
import { ConnectionFacts } from '../filters/connection-facts.ts';
import type { OpenConnection, OpenConnections } from '../state/open-connections.ts';
import { AcceptorPool } from '../tls/acceptor-pool.ts';
import { refusedRecord } from './refused.ts';
import { serveHttp } from './serve-http.ts';
import { serveTcp } from './serve-tcp.ts';
import type { Traffic } from './traffic.ts';

export interface OutboundOptions {
  readonly traffic: Traffic;
  readonly open: OpenConnections;
  readonly now: () => number;
  /** Whether a listener is of hosts outside: of those open connections are judged again when it changes. */
  readonly isOutside: (name: string) => boolean;
}

/** 5 s: a first call waits for its configuration no longer than clients wait to connect. */
export const DEMAND_TIMEOUT_MS = 5_000;
/** What holds for destinations that the mesh does not know; absent where such calls are refused. */
export const FALLBACK_LISTENER = 'virtualOutbound';

/** The listener's name for a destination by address. */
export const addressName = ({ address, port }: Destination): string => `${address}_${port}`;

/**
 * @param name the listener of the destination.
 * @param destination where the application was going.
 * @param fallback the listener for destinations that the control plane does not know.
 */
export type AcceptOutbound = (
  socket: Socket,
  name: string,
  destination: Destination,
  fallback?: string,
) => void;

export function createOutbound(options: OutboundOptions): AcceptOutbound {
  const { traffic, open, now } = options;
  /** Outbound listeners never terminate TLS: there are no acceptors to choose from. */
  const acceptors = new AcceptorPool();
  const refuse = (socket: Socket, destination: Destination, reasonCode: string): void => {
    const facts = factsOf(socket, destination);
    socket.destroy();
    traffic.metrics.refused('outbound', reasonCode);
    traffic.log(refusedRecord('outbound', { reasonCode, detail: '', facts, verdict: undefined }));
  };
  const serve = (socket: Socket, name: string, destination: Destination): void => {
    const isOutside = options.isOutside(name);
    acceptConnection(socket, destination, {
      listener: () => (isOutside ? traffic.store.held(name) : traffic.store.destination(name)),
      acceptors,
      contexts: () => undefined,
      open: isOutside ? open : withoutJudgement(open),
      now,
      serve: (admitted) => serveAdmitted(traffic, admitted, destination),
      onRefused: (refused) => {
        traffic.metrics.refused('outbound', refused.reasonCode);
        traffic.log(refusedRecord('outbound', refused));
      },
    });
  };
  const demand = async (
    socket: Socket,
    name: string,
    destination: Destination,
    fallback: string | undefined,
  ): Promise<void> => {
    const state = await traffic.store.demand(name, AbortSignal.timeout(DEMAND_TIMEOUT_MS));
    if (socket.destroyed) return;
    if (state === 'ready') serve(socket, name, destination);
    else if (state === 'pending') refuse(socket, destination, 'no-configuration');
    else if (fallback === undefined && options.isOutside(name)) {
      const host = name.slice(name.indexOf('||') + 2);
      const reasonCode = 'egress-not-registered';
      traffic.edges.refusals.note({ host, port: destination.port, reasonCode });
      refuse(socket, destination, reasonCode);
    } else if (fallback === undefined) refuse(socket, destination, 'unknown-destination');
    else await demand(socket, fallback, destination, undefined);
  };
  return (socket, name, destination, fallback) => {
    if (traffic.store.destination(name) !== undefined) serve(socket, name, destination);
    else void demand(socket, name, destination, fallback);
  };
}

/** Where a call within the mesh leads is no question of what it may: an open connection outlives its destination's name. */
function withoutJudgement(open: OpenConnections): Pick<OpenConnections, 'add' | 'delete'> {
  const kept = new WeakMap<OpenConnection, OpenConnection>();
  return {
    add(connection) {
      const unjudged: OpenConnection = {
        rejudge: () => undefined,
        cut: (reasonCode) => connection.cut(reasonCode),
        drain: () => connection.drain(),
      };
      kept.set(connection, unjudged);
      open.add(unjudged);
    },
    delete: (connection) => open.delete(kept.get(connection) ?? connection),
  };
}

function serveAdmitted(
  traffic: Traffic,
  admitted: Admitted,
  destination: Destination,
): Served | undefined {
  const { chain } = admitted;
  if (chain.http !== undefined) {
    return serveHttp(admitted, chain.http, { traffic, isInbound: false, destination });
  }
  if (chain.tcpCluster === undefined) return undefined;
  return serveTcp(admitted, chain.tcpCluster, { traffic, isInbound: false, destination });
}

function factsOf(socket: Socket, destination: Destination): ConnectionFacts {
  return new ConnectionFacts(
    {
      sourceAddress: socket.remoteAddress ?? '',
      sourcePort: socket.remotePort ?? 0,
      destinationAddress: destination.address,
      destinationPort: destination.port,
      serverName: '',
    },
    undefined,
  );
}
