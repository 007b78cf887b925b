// Joins two sockets: bytes both ways with back-pressure, half-close passed on, idle connections ended.
import type { Duplex } from 'node:stream';
import { resetConnection } from '../tls/reset.ts';
import { GatheredWrites } from './gathered-writes.ts';

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
    resetConnection(downstream);
    resetConnection(upstream);
  };
  const pump = (from: ProxySocket, to: ProxySocket, count: (bytes: number) => void): void => {
    const pieces = new GatheredWrites(to);
    from.on('data', (chunk: Buffer) => {
      count(chunk.length);
      if (!pieces.write(chunk)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    /** It may have ended before anybody listened. */
    if (from.readableEnded) to.end();
    from.on('close', () => {
      /** A side that died without `end` must not look like a clean end to the other. */
      if (from.readableEnded) to.end();
      else resetConnection(to);
      if (--open === 0) resolve({ end, bytesReceived: received, bytesSent: sent });
    });
    /** Whoever looked at the first bytes has paused it. */
    from.resume();
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
