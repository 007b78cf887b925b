// What becomes of a connection after 101: a tunnel, with what was read too far put where it belongs.
import type { Socket } from 'node:net';
import { joinSockets, type TcpOutcome, type TcpTunnel } from '../tcp/tcp-proxy.ts';
import { UNEDITED, writeResponseHead } from './h1-edit.ts';
import type { Input } from './h1-input.ts';
import type { Http1ResponseHead } from './h1-response.ts';

export interface Upgrade {
  readonly head: Http1ResponseHead;
  readonly downstream: Socket;
  readonly upstream: Socket;
  /** What the client has sent behind its request. */
  readonly early: Input;
  /** What the server has sent behind its 101. */
  readonly rest: Buffer;
  readonly idleTimeoutMs: number;
  /** Both ends have closed. */
  readonly onDone: (outcome: TcpOutcome) => void;
}

/** Not a byte of the new protocol has gone upstream before this (CVE-2025-64763). */
export function openTunnel(upgrade: Upgrade): TcpTunnel {
  const { head, downstream, upstream, early, rest, idleTimeoutMs, onDone } = upgrade;
  downstream.write(writeResponseHead(head, UNEDITED), 'latin1');
  if (rest.length > 0) downstream.write(rest);
  const earlyBytes = early.bytes.length - early.at;
  if (earlyBytes > 0) upstream.write(early.bytes.subarray(early.at));
  early.clear();
  upstream.allowHalfOpen = true;
  const tunnel = joinSockets(downstream, upstream, { idleTimeoutMs });
  downstream.resume();
  upstream.resume();
  void tunnel.done.then(({ end, bytesReceived, bytesSent }) =>
    onDone({
      end,
      bytesReceived: bytesReceived + earlyBytes,
      bytesSent: bytesSent + rest.length,
    }),
  );
  return tunnel;
}
