// Recorded cases as calls of gRPC: which of them are calls as they stand, what the others come to as calls, and the calls themselves.
import { once } from 'node:events';
import http2 from 'node:http2';
import tls from 'node:tls';
import type { CaseRequest } from '@weft/model/policy/eval-cases';
import type { WireCase } from './conformance-corpus.ts';
import { EXCLUSIONS } from './conformance-corpus.ts';
import type { Caller, Outcome, Target } from './conformance-caller.ts';

const METHOD = 'POST';
const CALL_MS = 5_000;
const SERVICE = '/weft.test.Echo';
/** Of `grpc-status`. */
const [OK, DENIED] = ['0', '7'];
/** What a path of gRPC never holds. */
const ODD = ['?', '#', '%', '\\', '//', '/.'];
/** Not sent over HTTP/2, or gRPC's own. */
const UNSENDABLE: ReadonlySet<string> = new Set([
  'connection',
  'transfer-encoding',
  'content-type',
  'host',
  'te',
]);

/** Why a case is no call of gRPC by a client without a proxy; the first that holds. */
export function whyNoCall({ request, excluded }: WireCase): string | undefined {
  const { protocol, srcPrincipal, method, path = '', headers = {} } = request;
  if (protocol !== 'http') return 'it is a TCP connection';
  if (excluded !== undefined) return EXCLUSIONS[excluded];
  if (method !== METHOD) return 'its method is not POST';
  if (!isCallable(path)) return 'its path is no /SERVICE/METHOD';
  if (srcPrincipal === null) return 'it comes in plaintext, which is no call of the mesh';
  if (request.jwt !== undefined && request.jwt !== null) return 'it brings a token';
  if (request.sni !== undefined) return 'it names a server in TLS';
  if (request.remoteIP !== undefined) return 'it comes through a proxy that says for whom';
  const odd = Object.keys(headers).find((name) => UNSENDABLE.has(name.toLowerCase()));
  return odd === undefined ? undefined : 'it sets a header that gRPC sets itself';
}

const isCallable = (path: string): boolean =>
  path.split('/').length >= 3 && !path.endsWith('/') && !ODD.some((one) => path.includes(one));

/**
 * The nearest call of gRPC to a case: by the same caller from the same place, with its headers.
 * @param otherwise who calls in the place of nobody.
 */
export function callLike(
  { request, excluded }: WireCase,
  otherwise: string,
): CaseRequest | undefined {
  if (request.protocol !== 'http' || excluded !== undefined) return undefined;
  const { jwt: _token, sni: _name, remoteIP: _client, ...kept } = request;
  const [path = ''] = (request.path ?? '').split('?');
  const method = path === '/' ? '/Say' : path;
  const inService = `${SERVICE}${method}`;
  const headers = Object.entries(request.headers ?? {}).filter(
    ([name]) => !UNSENDABLE.has(name.toLowerCase()),
  );
  const called = [path, inService].find(isCallable);
  if (called === undefined) return undefined;
  return {
    ...kept,
    srcPrincipal: request.srcPrincipal ?? otherwise,
    jwt: null,
    method: METHOD,
    path: called,
    headers: Object.fromEntries(headers),
  };
}

/** Never rejects: what goes wrong is in the outcome. */
export async function callGrpc(
  request: CaseRequest,
  target: Target,
  { credential, bundlePem }: Caller,
): Promise<Outcome> {
  const to = { ...target, localAddress: request.srcIP ?? '127.0.0.1' };
  const socket = tls.connect({
    ...to,
    ...(credential && { key: credential.keyPem, cert: credential.chainPem }),
    ca: bundlePem,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    // Which identity answers is not what is asked here.
    checkServerIdentity: () => undefined,
  });
  const session = http2.connect(`https://${target.host}`, { createConnection: () => socket });
  try {
    const status = await Promise.race([
      once(session, 'error').then(([error]) => `connection: ${String(error)}`),
      ask(session, request),
    ]);
    if (status === OK) return { verdict: 'allow', detail: '' };
    return { verdict: status === DENIED ? 'deny' : 'failed', detail: status };
  } catch (error) {
    return { verdict: 'failed', detail: String(error) };
  } finally {
    session.destroy();
    socket.destroy();
  }
}

/** @returns `grpc-status`, or what was there instead. */
async function ask(session: http2.ClientHttp2Session, request: CaseRequest): Promise<string> {
  const stream = session.request({
    ...request.headers,
    ':method': METHOD,
    ':path': request.path,
    ':authority': request.host ?? 'workload',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.setTimeout(CALL_MS, () => stream.close());
  let status = 'no answer';
  const note = (headers: http2.IncomingHttpHeaders): void => {
    status = String(headers['grpc-status'] ?? `${status} ${String(headers[':status'])}`);
  };
  stream.on('response', note);
  stream.on('trailers', note);
  // An empty message.
  stream.end(Buffer.alloc(5));
  stream.resume();
  await once(stream, 'close');
  return status;
}
