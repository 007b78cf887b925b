// Opens every port that traffic comes to, and says which acceptor gets what arrives there.
import { formatHostPort } from '@weft/model/host-port';
import type { Socket } from 'node:net';
import { loadOriginalDst, type Destination } from '../listener/original-dst.ts';
import type { SidecarOptions } from '../options.ts';
import type { AcceptInbound } from './inbound.ts';
import { type AcceptOutbound, addressName, FALLBACK_LISTENER } from './outbound.ts';
import { type ListenAddress, openSocketServer, type SocketServer } from './socket-server.ts';

export interface Acceptors {
  readonly inbound: AcceptInbound;
  readonly outbound: AcceptOutbound;
  readonly forward: (socket: Socket) => void;
  /** Takes what is no traffic of the workload: proofs of interception, and probes that came by it. @returns whether it did. */
  readonly intercepted: (
    direction: 'inbound' | 'outbound',
    socket: Socket,
    destination: Destination,
  ) => boolean;
  /** A connection to a port of interception that nobody redirected. */
  readonly onDirect: (direction: 'inbound' | 'outbound') => void;
}

export interface TrafficAddresses {
  /** By the workload's port; `*` for redirected connections. */
  readonly inbound: Readonly<Record<string, string>>;
  /** By `HOST:PORT` of the service; `*` for redirected connections. */
  readonly outbound: Readonly<Record<string, string>>;
  readonly outboundHttp?: string;
}

type PortOptions = Pick<
  SidecarOptions,
  'podIp' | 'inbound' | 'outbound' | 'outboundHttp' | 'transparent'
>;

export class TrafficPorts implements AsyncDisposable {
  readonly #inbound: SocketServer[] = [];
  readonly #outbound: SocketServer[] = [];

  /** @throws Error naming the address and the cure when one cannot be bound; those that could stay until disposal. */
  async open(options: PortOptions, acceptors: Acceptors): Promise<TrafficAddresses> {
    const inbound: Record<string, string> = {};
    for (const { port, listen = { host: options.podIp, port } } of options.inbound) {
      const destination = { address: options.podIp, port };
      inbound[String(port)] = await this.#listen(this.#inbound, listen, (socket) =>
        acceptors.inbound(socket, destination),
      );
    }
    const outbound: Record<string, string> = {};
    for (const { listen, host, port } of options.outbound) {
      const destination = { address: listen.host, port };
      outbound[`${host}:${port}`] = await this.#listen(this.#outbound, listen, (socket) =>
        acceptors.outbound(socket, `outbound|${port}||${host}`, destination),
      );
    }
    const { outboundHttp: forward, transparent } = options;
    const outboundHttp =
      forward && (await this.#listen(this.#outbound, forward, acceptors.forward));
    if (transparent !== undefined) {
      const redirected = await this.#openRedirected(transparent, acceptors);
      inbound['*'] = redirected.inbound;
      outbound['*'] = redirected.outbound;
    }
    return { inbound, outbound, ...(outboundHttp !== undefined && { outboundHttp }) };
  }

  async #openRedirected(
    transparent: NonNullable<SidecarOptions['transparent']>,
    acceptors: Acceptors,
  ): Promise<{ readonly inbound: string; readonly outbound: string }> {
    const originalDst = await loadOriginalDst();
    /** Nobody redirected it: it was made to the port itself, and would only come back to it. */
    const refuse = (socket: Socket, direction: 'inbound' | 'outbound'): void => {
      socket.destroy();
      acceptors.onDirect(direction);
    };
    return {
      inbound: await this.#listen(this.#inbound, transparent.inbound, (socket) => {
        const destination = originalDst(socket);
        if (!isRedirected(socket, destination)) refuse(socket, 'inbound');
        else if (!acceptors.intercepted('inbound', socket, destination)) {
          acceptors.inbound(socket, destination);
        }
      }),
      outbound: await this.#listen(this.#outbound, transparent.outbound, (socket) => {
        const destination = originalDst(socket);
        if (!isRedirected(socket, destination)) refuse(socket, 'outbound');
        else if (!acceptors.intercepted('outbound', socket, destination)) {
          acceptors.outbound(socket, addressName(destination), destination, FALLBACK_LISTENER);
        }
      }),
    };
  }

  async #listen(
    servers: SocketServer[],
    listen: ListenAddress,
    onSocket: (socket: Socket) => void,
  ): Promise<string> {
    const server = await openSocketServer(listen, onSocket);
    servers.push(server);
    return addressText(server.address);
  }

  /** No new calls to the workload; those that it makes go on. */
  stopInbound(): void {
    for (const server of this.#inbound) server.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of [...this.#inbound, ...this.#outbound]) await server[Symbol.asyncDispose]();
  }
}

export const addressText = ({
  address,
  port,
}: {
  readonly address: string;
  readonly port: number;
}): string => formatHostPort({ host: address, port });

const isRedirected = (
  socket: Socket,
  destination: Destination | undefined,
): destination is Destination => destination !== undefined && destination.port !== socket.localPort;
