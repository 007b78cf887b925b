// Takes TLS of clients outside the mesh on accepted connections: certificates by name, replaced while connections live.
import type { Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { ClientRefusal } from '@weft/model/tls/client-certificate';
import type { TerminationTls } from '@weft/xds/resources/termination';
import { type PendingHandshake, PendingHandshakes } from '../pending-handshakes.ts';
import { HANDSHAKE_TIMEOUT_MS } from '../server.ts';
import { checkClient, judgeClient, type OutsideClient } from './client.ts';
import { certificateFor, type TerminationMaterial } from './material.ts';

export interface TerminationHandlers {
  onSecure(socket: TLSSocket, client: OutsideClient | undefined): void;
  onRefused(reasonCode: string, detail: string): void;
}

interface Pending extends PendingHandshake {
  readonly handlers: TerminationHandlers;
  /** Under which the handshake began: what was verified in it was verified by this. */
  readonly material: TerminationMaterial;
}

export interface TerminationAcceptorOptions {
  readonly tls: TerminationTls;
  readonly material: TerminationMaterial;
  readonly now: () => number;
}

/**
 * A `tls.Server` for each certificate, none of which ever listens: connections are handed to the one that fits the name
 * in their hello. No callback chooses while a handshake is under way: what throws in one ends the process
 * (CVE-2026-21637).
 */
export class TerminationAcceptor {
  readonly #pending = new PendingHandshakes<Pending>();
  readonly #options: TerminationAcceptorOptions;
  #servers: readonly tls.Server[] = [];
  #material: TerminationMaterial;

  constructor(options: TerminationAcceptorOptions) {
    this.#options = options;
    this.#material = options.material;
    this.setMaterial(options.material);
  }

  /** Holds for handshakes that begin afterwards; those under way and running connections go on. */
  setMaterial(material: TerminationMaterial): void {
    this.#material = material;
    this.#servers = material.certificates.map(({ options }) => this.#createServer(options));
  }

  #createServer(options: tls.SecureContextOptions): tls.Server {
    const { alpn, clients } = this.#options.tls;
    const server = tls.createServer({
      ...options,
      ...(alpn.length > 0 && { ALPNProtocols: [...alpn] }),
      requestCert: clients !== undefined,
      // Who shows none may be let in, and who is not is told apart by why: `checkClient` refuses what is not verified.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      noDelay: true,
    });
    this.#pending.watch(server, (socket, pending) => this.#onSecure(socket, pending));
    return server;
  }

  /**
   * Takes the socket over; bytes already read must have been put back with `unshift`.
   * @param serverName as the client's hello has it.
   */
  accept(socket: Socket, serverName: string | undefined, handlers: TerminationHandlers): void {
    const material = this.#material;
    const server = this.#servers[certificateFor(material, serverName)];
    if (server === undefined) {
      handlers.onRefused('no-certificate', 'there is no certificate');
      return;
    }
    this.#pending.begin(server, { handlers, transport: socket, material });
  }

  /** Why a client that was let in may not go on; `undefined` when it may. */
  judge(client: OutsideClient | undefined): ClientRefusal | undefined {
    const { clients } = this.#options.tls;
    if (clients === undefined) return undefined;
    if (client === undefined) return clients.isRequired ? 'client-certificate-missing' : undefined;
    return judgeClient(client, clients, { material: this.#material, nowMs: this.#options.now() });
  }

  #onSecure(socket: TLSSocket, { handlers, material }: Pending): void {
    const { tls: rules, now } = this.#options;
    if (rules.clients === undefined) {
      handlers.onSecure(socket, undefined);
      return;
    }
    const check = checkClient(socket, rules.clients, { material, nowMs: now() });
    if (check.ok) handlers.onSecure(socket, check.client);
    else {
      socket.destroy();
      handlers.onRefused(check.reasonCode, check.detail);
    }
  }
}
