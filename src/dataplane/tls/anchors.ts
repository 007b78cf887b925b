// Which roots vouch for whom, where several trust domains are believed: each for its own identities, and for nobody else's.
import { X509Certificate } from 'node:crypto';
import { type SpiffeId, type TrustDomain, trustDomainOf } from '@weft/model/identity';
import type { TrustDomainRoots } from '@weft/xds/resources/secret';
import { splitPem } from './pem.ts';

export interface Anchors {
  /** The same array for as long as these anchors live. */
  readonly rootsOf: (id: SpiffeId) => readonly X509Certificate[];
  /**
   * OpenSSL has verified that the chain leads to some root. Says whether it leads to one of the identity's own trust
   * domain, and to no other by any way: so the way that was verified, with all that certificates on it demand, is this one.
   * @param chain as presented, leaf first
   * @returns why nobody vouches for it
   */
  readonly whyNot: (id: SpiffeId, chain: readonly X509Certificate[]) => string | undefined;
}

const NOBODY: readonly X509Certificate[] = [];
/** Leaf, issuer and what is between it and a root. Of a longer chain not all is known, and so not every way. */
const MAX_CHAIN = 4;

/** @throws Error when a trust domain has no root, or a PEM text does not parse. */
export function createAnchors(
  own: { readonly trustDomain: TrustDomain; readonly roots: readonly X509Certificate[] },
  others: readonly TrustDomainRoots[],
): Anchors {
  const byDomain = new Map<string, readonly X509Certificate[]>([[own.trustDomain, own.roots]]);
  for (const { trustDomain, trustedCaPem } of others) {
    const roots = splitPem(trustedCaPem).map((pem) => new X509Certificate(pem));
    if (roots.length === 0 || byDomain.has(trustDomain)) {
      throw new Error(`Cannot trust ${trustDomain}: it has no roots, or is there twice`);
    }
    byDomain.set(trustDomain, roots);
  }
  const all = [...byDomain.values()].flat();
  const rootsOf = (id: SpiffeId): readonly X509Certificate[] =>
    byDomain.get(trustDomainOf(id)) ?? NOBODY;
  return { rootsOf, whyNot: (id, chain) => whyNot(chain, rootsOf(id), all) };
}

function whyNot(
  chain: readonly X509Certificate[],
  own: readonly X509Certificate[],
  all: readonly X509Certificate[],
): string | undefined {
  let [current] = chain;
  if (current === undefined || chain.length > MAX_CHAIN) return 'its chain is too long';
  /** One step a certificate at the most. */
  for (let step = 0; step <= chain.length; step++) {
    const issued: X509Certificate = current;
    const issuers = distinct([...all, ...chain].filter((one) => isIssuer(one, issued)));
    const [issuer, ...more] = issuers;
    if (issuer === undefined) return 'its chain leads to no root';
    if (more.length > 0) return 'its chain leads to more than one root';
    if (all.some(({ raw }) => raw.equals(issuer.raw))) {
      return own.some(({ raw }) => raw.equals(issuer.raw))
        ? undefined
        : 'its chain leads to a root of another trust domain';
    }
    current = issuer;
  }
  return 'its chain leads to no root';
}

const isIssuer = (candidate: X509Certificate, issued: X509Certificate): boolean =>
  candidate.ca &&
  !candidate.raw.equals(issued.raw) &&
  issued.checkIssued(candidate) &&
  issued.verify(candidate.publicKey);

const distinct = (certificates: readonly X509Certificate[]): readonly X509Certificate[] => [
  ...new Map(certificates.map((one) => [one.raw.toString('latin1'), one])).values(),
];
