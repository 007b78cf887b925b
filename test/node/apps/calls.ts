// One call over HTTP, gRPC (by xDS too) or TCP: what came back, or why nothing did; it never throws.
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect } from 'node:net';
import type * as GrpcCalls from './grpc-calls.ts';

/** `kept`: over the connection of the call before, where it is still there. `xds`: with the credentials of the mesh. */
export type CallKind = 'http' | 'http-kept' | 'tcp' | 'grpc' | 'grpc-kept' | 'xds';

export interface CallEnd {
  /** An answer came, and over HTTP one below 400. */
  readonly isOk: boolean;
  /** Of HTTP, or gRPC's code; 0 when no answer came over HTTP. */
  readonly status: number;
  readonly body: string;
  readonly error: string;
  readonly ms: number;
}

export type Found = Pick<CallEnd, 'status' | 'body'> & Partial<CallEnd>;

export const TIMEOUT_MS = 10_000;

const kept = new Agent({ keepAlive: true });
/** Loaded when it is needed: most calls are processes of their own, and of HTTP. */
let loadedGrpc: Promise<typeof GrpcCalls> | undefined;
const grpcCalls = () => (loadedGrpc ??= import('./grpc-calls.ts'));

async function http(url: string, body: string, agent: Agent | false): Promise<Found> {
  const method = body === '' ? 'GET' : 'POST';
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  // An application's own certificate is its own affair.
  const asked = url.startsWith('https:')
    ? requestTls(url, { method, signal, agent: false, rejectUnauthorized: false })
    : request(url, { method, signal, agent });
  asked.end(body);
  const [answer] = await once(asked, 'response');
  let text = '';
  for await (const chunk of answer.setEncoding('utf8')) text += String(chunk);
  const { statusCode: status = 0 } = answer;
  return { status, body: text, isOk: status < 400 };
}

/** Sends the text, ends its side, and reads until the other ends its own. */
async function tcp(target: string, text: string): Promise<Found> {
  const colon = target.lastIndexOf(':');
  const socket = connect({
    host: target.slice(0, colon),
    port: Number(target.slice(colon + 1)),
    allowHalfOpen: true,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  await once(socket, 'connect');
  socket.end(text);
  let body = '';
  for await (const chunk of socket.setEncoding('utf8')) body += String(chunk);
  return { status: 0, body, isOk: body.length >= text.length };
}

const CALLS: Readonly<Record<CallKind, (target: string, text: string) => Promise<Found>>> = {
  http: (url, body) => http(url, body, false),
  'http-kept': (url, body) => http(url, body, kept),
  tcp,
  grpc: async (target, text) => (await grpcCalls()).once(target, text),
  'grpc-kept': async (target, text) => (await grpcCalls()).kept(target, text),
  xds: async (target, text) => (await grpcCalls()).byXds(target, text),
};

export const isCallKind = (text: string): text is CallKind => Object.hasOwn(CALLS, text);

/** Ends the connections that were kept. */
export function hangUp(): void {
  kept.destroy();
  void loadedGrpc?.then((calls) => calls.hangUp());
}

/** Without a text it is GET over HTTP, and a word over the others. */
export async function call(
  kind: CallKind,
  target: string,
  text = kind.startsWith('http') ? '' : 'hello',
): Promise<CallEnd> {
  const began = performance.now();
  const end = await CALLS[kind](target, text).catch(
    (error: unknown): Found => ({ status: 0, body: '', isOk: false, error: String(error) }),
  );
  const ms = Math.round(performance.now() - began);
  return { isOk: true, error: '', ...end, ms };
}

/** The last line of what `caller` has written. */
export function readCallEnd(output: string): CallEnd {
  const line = output.trimEnd().split('\n').at(-1) ?? '';
  const end: Partial<CallEnd> = JSON.parse(line);
  return { isOk: false, status: 0, body: '', error: '', ms: 0, ...end };
}
