// Opens connections to endpoints: plain TCP, or the mesh's mutual TLS to exactly the identity that must answer there.
import net, { type Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { SpiffeId } from '@weft/model/identity';
import type { MeshContexts } from './credentials.ts';
import { checkPeer } from './peer.ts';
import { standsOn } from './reset.ts';

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}

export interface MeshTarget extends Target {
  readonly contexts: MeshContexts;
  readonly sni: string;
  readonly alpn: readonly string[];
  readonly isExpected: (id: SpiffeId) => boolean;
}

/** Why a connection could not be had; `code` is stable and goes into logs and metrics. */
export class ConnectFailure extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface ConnectHandlers<S extends Socket> {
  onConnect(socket: S): void;
  onFailure(failure: ConnectFailure): void;
}

/** Calls exactly one handler, once. The socket allows half-open use, has no delay and an `error` handler. */
export function connectPlain(target: Target, handlers: ConnectHandlers<Socket>): void {
  const socket = connectTcp(target);
  const settle = settleOnce(socket, target, handlers);
  socket.once('connect', () => settle.succeed(socket));
}

const connectTcp = ({ host, port }: Target): Socket =>
  net.connect({ host, port, noDelay: true, allowHalfOpen: true });

/** The same over mutual TLS; a peer that is not the expected one is a failure before a byte was sent. */
export function connectMesh(target: MeshTarget, handlers: ConnectHandlers<TLSSocket>): void {
  const { isExpected, contexts } = target;
  /** Names are not how peers are known here: the SPIFFE id is. */
  const judge = (socket: TLSSocket): ConnectFailure | undefined => {
    const check = checkPeer(socket, { role: 'server', isExpected, known: contexts.known });
    return check.ok ? undefined : new ConnectFailure(check.reasonCode, check.detail);
  };
  connectTls({ ...target, context: contexts.client, judge }, handlers);
}

export interface TlsTarget extends Target {
  readonly context: tls.SecureContext;
  readonly sni: string;
  /** Empty: none is offered. */
  readonly alpn: readonly string[];
  /** Who answers, right after the handshake: why it may not, or `undefined`. */
  readonly judge: (socket: TLSSocket) => ConnectFailure | undefined;
}

/** To whom the context's roots vouch for and `judge` lets be: it alone compares names. */
export function connectTls(target: TlsTarget, handlers: ConnectHandlers<TLSSocket>): void {
  const transport = connectTcp(target);
  const options: tls.ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    socket: transport,
    secureContext: target.context,
    servername: target.sni,
    ...(target.alpn.length > 0 && { ALPNProtocols: [...target.alpn] }),
    allowHalfOpen: true,
    rejectUnauthorized: true,
    /** Node would read the names as text (CVE-2021-44532). */
    checkServerIdentity: () => undefined,
  };
  const socket = tls.connect(options);
  standsOn(socket, transport);
  transport.on('error', (error) => socket.destroy(error));
  const settle = settleOnce(socket, target, handlers);
  socket.once('secureConnect', () => {
    const refusal = target.judge(socket);
    if (refusal === undefined) settle.succeed(socket);
    else settle.fail(refusal);
  });
}

interface Settle<S extends Socket> {
  succeed(socket: S): void;
  fail(failure: ConnectFailure): void;
}

/** Calls exactly one handler, once; a socket that was not ready in time is ended. */
function settleOnce<S extends Socket>(
  socket: Socket,
  target: Target,
  handlers: ConnectHandlers<S>,
): Settle<S> {
  let isSettled = false;
  const timer = setTimeout(
    () => fail(new ConnectFailure('connect-timeout', `no connection after ${target.timeoutMs} ms`)),
    target.timeoutMs,
  );
  timer.unref();
  const fail = (failure: ConnectFailure): void => {
    if (isSettled) return;
    isSettled = true;
    clearTimeout(timer);
    socket.destroy();
    handlers.onFailure(failure);
  };
  socket.on('error', (error: NodeJS.ErrnoException) => {
    fail(new ConnectFailure(error.code ?? 'connect-failed', error.message));
  });
  socket.once('close', () =>
    fail(new ConnectFailure('connect-closed', 'closed before it was ready')),
  );
  return {
    fail,
    succeed(ready) {
      if (isSettled) return;
      isSettled = true;
      clearTimeout(timer);
      handlers.onConnect(ready);
    },
  };
}
