// Listens for a gRPC server and hands it new connections a few at a turn, so that handshakes by the thousand hold up nobody else.
import type { Socket } from 'node:net';
import net from 'node:net';
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { listenOn } from './listen.ts';

/**
 * A handshake and the first answers are a millisecond of CPU. Thousands that have come together would be served in a few
 * turns of the event loop, and probes, enrolments and changes would wait for the last of them (`npm run bench:controlplane`:
 * /healthz while all reconnect). So no more than this are begun at once, however long the turn before was,
 */
const MAX_BEGUN = 8;
/** and one each ms: as fast as a core can serve them. */
const BEGUN_PER_MS = 1;
const TURN_MS = 2;
/** More than the streams that may be open: whoever comes beyond has to come again. */
const MAX_WAITING = 32_768;
const BACKLOG = 4_096;

export interface GrpcPort extends Disposable {
  readonly port: number;
}

/**
 * @param options.onRefused called for each connection that is closed because too many wait
 * @returns when it listens; disposing stops listening and lets go of those that wait, not of those that are served.
 * @throws Error when the address cannot be bound
 */
export async function openGrpcPort(options: {
  readonly server: Pick<Server, 'createConnectionInjector'>;
  readonly credentials: ServerCredentials;
  readonly listen: { readonly host: string; readonly port: number };
  readonly onRefused: () => void;
}): Promise<GrpcPort> {
  const { server, credentials, listen, onRefused } = options;
  const injector = server.createConnectionInjector(credentials);
  const isSecure = credentials._isSecure();
  const queue = new ConnectionQueue((socket) => {
    injector.injectConnection(socket);
    // A TLS socket reads by itself from the one that it wraps; plaintext is read only by this one.
    if (!isSecure) socket.resume();
  });
  const listener = net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    if (queue.add(socket)) return;
    socket.destroy();
    onRefused();
  });
  const { port } = await listenOn(listener, { ...listen, backlog: BACKLOG });
  return {
    port,
    [Symbol.dispose]() {
      listener.close();
      queue[Symbol.dispose]();
    },
  };
}

/** First come, first served; nobody waits for a client that says nothing. */
class ConnectionQueue implements Disposable {
  readonly #give: (socket: Socket) => void;
  readonly #waiting = new Set<Socket>();
  #credit = MAX_BEGUN;
  #creditedAtMs = performance.now();
  #turn: NodeJS.Timeout | undefined;

  constructor(give: (socket: Socket) => void) {
    this.#give = give;
  }

  /** @returns false when too many wait. */
  add(socket: Socket): boolean {
    if (this.#waiting.size >= MAX_WAITING) return false;
    this.#waiting.add(socket);
    socket.on('error', this.#forget);
    if (this.#turn === undefined) this.#runTurn();
    return true;
  }

  readonly #runTurn = (): void => {
    const nowMs = performance.now();
    this.#credit = Math.min(MAX_BEGUN, this.#credit + (nowMs - this.#creditedAtMs) * BEGUN_PER_MS);
    this.#creditedAtMs = nowMs;
    for (const socket of this.#waiting) {
      if (this.#credit < 1) break;
      this.#waiting.delete(socket);
      socket.off('error', this.#forget);
      if (socket.destroyed) continue;
      this.#credit--;
      this.#give(socket);
    }
    this.#turn = this.#waiting.size > 0 ? setTimeout(this.#runTurn, TURN_MS) : undefined;
  };

  /** The socket closes by itself after an error; its place in the queue is skipped. */
  readonly #forget = (): void => undefined;

  [Symbol.dispose](): void {
    clearTimeout(this.#turn);
    for (const socket of this.#waiting) socket.destroy();
    this.#waiting.clear();
  }
}
