// Refuses to measure TCP through a pair that is not mutual TLS with the mesh's certificates, and policies that deny.
import net from 'node:net';
import tls from 'node:tls';
import { eventually } from '../support/lab-wait.ts';
import { PairChecks } from './pair-checks.ts';
import { type Credential, credentialOf, type Identities } from './identities.ts';
import type { Endpoint } from './peers/envoy-config.ts';
import type { Pair } from './peers/pairs.ts';
import { CALLED, CALLER, STRANGER } from './policies.ts';
import type { MeshSpec } from './scenario.ts';
import { spokenOf } from './verify-http2.ts';
import type { Verified } from './verify-pair.ts';

const SETTLE_MS = 10_000;
const ANSWER_MS = 5_000;
const MESSAGE = 'are you there?';
/** Of the benchmark's application: echo messages of this length. */
const HEAD = Buffer.from([0x65, 0, 0, 0, 0, 0, 0, 0, MESSAGE.length]);

/** @throws Error that says which check failed. */
export async function verifyTcpPair(
  pair: Pair,
  { identities, mesh }: { readonly identities: Identities; readonly mesh: MeshSpec },
): Promise<Verified> {
  const { front, inbound } = pair;
  const checks = new PairChecks(pair.name);
  let seen = '';
  await eventually(async () => (seen = await echoed(net.connect(front))) === 'echoed', {
    what: `an echo through ${pair.name}`,
    withinMs: SETTLE_MS,
    told: () => seen,
  });
  checks.passed.push('bytes come back');
  const about = { pair: pair.name, mesh: mesh.name };
  if (inbound === undefined) return { ...about, tls: 'none', checks: checks.passed };

  const serverId = credentialOf(identities, CALLED).spiffeId;
  const socket = tlsSocket(inbound, identities, credentialOf(identities, CALLER));
  let spoken = '';
  socket.once('secureConnect', () => {
    spoken = spokenOf(socket, serverId);
  });
  const caller = await echoed(socket);
  checks.check(caller === 'echoed', 'the caller by its certificate is echoed', caller);
  checks.check(spoken.startsWith('TLSv1.3'), "TLS 1.3 and the server's certificate", spoken);
  const stranger = await echoed(tlsSocket(inbound, identities, credentialOf(identities, STRANGER)));
  checks.check(stranger === 'closed', 'another identity is cut off', stranger);
  const nobody = await echoed(tlsSocket(inbound, identities, undefined));
  checks.check(nobody === 'closed', 'without a certificate nothing is echoed', nobody);
  const plain = await echoed(net.connect(inbound));
  checks.check(plain === 'closed', 'plain text is refused', plain);
  return { ...about, tls: spoken, checks: checks.passed };
}

function tlsSocket(
  { host, port }: Endpoint,
  { bundlePem: ca }: Identities,
  own: Credential | undefined,
): tls.TLSSocket {
  const identity = own === undefined ? {} : { key: own.keyPem, cert: own.chainPem };
  return tls.connect({
    host,
    port,
    ...identity,
    ca,
    ALPNProtocols: ['weft'],
    checkServerIdentity: () => undefined,
  });
}

/** @returns `echoed`, `closed`, or what came instead; silence is an answer that is not expected. */
function echoed(socket: net.Socket): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let read = '';
  const timer = setTimeout(() => resolve(`nothing in ${ANSWER_MS} ms`), ANSWER_MS);
  socket.on('data', (part: Buffer) => {
    read += part.toString('latin1');
    if (read.length >= MESSAGE.length) resolve(read === MESSAGE ? 'echoed' : `read ${read}`);
  });
  // A reset and a TLS alert are ways to be closed.
  socket.on('error', () => resolve('closed'));
  socket.on('close', () => resolve('closed'));
  socket.write(Buffer.concat([HEAD, Buffer.from(MESSAGE)]));
  return promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
  });
}
