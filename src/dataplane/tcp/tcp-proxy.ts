// Joins two sockets: bytes both ways with back-pressure, half-close passed on, idle connections ended.
import type { Duplex } from 'node:stream';

export type TcpEnd = 'closed' | 'downstream-error' | 'upstream-error' | 'idle-timeout' | 'cut';

export interface TcpOutcome {
  readonly end: TcpEnd;
  readonly bytesReceived: number;
  readonly bytesSent: number;
}

/** 1 h, as Envoy's tcp_proxy: long enough for pooled database connections, short enough to find the forgotten. */
export const TCP_IDLE_TIMEOUT_MS = 3_600_000;

/** What a proxied socket is here: `net.Socket` and `tls.TLSSocket` are. */
export interface ProxySocket extends Duplex {
  setTimeout(timeoutMs: number, callback?: () => void): this;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Ends a TCP connection by RST; throws on sockets of other kinds. */
  resetAndDestroy?(): this;
}

/**
 * Ends a connection so that its peer cannot take it for a clean end: RST on TCP, on TLS no close_notify.
 * (`resetAndDestroy` of a TLS socket whose TCP socket it took over does the same.)
 */
function abort(socket: ProxySocket): void {
  if (!socket.destroyed && socket.resetAndDestroy !== undefined) socket.resetAndDestroy();
  else socket.destroy();
}

/** A running pair; `cut` ends both at once, as a policy that forbids it now asks for. */
export interface TcpTunnel {
  cut(): void;
  /** Half-closes nothing, waits for nothing: resolves when both are closed. */
  readonly done: Promise<TcpOutcome>;
}

/**
 * Passes bytes between two connected sockets until both are done. Both must allow half-open use.
 * `first` are bytes of the downstream that were read already.
 */
export function joinSockets(
  downstream: ProxySocket,
  upstream: ProxySocket,
  options: { readonly idleTimeoutMs: number },
): TcpTunnel {
  let end: TcpEnd = 'closed';
  let received = 0;
  let sent = 0;
  const { promise, resolve } = Promise.withResolvers<TcpOutcome>();
  let open = 2;

  const stop = (reason: TcpEnd): void => {
    if (end === 'closed') end = reason;
    abort(downstream);
    abort(upstream);
  };
  const pump = (from: ProxySocket, to: ProxySocket, count: (bytes: number) => void): void => {
    from.on('data', (chunk: Buffer) => {
      count(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    from.on('close', () => {
      /** A side that died without `end` must not look like a clean end to the other. */
      if (from.readableEnded) to.end();
      else abort(to);
      if (--open === 0) resolve({ end, bytesReceived: received, bytesSent: sent });
    });
  };
  downstream.on('error', () => stop('downstream-error'));
  upstream.on('error', () => stop('upstream-error'));
  pump(downstream, upstream, (bytes) => {
    received += bytes;
  });
  pump(upstream, downstream, (bytes) => {
    sent += bytes;
  });
  /** Either direction counts as activity: a socket's own timer is reset by its reads and writes. */
  downstream.setTimeout(options.idleTimeoutMs, () => stop('idle-timeout'));
  return { cut: () => stop('cut'), done: promise };
}
