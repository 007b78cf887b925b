// Takes TLS of clients outside the mesh on accepted connections: certificates by name, replaced while connections live.
import type { Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { ClientRefusal } from '@weft/model/tls/client-certificate';
import type { TerminationTls } from '@weft/xds/resources/termination';
import { standsOn } from '../reset.ts';
import { HANDSHAKE_TIMEOUT_MS } from '../server.ts';
import { checkClient, judgeClient, type OutsideClient } from './client.ts';
import { contextFor, type TerminationMaterial } from './material.ts';

export interface TerminationHandlers {
  onSecure(socket: TLSSocket, client: OutsideClient | undefined): void;
  onRefused(reasonCode: string, detail: string): void;
}

interface Pending {
  readonly handlers: TerminationHandlers;
  readonly transport: Socket;
}

/** Unique among open connections. */
const connectionKey = (socket: Socket): string =>
  `${socket.remoteAddress}|${socket.remotePort}|${socket.localAddress}|${socket.localPort}`;

export interface TerminationAcceptorOptions {
  readonly tls: TerminationTls;
  readonly material: TerminationMaterial;
  readonly now: () => number;
}

/** A `tls.Server` that never listens does the work: connections are handed to it. */
export class TerminationAcceptor {
  readonly #server: tls.Server;
  readonly #pending = new Map<string, Pending>();
  readonly #options: TerminationAcceptorOptions;
  #material: TerminationMaterial;

  constructor(options: TerminationAcceptorOptions) {
    this.#options = options;
    this.#material = options.material;
    const { alpn, clients } = options.tls;
    this.#server = tls.createServer({
      ...options.material.options,
      ...(alpn.length > 0 && { ALPNProtocols: [...alpn] }),
      requestCert: clients !== undefined,
      // What is not good is refused here, with its reason.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      noDelay: true,
      SNICallback: (name, done) => done(null, contextFor(this.#material, name)),
    });
    this.#server.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#server.on('tlsClientError', (error, socket) => this.#onError(error, socket));
  }

  /** Holds for handshakes that begin afterwards; running connections go on. */
  setMaterial(material: TerminationMaterial): void {
    this.#material = material;
    this.#server.setSecureContext(material.options);
  }

  /** Takes the socket over; bytes already read must have been put back with `unshift`. */
  accept(socket: Socket, handlers: TerminationHandlers): void {
    const key = connectionKey(socket);
    this.#pending.set(key, { handlers, transport: socket });
    socket.once('close', () => {
      if (this.#pending.delete(key)) handlers.onRefused('handshake-failed', 'connection closed');
    });
    this.#server.emit('connection', socket);
  }

  /** Why a client that was let in may not go on; `undefined` when it may. */
  judge(client: OutsideClient | undefined): ClientRefusal | undefined {
    const { clients } = this.#options.tls;
    if (clients === undefined) return undefined;
    if (client === undefined) return clients.isRequired ? 'client-certificate-missing' : undefined;
    return judgeClient(client, clients, { material: this.#material, nowMs: this.#options.now() });
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
    const { tls: rules, now } = this.#options;
    if (rules.clients === undefined) {
      handlers.onSecure(socket, undefined);
      return;
    }
    const check = checkClient(socket, rules.clients, { material: this.#material, nowMs: now() });
    if (check.ok) handlers.onSecure(socket, check.client);
    else {
      socket.destroy();
      handlers.onRefused(check.reasonCode, check.detail);
    }
  }

  #onError(error: Error & { code?: string }, socket: TLSSocket): void {
    const pending = this.#take(socket);
    socket.destroy();
    const isTimeout = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT';
    const reasonCode = isTimeout ? 'handshake-timeout' : 'handshake-failed';
    pending?.handlers.onRefused(reasonCode, error.code ?? error.message);
  }
}
