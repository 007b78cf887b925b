// Who is at the other end of a finished handshake: chain, validity, EKU and exact SPIFFE id, read from the certificate's DER.
import type { TLSSocket } from 'node:tls';
import type { SpiffeId } from '@weft/model/identity';
import type { KnownPeers, MeshPeer } from './known-peers.ts';

export type { MeshPeer } from './known-peers.ts';

export type PeerCheck =
  | { readonly ok: true; readonly peer: MeshPeer }
  | { readonly ok: false; readonly reasonCode: PeerRefusal; readonly detail: string };

export type PeerRefusal =
  | 'peer-not-authorized'
  | 'peer-without-certificate'
  | 'peer-session-resumed'
  | 'peer-identity-invalid'
  | 'peer-not-vouched-for'
  | 'peer-eku-missing'
  | 'peer-identity-unexpected';

export interface PeerDemand {
  /** What the peer acted as; the EKU it must carry. */
  readonly role: 'client' | 'server';
  /** Decides on the exact identity. */
  readonly isExpected: (id: SpiffeId) => boolean;
  readonly known: KnownPeers;
}

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
 */
export function checkPeer(socket: TLSSocket, { role, isExpected, known }: PeerDemand): PeerCheck {
  if (!socket.authorized) {
    return refuse('peer-not-authorized', String(socket.authorizationError ?? 'not verified'));
  }
  if (socket.isSessionReused()) return refuse('peer-session-resumed', 'a session was resumed');
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return refuse('peer-without-certificate', 'no certificate was presented');
  const reading = known.read(leaf);
  if (!reading.ok) {
    const isForeign = reading.isNotVouchedFor === true;
    return refuse(isForeign ? 'peer-not-vouched-for' : 'peer-identity-invalid', reading.reason);
  }
  const { peer, clientAuth, serverAuth } = reading;
  if (role === 'client' ? !clientAuth : !serverAuth) {
    return refuse('peer-eku-missing', `certificate may not be used as TLS ${role}`);
  }
  if (!isExpected(peer.spiffeId)) {
    return refuse('peer-identity-unexpected', `peer is ${peer.spiffeId}`);
  }
  return { ok: true, peer };
}
