// Opens mutual TLS connections to one proxy, asks once on each and keeps them open, in a process of its own.
import tls from 'node:tls';
import { checkControlPlane } from '@weft/dataplane/control-plane/link';
import { parseSpiffeId, type SpiffeId } from '@weft/model/identity';
import type { Endpoint } from './peers/envoy-config.ts';

export interface HoldJob {
  readonly to: Endpoint;
  readonly connections: number;
  readonly path: string;
  readonly keyPem: string;
  readonly chainPem: string;
  readonly bundlePem: string;
  /** The server's SPIFFE id, nobody else. */
  readonly serverId: string;
}

export type HoldAnswer =
  | { readonly kind: 'started' | 'holding' | 'released' }
  | { readonly kind: 'failed'; readonly reason: string };

/** Handshakes under way at once. */
const AT_ONCE = 16;
const ANSWER_MS = 20_000;

const held = new Set<tls.TLSSocket>();
let lost = 0;

function openOne(job: HoldJob, serverId: SpiffeId, context: tls.SecureContext): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { host, port } = job.to;
  const socket = tls.connect({
    host,
    port,
    secureContext: context,
    servername: 'workload',
    ALPNProtocols: ['http/1.1'],
    // By the SPIFFE id in the certificate that the handshake verified, as a sidecar does it.
    checkServerIdentity: checkControlPlane(serverId),
  });
  const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), ANSWER_MS);
  let text = '';
  const read = (part: Buffer): void => {
    text += part.toString('latin1');
    if (!/^HTTP\/1\.1 200 [\s\S]*\r\n\r\nx{100}$/.test(text)) return;
    clearTimeout(timer);
    socket.off('data', read);
    socket.resume();
    held.add(socket);
    resolve();
  };
  socket.on('data', read);
  socket.on('error', reject);
  socket.on('close', () => {
    clearTimeout(timer);
    if (held.delete(socket)) lost++;
    reject(new Error(`a connection was closed: ${text.slice(0, 200)}`));
  });
  socket.write(`GET ${job.path} HTTP/1.1\r\nhost: prices.shop\r\n\r\n`);
  return promise;
}

async function hold(job: HoldJob): Promise<void> {
  const serverId = parseSpiffeId(job.serverId);
  if (serverId === undefined) throw new TypeError(`Cannot call ${job.serverId}: no SPIFFE id`);
  const context = tls.createSecureContext({
    ca: job.bundlePem,
    key: job.keyPem,
    cert: job.chainPem,
    minVersion: 'TLSv1.3',
  });
  lost = 0;
  let left = job.connections;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (left-- > 0) await openOne(job, serverId, context);
    }),
  );
}

/** @throws Error when one was closed meanwhile: fewer connections were measured than it says. */
function release(): void {
  const wereLost = lost;
  for (const socket of held) {
    held.delete(socket);
    socket.destroy();
  }
  if (wereLost > 0) throw new Error(`${wereLost} connections were closed while they were held`);
}

async function answer(message: HoldJob | 'release'): Promise<HoldAnswer> {
  try {
    if (message === 'release') {
      release();
      return { kind: 'released' };
    }
    await hold(message);
    return { kind: 'holding' };
  } catch (error) {
    return { kind: 'failed', reason: String(error) };
  }
}

if (import.meta.main) {
  process.on('message', (message: HoldJob | 'release') => {
    void answer(message).then((said) => process.send?.(said));
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ kind: 'started' });
}
