// Attests by the certificate of the connection: a workload that has an identity may renew that one, and no other.
import { type IdentityParts, partsOf, type TrustDomain } from '@weft/model/identity';
import type { Peer } from '../server-credentials.ts';

export type CertificateAttestation =
  | { readonly ok: true; readonly identity: IdentityParts }
  | { readonly ok: false; readonly reasonCode: 'peer-not-a-workload'; readonly reason: string };

/** The peer's chain is verified already: connections without are not accepted. */
export function attestPeer(
  peer: Extract<Peer, { readonly ok: true }>,
  trustDomain: TrustDomain,
): CertificateAttestation {
  const parts = partsOf(peer.identity);
  const reasonCode = 'peer-not-a-workload';
  if (parts === undefined) {
    return { ok: false, reasonCode, reason: `${peer.identity} names no service account` };
  }
  if (parts.trustDomain !== trustDomain) {
    return { ok: false, reasonCode, reason: `${peer.identity} is not of ${trustDomain}` };
  }
  return { ok: true, identity: parts };
}
