// Terminates the mesh's mutual TLS on accepted connections: one acceptor a filter chain, contexts replaced while running.
import type { Socket } from 'node:net';
import tls, { type SecureContextOptions, type TLSSocket } from 'node:tls';
import { constants } from 'node:crypto';
import type { SpiffeId } from '@weft/model/identity';
import type { MeshContexts } from './credentials.ts';
import type { KnownPeers } from './known-peers.ts';
import { checkPeer, type MeshPeer, type PeerRefusal } from './peer.ts';
import { type PendingHandshake, PendingHandshakes } from './pending-handshakes.ts';

/** 10 s: longer than any healthy handshake, short enough that idle strangers do not gather. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

export type HandshakeFailure = PeerRefusal | 'handshake-failed' | 'handshake-timeout';

export interface HandshakeHandlers {
  onSecure(socket: TLSSocket, peer: MeshPeer): void;
  onRefused(reasonCode: HandshakeFailure, detail: string): void;
}

interface Pending extends PendingHandshake {
  readonly handlers: HandshakeHandlers;
}

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
  readonly #pending = new PendingHandshakes<Pending>();
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
    this.#pending.watch(this.#server, (socket, { handlers }) => this.#onSecure(socket, handlers));
  }

  setContexts(contexts: MeshContexts): void {
    this.#server.setSecureContext(withoutTickets(contexts));
    this.#known = contexts.known;
  }

  /** Takes the socket over; bytes already read must have been put back with `unshift`. */
  accept(socket: Socket, handlers: HandshakeHandlers): void {
    this.#pending.begin(this.#server, { handlers, transport: socket });
  }

  #onSecure(socket: TLSSocket, handlers: HandshakeHandlers): void {
    const demand = { role: 'client', isExpected: this.#isExpected, known: this.#known } as const;
    const check = checkPeer(socket, demand);
    if (check.ok) {
      handlers.onSecure(socket, check.peer);
    } else {
      socket.destroy();
      handlers.onRefused(check.reasonCode, check.detail);
    }
  }
}
