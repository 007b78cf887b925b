// The sidecar's own certificate and the bundle it trusts, as secure contexts that can be replaced while connections live.
import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { type SpiffeId, trustDomainOf } from '@weft/model/identity';
import type { TrustDomainRoots } from '@weft/xds/resources/secret';
import { createAnchors } from './anchors.ts';
import { KnownPeers } from './known-peers.ts';
import { splitPem } from './pem.ts';

export { splitPem } from './pem.ts';

/** What enrolment and the SDS stream provide. The key never leaves the process. */
export interface MeshMaterial {
  readonly spiffeId: SpiffeId;
  readonly keyPem: string;
  /** Leaf first, then the issuing certificates. */
  readonly chainPem: string;
  readonly bundlePem: string;
  /** Roots of other trust domains, for their identities alone; absent: nobody else is believed. */
  readonly federated?: readonly TrustDomainRoots[];
}

/** One generation of material, ready for handshakes. */
export interface MeshContexts {
  readonly spiffeId: SpiffeId;
  readonly server: tls.SecureContextOptions;
  readonly client: tls.SecureContext;
  /** Who vouches for that identity. The same array for as long as these contexts live. */
  readonly rootsOf: (id: SpiffeId) => readonly X509Certificate[];
  /** Peers that were verified under this generation. */
  readonly known: KnownPeers;
}

/**
 * Builds contexts for TLS 1.3 alone.
 * @throws Error when a PEM text does not parse or the key is not the certificate's.
 */
export function createMeshContexts(material: MeshMaterial): MeshContexts {
  const roots = splitPem(material.bundlePem).map((pem) => new X509Certificate(pem));
  if (roots.length === 0) throw new Error('Cannot trust anybody: the bundle is empty');
  const { spiffeId, federated = [] } = material;
  const own = { trustDomain: trustDomainOf(spiffeId), roots };
  const anchors = federated.length === 0 ? undefined : createAnchors(own, federated);
  const options: tls.SecureContextOptions = {
    key: material.keyPem,
    cert: material.chainPem,
    ca: [material.bundlePem, ...federated.map((one) => one.trustedCaPem)].join(''),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
  };
  return {
    spiffeId,
    server: options,
    client: tls.createSecureContext(options),
    rootsOf: anchors?.rootsOf ?? (() => roots),
    known: new KnownPeers({ ...(anchors && { anchors }) }),
  };
}

const NEVER = Number.NEGATIVE_INFINITY;

interface Trust {
  readonly roots: readonly X509Certificate[];
  readonly endMs: number;
}

/** All connections of a peer have one chain: when the roots change, its signatures are verified once for all of them. */
const trustByChain = new WeakMap<readonly X509Certificate[], Trust>();

/**
 * Until when a peer that was verified once is trusted under these roots: the chain it presented (leaf first) must lead
 * to one of them, and holds until the first certificate on the way expires.
 * @param roots of one generation, which never changes; another generation is another array.
 * @returns milliseconds since the epoch; before all time when the chain leads to none of the roots.
 */
export function trustEndMs(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): number {
  const known = trustByChain.get(chain);
  if (known?.roots === roots) return known.endMs;
  const endMs = followChain(chain, roots);
  trustByChain.set(chain, { roots, endMs });
  return endMs;
}

function followChain(chain: readonly X509Certificate[], roots: readonly X509Certificate[]): number {
  const leaf = chain[0];
  if (leaf === undefined) return NEVER;
  let current = leaf;
  let endMs = Number.POSITIVE_INFINITY;
  const candidates = chain.slice(1);
  /** One step a certificate at the most: a chain cannot be longer than what was presented. */
  for (let step = 0; step <= chain.length; step++) {
    endMs = Math.min(endMs, Date.parse(current.validTo));
    const issued = current;
    if (roots.some((root) => issued.checkIssued(root) && issued.verify(root.publicKey)))
      return endMs;
    const issuer = candidates.find(
      (candidate) =>
        candidate !== issued &&
        candidate.ca &&
        issued.checkIssued(candidate) &&
        issued.verify(candidate.publicKey),
    );
    if (issuer === undefined) return NEVER;
    current = issuer;
  }
  return NEVER;
}

/** Whether a chain leads to one of the roots and none of it has expired. */
export const isStillTrusted = (
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  nowMs: number,
): boolean => trustEndMs(chain, roots) >= nowMs;
