// Who is at the other end of a finished handshake: chain, validity, EKU and exact SPIFFE id, read from the certificate's DER.
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { SpiffeId } from '@weft/model/identity';
import { peerIdentity, type PeerIdentity } from '@weft/model/x509';

export interface MeshPeer {
  readonly spiffeId: SpiffeId;
  /** As presented, leaf first: kept to judge the connection again when the bundle changes. */
  readonly chain: readonly X509Certificate[];
}

export type PeerCheck =
  | { readonly ok: true; readonly peer: MeshPeer }
  | { readonly ok: false; readonly reasonCode: PeerRefusal; readonly detail: string };

export type PeerRefusal =
  | 'peer-not-authorized'
  | 'peer-without-certificate'
  | 'peer-session-resumed'
  | 'peer-identity-invalid'
  | 'peer-eku-missing'
  | 'peer-identity-unexpected';

/** Longer chains than root, issuer and leaf with one cross-signed between are not Weft's. */
const MAX_CHAIN = 5;

const refuse = (reasonCode: PeerRefusal, detail: string): PeerCheck => ({
  ok: false,
  reasonCode,
  detail,
});

/**
 * Checks the peer of a socket whose handshake is done.
 * OpenSSL has verified chain, validity and purpose; `authorized` says so. The identity is read here, from DER,
 * never from `subjectaltname` text (CVE-2021-44532). A resumed session is refused: its peer was verified under
 * what was trusted then, not now (CVE-2026-48934).
 * @param role what the peer acted as; the EKU it must carry.
 * @param isExpected decides on the exact identity.
 */
export function checkPeer(
  socket: TLSSocket,
  role: 'client' | 'server',
  isExpected: (id: SpiffeId) => boolean,
): PeerCheck {
  if (!socket.authorized) {
    return refuse('peer-not-authorized', String(socket.authorizationError ?? 'not verified'));
  }
  if (socket.isSessionReused()) return refuse('peer-session-resumed', 'a session was resumed');
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return refuse('peer-without-certificate', 'no certificate was presented');
  const identity: PeerIdentity = peerIdentity(leaf.raw);
  if (!identity.ok) return refuse('peer-identity-invalid', identity.reason);
  if (role === 'client' ? !identity.clientAuth : !identity.serverAuth) {
    return refuse('peer-eku-missing', `certificate may not be used as TLS ${role}`);
  }
  if (!isExpected(identity.spiffeId)) {
    return refuse('peer-identity-unexpected', `peer is ${identity.spiffeId}`);
  }
  return { ok: true, peer: { spiffeId: identity.spiffeId, chain: presentedChain(leaf) } };
}

function presentedChain(leaf: X509Certificate): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let current: X509Certificate | undefined = leaf;
  while (current !== undefined && chain.length < MAX_CHAIN) {
    chain.push(current);
    const issuer: X509Certificate | undefined = current.issuerCertificate;
    current = issuer === current ? undefined : issuer;
  }
  return chain;
}
