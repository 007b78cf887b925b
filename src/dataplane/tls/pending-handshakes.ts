// Keeps what is known of each TLS handshake under way on accepted connections, until it has succeeded or failed.
import type { Socket } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';
import { standsOn } from './reset.ts';

export interface PendingHandshake {
  readonly transport: Socket;
  readonly handlers: {
    onRefused(reasonCode: 'handshake-failed' | 'handshake-timeout', detail: string): void;
  };
}

/** Found again by the connection's two addresses: unique among open connections. */
const connectionKey = (socket: Socket): string =>
  `${socket.remoteAddress}|${socket.remotePort}|${socket.localAddress}|${socket.localPort}`;

/** Of one acceptor. As many as there are connections in their handshake: the server's timeout ends each of them. */
export class PendingHandshakes<P extends PendingHandshake> {
  readonly #byConnection = new Map<string, P>();

  /**
   * Hears of the handshakes of a server that never listens. Those that fail are told to their handlers.
   * @param onSecure gets the others. Its socket has an `error` handler and ends as its transport does.
   */
  watch(server: Server, onSecure: (socket: TLSSocket, pending: P) => void): void {
    server.on('secureConnection', (socket) => {
      const pending = this.#take(socket);
      socket.on('error', () => socket.destroy());
      if (pending === undefined) {
        socket.destroy();
        return;
      }
      standsOn(socket, pending.transport);
      onSecure(socket, pending);
    });
    server.on('tlsClientError', (error, socket) => this.#onError(error, socket));
  }

  /** Hands the transport over to a server that is watched. */
  begin(server: Server, pending: P): void {
    const { transport, handlers } = pending;
    const key = connectionKey(transport);
    this.#byConnection.set(key, pending);
    transport.once('close', () => {
      if (this.#byConnection.delete(key))
        handlers.onRefused('handshake-failed', 'connection closed');
    });
    server.emit('connection', transport);
  }

  #take(socket: Socket): P | undefined {
    const key = connectionKey(socket);
    const pending = this.#byConnection.get(key);
    this.#byConnection.delete(key);
    return pending;
  }

  #onError(error: Error & { code?: string }, socket: TLSSocket): void {
    const pending = this.#take(socket);
    socket.destroy();
    const isTimeout = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT';
    const reasonCode = isTimeout ? 'handshake-timeout' : 'handshake-failed';
    pending?.handlers.onRefused(reasonCode, error.code ?? error.message);
  }
}
