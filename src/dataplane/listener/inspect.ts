// Waits, within bounds, for a connection's first bytes, and puts them back for whoever serves it.
import type { Socket } from 'node:net';
import type { ConnectionTraits } from '../state/chain.ts';
import { MAX_CLIENT_HELLO_BYTES } from './client-hello.ts';
import { detect, type Detection } from './detect.ts';

/** What the first bytes were. `silent`: nothing came in time, so the server speaks first, or nobody does. */
export type Inspected = Exclude<Detection, { readonly kind: 'more' }> | { readonly kind: 'silent' };

/** Two records' worth: a ClientHello is decided before, anything else is not TLS. */
const MAX_INSPECTED_BYTES = MAX_CLIENT_HELLO_BYTES * 2;

/**
 * Looks at the first bytes of a socket that nobody reads yet. The socket is paused afterwards and holds every
 * byte that came. `onDone` is not called when the socket closes first.
 * @param timeoutMs how long to wait; a client that has begun and not ended a hello by then is malformed.
 */
export function inspect(
  socket: Socket,
  timeoutMs: number,
  onDone: (inspected: Inspected) => void,
): void {
  let received: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => finish(onTimeout(received)), timeoutMs);
  timer.unref();

  const finish = (inspected: Inspected): void => {
    clearTimeout(timer);
    socket.removeListener('data', onData);
    socket.removeListener('close', onClose);
    socket.removeListener('end', onEnd);
    socket.pause();
    if (received.length > 0) socket.unshift(received);
    onDone(inspected);
  };
  const onData = (chunk: Buffer): void => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const detection = detect(received);
    if (detection.kind !== 'more') finish(detection);
    else if (received.length > MAX_INSPECTED_BYTES) finish({ kind: 'other' });
  };
  const onClose = (): void => clearTimeout(timer);
  /** Half-closed before enough came: what is there is what it is. */
  const onEnd = (): void => finish(onTimeout(received));
  socket.on('data', onData);
  socket.once('close', onClose);
  socket.once('end', onEnd);
  /** A client that ends at once may have done so before anybody listened. */
  if (socket.readableEnded) onEnd();
}

const HANDSHAKE_RECORD = 22;

function onTimeout(received: Buffer): Inspected {
  if (received.length === 0) return { kind: 'silent' };
  if (received[0] === HANDSHAKE_RECORD) {
    return { kind: 'malformed', reason: 'the ClientHello did not end in time' };
  }
  return { kind: 'other' };
}

const RAW: ConnectionTraits = {
  transport: 'raw_buffer',
  applicationProtocols: [],
  serverName: undefined,
};
const RAW_HTTP1: ConnectionTraits = { ...RAW, applicationProtocols: ['http/1.1'] };
const RAW_H2C: ConnectionTraits = { ...RAW, applicationProtocols: ['h2c'] };

/** What a chain is chosen by. */
export function traitsOf(inspected: Exclude<Inspected, { kind: 'malformed' }>): ConnectionTraits {
  switch (inspected.kind) {
    case 'tls':
      return {
        transport: 'tls',
        applicationProtocols: inspected.hello.alpn,
        serverName: inspected.hello.serverName,
      };
    case 'http1':
      return RAW_HTTP1;
    case 'h2c':
      return RAW_H2C;
    case 'other':
    case 'silent':
      return RAW;
    default:
      return inspected satisfies never;
  }
}
