// Terminates the mesh's mutual TLS on accepted connections: one acceptor a filter chain, contexts replaced while running.
import type { Socket } from 'node:net';
import tls, { type SecureContextOptions, type TLSSocket } from 'node:tls';
import { constants } from 'node:crypto';
import type { SpiffeId } from '@weft/model/identity';
import type { MeshContexts } from './credentials.ts';
import type { KnownPeers } from './known-peers.ts';
import { checkPeer, type MeshPeer, type PeerRefusal } from './peer.ts';
import { standsOn } from './reset.ts';

/** 10 s: longer than any healthy handshake, short enough that idle strangers do not gather. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

export type HandshakeFailure = PeerRefusal | 'handshake-failed' | 'handshake-timeout';

export interface HandshakeHandlers {
  onSecure(socket: TLSSocket, peer: MeshPeer): void;
  onRefused(reasonCode: HandshakeFailure, detail: string): void;
}

interface Pending {
  readonly handlers: HandshakeHandlers;
  readonly transport: Socket;
}

/** Handshakes under way, found again by the connection's two addresses: unique among open connections. */
const connectionKey = (socket: Socket): string =>
  `${socket.remoteAddress}|${socket.remotePort}|${socket.localAddress}|${socket.localPort}`;

/**
 * No tickets: every connection shows its certificate and is verified under today's bundle (CVE-2026-48934).
 * Said with every generation anew: Node forgets what an earlier context had.
 */
const withoutTickets = (contexts: MeshContexts): SecureContextOptions => ({
  ...contexts.server,
  secureOptions: constants.SSL_OP_NO_TICKET,
});

/**
 * Accepts mutual TLS. A `tls.Server` that never listens does the work: connections are handed to it.
 * New contexts hold for handshakes that begin afterwards; running connections go on.
 */
export class MeshAcceptor {
  readonly #server: tls.Server;
  readonly #pending = new Map<string, Pending>();
  readonly #isExpected: (id: SpiffeId) => boolean;
  #known: KnownPeers;

  constructor(options: {
    readonly contexts: MeshContexts;
    readonly alpn: readonly string[];
    readonly isExpected: (id: SpiffeId) => boolean;
  }) {
    this.#isExpected = options.isExpected;
    this.#known = options.contexts.known;
    this.#server = tls.createServer({
      ...withoutTickets(options.contexts),
      ALPNProtocols: [...options.alpn],
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      noDelay: true,
    });
    this.#server.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#server.on('tlsClientError', (error, socket) => this.#onError(error, socket));
  }

  setContexts(contexts: MeshContexts): void {
    this.#server.setSecureContext(withoutTickets(contexts));
    this.#known = contexts.known;
  }

  /** Takes the socket over; bytes already read must have been put back with `unshift`. */
  accept(socket: Socket, handlers: HandshakeHandlers): void {
    const key = connectionKey(socket);
    this.#pending.set(key, { handlers, transport: socket });
    socket.once('close', () => {
      if (this.#pending.delete(key)) handlers.onRefused('handshake-failed', 'connection closed');
    });
    this.#server.emit('connection', socket);
  }

  #take(socket: Socket): Pending | undefined {
    const key = connectionKey(socket);
    const pending = this.#pending.get(key);
    this.#pending.delete(key);
    return pending;
  }

  #onSecure(socket: TLSSocket): void {
    const pending = this.#take(socket);
    socket.on('error', () => socket.destroy());
    if (pending === undefined) {
      socket.destroy();
      return;
    }
    const { handlers, transport } = pending;
    standsOn(socket, transport);
    const demand = { role: 'client', isExpected: this.#isExpected, known: this.#known } as const;
    const check = checkPeer(socket, demand);
    if (check.ok) {
      handlers.onSecure(socket, check.peer);
    } else {
      socket.destroy();
      handlers.onRefused(check.reasonCode, check.detail);
    }
  }

  #onError(error: Error & { code?: string }, socket: TLSSocket): void {
    const pending = this.#take(socket);
    socket.destroy();
    const isTimeout = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT';
    pending?.handlers.onRefused(
      isTimeout ? 'handshake-timeout' : 'handshake-failed',
      error.code ?? error.message,
    );
  }
}
