// Reads the roots of other trust domains out of a bundle of the renewal stream; one that cannot be read is nobody.
import { X509Certificate } from 'node:crypto';
import { parseTrustDomain } from '@weft/model/identity';
import { messagesOf, textOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';
import type { TrustDomainRoots } from '@weft/xds/resources/secret';

/** Far above what a control plane sends. */
const MAX_TRUST_DOMAINS = 256;
const MAX_ROOTS = 32;

/** @returns `undefined` when there are none, also when there are more than there may be. */
export function readFederated(bundle: PlainMessage): readonly TrustDomainRoots[] | undefined {
  const byName = new Map<string, TrustDomainRoots>();
  const all = messagesOf(bundle, 'federated');
  if (all.length > MAX_TRUST_DOMAINS) return undefined;
  for (const one of all) {
    const roots = rootsOf(one);
    if (roots !== undefined) byName.set(roots.trustDomain, roots);
  }
  return byName.size === 0 ? undefined : [...byName.values()];
}

function rootsOf(one: PlainMessage): TrustDomainRoots | undefined {
  const trustDomain = parseTrustDomain(textOf(one, 'trust_domain'));
  const list = one['root_der'];
  const ders = Array.isArray(list) ? list.filter((item) => item instanceof Uint8Array) : [];
  if (trustDomain === undefined || ders.length === 0 || ders.length > MAX_ROOTS) return undefined;
  try {
    const roots = ders.map((der) => new X509Certificate(der));
    if (!roots.every((root) => root.ca)) return undefined;
    return { trustDomain, trustedCaPem: roots.map((root) => root.toString()).join('') };
  } catch {
    /** Bytes that are no certificate: of this trust domain nobody is believed. */
    return undefined;
  }
}
