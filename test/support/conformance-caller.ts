// Makes the call of a recorded case on a real socket, and says whether the application behind the proxy got it.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { CaseRequest } from '@weft/model/policy/eval-cases';
import { MESH_ALPN } from '@weft/xds/resources/listener';
import { tokenOf } from './conformance-corpus.ts';
import type { Credential } from './mesh-pki.ts';

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** `failed`: neither was decided; what happened is in `detail`. */
export interface Outcome {
  readonly verdict: 'allow' | 'deny' | 'failed';
  readonly detail: string;
}

export interface Caller {
  /** Absent: plaintext. */
  readonly credential: Credential | undefined;
  readonly bundlePem: string;
}

const CALL_MS = 5_000;
const TCP_QUESTION = 'weft-tcp-question\n';
const TCP_ANSWER = 'weft-tcp-answer\n';
/** Only the application says this; what the proxy answers by itself does not have it. */
const FROM_APP = 'x-from-app';
/** RFC 9110 codes by which a proxy refuses: by policy, or because the path is no path. */
const REFUSALS: ReadonlySet<string> = new Set(['400', '403']);
/** `grpc-status` of PERMISSION_DENIED. */
const GRPC_DENIED = '\r\ngrpc-status: 7\r\n';

/** A path that is no path: refused before any policy is asked. */
export const isBadPath = ({ detail }: Outcome): boolean => detail.includes(' 400 ');

/** Answers HTTP/1 and the question over TCP, whichever comes. The bytes of a request's target are sent back. */
export async function openConformanceApp(
  host: string,
  port: number,
): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (received === TCP_QUESTION) socket.end(TCP_ANSWER);
      const end = received.indexOf('\r\n\r\n');
      if (end === -1) return;
      const target = received.split(' ', 2)[1] ?? '';
      received = received.slice(end + 4);
      socket.write(`HTTP/1.1 200 OK\r\n${FROM_APP}: ${target}\r\ncontent-length: 0\r\n\r\n`);
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('Cannot find a port');
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Never rejects: what goes wrong is in the outcome. */
export async function callCase(
  request: CaseRequest,
  target: Target,
  caller: Caller,
): Promise<Outcome> {
  const socket = connect(request, target, caller);
  const isHttp = request.protocol === 'http';
  let received = '';
  const ended = new Promise<string>((resolve) => {
    const timer = setTimeout(() => resolve('no answer in time'), CALL_MS);
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (isHttp && received.includes('\r\n\r\n')) resolve('answered');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('close', () => {
      clearTimeout(timer);
      resolve('closed');
    });
  });
  socket.once(caller.credential === undefined ? 'connect' : 'secureConnect', () => {
    socket.write(isHttp ? requestText(request) : TCP_QUESTION, 'latin1');
  });
  const end = await ended;
  socket.destroy();
  return isHttp ? httpOutcome(received, end) : tcpOutcome(received, end);
}

function connect(request: CaseRequest, { host, port }: Target, caller: Caller): net.Socket {
  const { credential, bundlePem } = caller;
  const to = { host, port, localAddress: request.srcIP ?? '127.0.0.1' };
  if (credential === undefined) return net.connect(to);
  return tls.connect({
    ...to,
    key: credential.keyPem,
    cert: credential.chainPem,
    ca: bundlePem,
    minVersion: 'TLSv1.3',
    ALPNProtocols: [request.protocol === 'http' ? MESH_ALPN.http1 : MESH_ALPN.tcp],
    ...(request.sni !== undefined && { servername: request.sni }),
    // Which identity answers is not what is asked here.
    checkServerIdentity: () => undefined,
  });
}

function requestText(request: CaseRequest): string {
  const lines = [`${request.method} ${request.path} HTTP/1.1`, `host: ${request.host}`];
  if (request.remoteIP !== undefined) lines.push(`x-forwarded-for: ${request.remoteIP}`);
  const token = tokenOf(request);
  if (token !== undefined) lines.push(`authorization: Bearer ${token}`);
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    for (const each of typeof value === 'string' ? [value] : value) lines.push(`${name}: ${each}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function httpOutcome(received: string, end: string): Outcome {
  const head = received.slice(0, received.indexOf('\r\n\r\n') + 2);
  const lines = head.split('\r\n');
  const status = lines[0]?.split(' ', 2)[1] ?? '';
  const fromApp = lines.find((line) => line.toLowerCase().startsWith(`${FROM_APP}:`));
  if (fromApp !== undefined) return { verdict: 'allow', detail: fromApp };
  const isRefused = REFUSALS.has(status) || head.toLowerCase().includes(GRPC_DENIED);
  return {
    verdict: isRefused ? 'deny' : 'failed',
    detail: lines[0] === '' ? end : (lines[0] ?? ''),
  };
}

/** A refusal is a connection that ends without a word; nobody says why. */
function tcpOutcome(received: string, end: string): Outcome {
  if (received === TCP_ANSWER) return { verdict: 'allow', detail: '' };
  const isClosed = end === 'closed' || end === 'ECONNRESET' || end === 'EPIPE';
  return { verdict: isClosed && received === '' ? 'deny' : 'failed', detail: end };
}
