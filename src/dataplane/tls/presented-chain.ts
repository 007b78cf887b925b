// Reads the chain of certificates that a peer has shown in its handshake.
import type { X509Certificate } from 'node:crypto';

/**
 * As presented, leaf first, up to one that issued itself or whose issuer was not shown.
 * @param limit of certificates; the rest of a longer chain is not read.
 */
export function presentedChain(leaf: X509Certificate, limit: number): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let current: X509Certificate | undefined = leaf;
  while (current !== undefined && chain.length < limit) {
    chain.push(current);
    const issuer: X509Certificate | undefined = current.issuerCertificate;
    current = issuer === current ? undefined : issuer;
  }
  return chain;
}
