// Refuses to measure HTTP/2 and gRPC through a pair that is not mutual TLS with the mesh's certificates, and policies that deny.
import http2 from 'node:http2';
import tls from 'node:tls';
import { eventually } from '../support/lab-wait.ts';
import { type Credential, credentialOf, type Identities } from './identities.ts';
import { PairChecks } from './pair-checks.ts';
import type { Endpoint } from './peers/envoy-config.ts';
import type { Pair } from './peers/pairs.ts';
import { CALLED, CALLER, POLICY, STRANGER } from './policies.ts';
import type { MeshSpec } from './scenario.ts';
import type { Verified } from './verify-pair.ts';

const SETTLE_MS = 10_000;
const ANSWER_MS = 5_000;
const AUTHORITY = 'prices.shop';
/** gRPC's PERMISSION_DENIED. */
const DENIED = '7';
/** An empty message: its compression flag and its length. */
const EMPTY_MESSAGE = Buffer.alloc(5);

interface Asked {
  readonly method: string;
  readonly path: string;
}

/** What is allowed, in the words of the mesh's protocol. */
const ALLOWED: Readonly<Record<'h2c' | 'grpc', Asked>> = {
  h2c: { method: 'GET', path: '/100b' },
  grpc: { method: 'POST', path: '/weft.bench.Echo/Unary' },
};

/** @throws Error that says which check failed. */
export async function verifyHttp2Pair(
  pair: Pair,
  { identities, mesh }: { readonly identities: Identities; readonly mesh: MeshSpec },
): Promise<Verified> {
  const { front, inbound } = pair;
  const isGrpc = mesh.app === 'grpc';
  const allowed = ALLOWED[isGrpc ? 'grpc' : 'h2c'];
  const checks = new PairChecks(pair.name);
  const through = (asked: Asked): Promise<string> =>
    asking(plainSession(front), (session) => answerOf(session, asked, isGrpc));
  let seen = '';
  await eventually(async () => (seen = await through(allowed).catch(String)) === 'allowed', {
    what: `an HTTP/2 answer through ${pair.name}`,
    withinMs: SETTLE_MS,
    told: () => seen,
  });
  checks.passed.push('the allowed request is answered');
  const about = { pair: pair.name, mesh: mesh.name };
  if (inbound === undefined) return { ...about, tls: 'none', checks: checks.passed };

  const path = await through({ ...allowed, path: POLICY.deniedPath });
  checks.check(path === 'denied', 'the denied path is denied', path);
  const method = await through({ ...allowed, method: isGrpc ? 'GET' : 'DELETE' });
  checks.check(method === 'denied', 'a method that no rule allows is denied', method);

  let spoken = '';
  const by = (own: Credential | undefined): Promise<string> =>
    asking(tlsSession(inbound, identities, own), (session) => {
      spoken = spokenOn(session, credentialOf(identities, CALLED).spiffeId);
      return answerOf(session, allowed, isGrpc);
    }).catch((error: unknown) => `no answer: ${String(error)}`);
  const caller = await by(credentialOf(identities, CALLER));
  checks.check(caller === 'allowed', 'the caller by its certificate is answered', caller);
  checks.check(spoken.startsWith('TLSv1.3'), "TLS 1.3 and the server's certificate", spoken);
  const tlsText = spoken;
  const stranger = await by(credentialOf(identities, STRANGER));
  checks.check(stranger === 'denied', 'another identity is denied', stranger);
  const nobody = await by(undefined);
  const isSilent = nobody.startsWith('no answer');
  checks.check(isSilent, 'without a certificate there is no answer', nobody);
  const plain = await asking(plainSession(inbound), (session) =>
    answerOf(session, allowed, isGrpc),
  ).catch((error: unknown) => `no answer: ${String(error)}`);
  checks.check(plain.startsWith('no answer'), 'plain text is refused', plain);
  return { ...about, tls: tlsText, checks: checks.passed };
}

const plainSession = ({ host, port }: Endpoint): http2.ClientHttp2Session =>
  http2.connect(`http://${host}:${port}`);

/** Verified under the mesh's root; whose certificate it is, `spokenOn` looks at. */
function tlsSession(
  { host, port }: Endpoint,
  { bundlePem: ca }: Identities,
  own: Credential | undefined,
): http2.ClientHttp2Session {
  const identity = own === undefined ? {} : { key: own.keyPem, cert: own.chainPem };
  return http2.connect(`https://${host}:${port}`, {
    ...identity,
    ca,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  });
}

/** `TLSv1.3, Cipher is …`, or who was met instead. */
export function spokenOf(socket: tls.TLSSocket, serverId: string): string {
  const { subjectaltname } = socket.getPeerCertificate();
  if (!socket.authorized || subjectaltname !== `URI:${serverId}`) {
    return `the server is ${String(subjectaltname)}, authorized: ${socket.authorized}`;
  }
  return `${String(socket.getProtocol())}, Cipher is ${socket.getCipher().standardName}`;
}

function spokenOn(session: http2.ClientHttp2Session, serverId: string): string {
  const { socket } = session;
  return socket instanceof tls.TLSSocket ? spokenOf(socket, serverId) : 'no TLS';
}

/** @throws Error when the session ends or breaks, or nothing is answered in time. */
async function asking<T>(
  session: http2.ClientHttp2Session,
  ask: (session: http2.ClientHttp2Session) => Promise<T>,
): Promise<T> {
  const { promise: broken, reject } = Promise.withResolvers<never>();
  session.on('error', reject);
  session.on('close', () => reject(new Error('the session was closed')));
  const timer = setTimeout(() => reject(new Error(`nothing in ${ANSWER_MS} ms`)), ANSWER_MS);
  try {
    const connected = new Promise<void>((resolve) => session.once('connect', () => resolve()));
    return await Promise.race([broken, connected.then(() => ask(session))]);
  } finally {
    clearTimeout(timer);
    session.destroy();
  }
}

/** @returns `allowed`, `denied`, or what came instead. */
function answerOf(
  session: http2.ClientHttp2Session,
  { method, path }: Asked,
  isGrpc: boolean,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const hasBody = isGrpc && method === 'POST';
  const fields = hasBody ? { 'content-type': 'application/grpc', te: 'trailers' } : {};
  const stream = session.request(
    { ':method': method, ':path': path, ':authority': AUTHORITY, ...fields },
    { endStream: !hasBody },
  );
  if (hasBody) stream.end(EMPTY_MESSAGE);
  let status = 0;
  let grpcStatus: string | undefined;
  stream.on('response', (headers) => {
    status = Number(headers[':status']);
    grpcStatus = textOf(headers['grpc-status']);
  });
  stream.on('trailers', (trailers) => {
    grpcStatus = textOf(trailers['grpc-status']) ?? grpcStatus;
  });
  stream.on('error', reject);
  stream.on('close', () => {
    const isOk = status === 200 && (!hasBody || grpcStatus === '0');
    const isDenied = status === 403 || grpcStatus === DENIED;
    resolve(isOk ? 'allowed' : isDenied ? 'denied' : `status ${status}, gRPC ${grpcStatus}`);
  });
  stream.resume();
  return promise;
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;
