// Who a client outside the mesh is, by the certificate that it showed: verified, judged by the constraints, and judged again when they change.
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import {
  type ClientCertificate,
  type ClientRefusal,
  judgeClientCertificate,
  readClientCertificate,
} from '@weft/model/tls/client-certificate';
import { staleness } from '@weft/model/tls/crl';
import type { ClientDemand } from '@weft/xds/resources/termination';
import { trustEndMs } from '../credentials.ts';
import { presentedChain } from '../presented-chain.ts';
import type { TerminationMaterial } from './material.ts';

/** A verified client; never one of the mesh, whatever its certificate says. */
export interface OutsideClient {
  readonly certificate: ClientCertificate;
  /** As presented, leaf first. */
  readonly chain: readonly X509Certificate[];
}

export type ClientCheck =
  /** Without a client: it showed no certificate, and need not. */
  | { readonly ok: true; readonly client: OutsideClient | undefined }
  | { readonly ok: false; readonly reasonCode: ClientRefusal; readonly detail: string };

/** Longer chains are nobody's. */
const MAX_CHAIN = 10;

const refuse = (reasonCode: ClientRefusal, detail: string): ClientCheck => ({
  ok: false,
  reasonCode,
  detail,
});

/** OpenSSL's codes; what is not among them is no good either. */
const REASONS: ReadonlyMap<string, ClientRefusal> = new Map([
  ['CERT_HAS_EXPIRED', 'client-certificate-expired'],
  ['CERT_NOT_YET_VALID', 'client-certificate-not-yet-valid'],
  ['CERT_REVOKED', 'client-certificate-revoked'],
  ['UNABLE_TO_GET_CRL', 'client-crl-missing'],
  ['UNABLE_TO_GET_CRL_ISSUER', 'client-crl-missing'],
  ['CRL_HAS_EXPIRED', 'client-crl-stale'],
  ['CRL_NOT_YET_VALID', 'client-crl-stale'],
  ['INVALID_PURPOSE', 'client-certificate-eku'],
]);

/** After a handshake in which OpenSSL has verified what the client showed. */
export function checkClient(
  socket: TLSSocket,
  demand: ClientDemand,
  { material, nowMs }: { readonly material: TerminationMaterial; readonly nowMs: number },
): ClientCheck {
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) {
    if (socket.isSessionReused())
      return refuse('client-certificate-missing', 'a session was resumed');
    return demand.isRequired
      ? refuse('client-certificate-missing', 'no certificate was presented')
      : { ok: true, client: undefined };
  }
  const reading = readClientCertificate(leaf.raw);
  if (!reading.ok) return refuse('client-certificate-unreadable', reading.reason);
  const { certificate } = reading;
  if (!socket.authorized) {
    const code = String(socket.authorizationError ?? 'not verified');
    const detail = `${code}: ${certificate.subjectText}`;
    return refuse(REASONS.get(code) ?? 'client-certificate-untrusted', detail);
  }
  const client = { certificate, chain: presentedChain(leaf, MAX_CHAIN) };
  const refusal = judgeClient(client, demand, { material, nowMs });
  return refusal === undefined
    ? { ok: true, client }
    : refuse(refusal, `${certificate.subjectText}, serial ${certificate.serialHex}`);
}

/** What of a client that was verified once is not good now; `undefined` when it may go on. */
export function judgeClient(
  client: OutsideClient,
  demand: ClientDemand,
  { material, nowMs }: { readonly material: TerminationMaterial; readonly nowMs: number },
): ClientRefusal | undefined {
  const { clients } = material;
  if (clients === undefined) return 'client-certificate-untrusted';
  const endMs = trustEndMs(client.chain, clients.roots);
  if (endMs < nowMs)
    return endMs > 0 ? 'client-certificate-expired' : 'client-certificate-untrusted';
  const { lists } = clients;
  if (lists.length > 0) {
    if (staleness(lists, nowMs, demand.constraints.crlMaxAgeMs) !== undefined)
      return 'client-crl-stale';
    if (client.chain.some((one) => isRevoked(one, lists))) return 'client-certificate-revoked';
  }
  return judgeClientCertificate(client.certificate, demand.constraints);
}

function isRevoked(
  certificate: X509Certificate,
  lists: NonNullable<TerminationMaterial['clients']>['lists'],
): boolean {
  const reading = readClientCertificate(certificate.raw);
  if (!reading.ok) return true;
  const { issuerHex, serialHex } = reading.certificate;
  return lists.some((list) => list.issuerHex === issuerHex && list.revoked.has(serialHex));
}
