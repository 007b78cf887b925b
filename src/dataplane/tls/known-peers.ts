// Remembers, for one generation of trust, what the certificates say that peers have shown: the next connection of a peer does not read them anew.
import type { X509Certificate } from 'node:crypto';
import type { SpiffeId } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import type { Anchors } from './anchors.ts';
import { presentedChain } from './presented-chain.ts';

/** One for all connections of a peer that shows the same certificate. */
export interface MeshPeer {
  readonly spiffeId: SpiffeId;
  /** As presented, leaf first: kept to judge the connection again when the bundle changes. */
  readonly chain: readonly X509Certificate[];
}

/** What a certificate says; whether it is trusted, may be used in a role and is expected is decided for each connection. */
export type PeerReading =
  | {
      readonly ok: true;
      readonly peer: MeshPeer;
      readonly clientAuth: boolean;
      readonly serverAuth: boolean;
    }
  | {
      readonly ok: false;
      /** It is an identity, and the roots are of somebody else. */
      readonly isNotVouchedFor?: true;
      readonly reason: string;
    };

/** Longer chains than root, issuer and leaf with one cross-signed between are not Weft's. */
const MAX_CHAIN = 5;
/** About 6 KB each; of more peers the one that was read longest ago is read anew, when it comes again. */
const MAX_PEERS = 1_024;

/**
 * Made with the contexts of one generation and gone with them. Holds only what follows from the bytes: the key is the
 * whole certificate, and no decision is kept but whose roots vouch for it, which are these contexts' own. Only certificates that OpenSSL has verified are to be asked for.
 */
export class KnownPeers {
  readonly #byLeaf = new Map<string, PeerReading>();
  readonly #limit: number;
  readonly #anchors: Anchors | undefined;

  /** @param options.anchors where several trust domains are believed: who vouches for whom. */
  constructor(options: { readonly limit?: number; readonly anchors?: Anchors } = {}) {
    this.#limit = options.limit ?? MAX_PEERS;
    this.#anchors = options.anchors;
  }

  get size(): number {
    return this.#byLeaf.size;
  }

  read(leaf: X509Certificate): PeerReading {
    const { raw } = leaf;
    const key = raw.toString('latin1');
    const known = this.#byLeaf.get(key);
    if (known !== undefined) return known;
    const reading = this.#vouchedFor(readPeer(leaf, raw));
    for (const oldest of this.#byLeaf.keys()) {
      if (this.#byLeaf.size < this.#limit) break;
      this.#byLeaf.delete(oldest);
    }
    this.#byLeaf.set(key, reading);
    return reading;
  }

  #vouchedFor(reading: PeerReading): PeerReading {
    if (!reading.ok || this.#anchors === undefined) return reading;
    const { spiffeId, chain } = reading.peer;
    const reason = this.#anchors.whyNot(spiffeId, chain);
    if (reason === undefined) return reading;
    return { ok: false, isNotVouchedFor: true, reason: `peer claims ${spiffeId}: ${reason}` };
  }
}

/** The identity is read from DER, never from `subjectaltname` text (CVE-2021-44532). */
function readPeer(leaf: X509Certificate, raw: Buffer): PeerReading {
  const identity = peerIdentity(raw);
  if (!identity.ok) return identity;
  const { spiffeId, clientAuth, serverAuth } = identity;
  return {
    ok: true,
    peer: { spiffeId, chain: presentedChain(leaf, MAX_CHAIN) },
    clientAuth,
    serverAuth,
  };
}
