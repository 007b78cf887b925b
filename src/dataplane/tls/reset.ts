// Ends connections so that no peer can take it for the end of what was said: by RST, over TLS as well.
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** TLS sockets cannot send RST themselves, and many peers take a missing close_notify for a clean end. */
const transports = new WeakMap<Duplex, Socket>();

/** Says which TCP connection a TLS socket stands on. */
export function standsOn(secure: TLSSocket, transport: Socket): void {
  transports.set(secure, transport);
}

interface Resettable extends Duplex {
  /** Throws on sockets of other kinds than TCP. */
  resetAndDestroy?(): this;
}

/**
 * Ends it at once: by RST where there is a TCP connection, else by closing. One that is just saying its own end is
 * closed: libuv refuses to reset it then, and Node would forget the descriptor without closing it.
 */
export function resetConnection(socket: Resettable): void {
  if (socket.destroyed) return;
  const transport = socket instanceof TLSSocket ? transports.get(socket) : socket;
  const isOpen = transport?.destroyed === false;
  if (isOpen && !isEnding(socket) && !isEnding(transport)) transport.resetAndDestroy?.();
  else transport?.destroy();
  socket.destroy();
}

/**
 * The same when the event at hand is over. Inside of a TLS socket's own event, that of its handshake above all, its
 * transport must not be reset: Node's TLS goes on with what is gone then, and the process ends by SIGSEGV.
 */
export const resetSoon = (socket: Resettable): void => void setImmediate(resetConnection, socket);

const isEnding = ({ writableEnded, writableFinished }: Duplex): boolean =>
  writableEnded && !writableFinished;
