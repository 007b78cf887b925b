// Joins our own roots with those of federated trust domains into what proxies are sent, and counts it as one version.
import { createHash } from 'node:crypto';
import type { Bundle } from '@weft/ca/opened-state';
import { rootsPem } from '@weft/model/federation/bundle-document';
import type { TrustDomain } from '@weft/model/identity';
import type { TrustDomainRoots } from '@weft/xds/resources/secret';
import type { TrustBundle } from '../resources/trust-secret.ts';
import type { FederatedBundles } from './federations.ts';

const VERSION_DIGITS = 16;

/** @returns our own bundle itself where nobody else is believed. */
export function createJoinedBundle(parts: {
  readonly trustDomain: TrustDomain;
  readonly own: () => Bundle;
  readonly federated: () => FederatedBundles;
}): () => TrustBundle {
  let known: { own: Bundle; federated: FederatedBundles; joined: TrustBundle } | undefined;
  return () => {
    const own = parts.own();
    const federated = parts.federated();
    if (known?.own === own && known.federated === federated) return known.joined;
    const joined = join(own, rootsOf(federated), parts.trustDomain);
    known = { own, federated, joined };
    return joined;
  };
}

/** Who has taken back all roots is believed no more than who was never there. */
const rootsOf = (federated: FederatedBundles): readonly TrustDomainRoots[] =>
  [...federated]
    .filter(([, { x509Authorities }]) => x509Authorities.length > 0)
    .map(([trustDomain, bundle]) => ({
      trustDomain,
      trustedCaPem: rootsPem(bundle.x509Authorities),
    }));

function join(
  { pem, version: ownVersion }: Bundle,
  others: readonly TrustDomainRoots[],
  trustDomain: TrustDomain,
): TrustBundle {
  if (others.length === 0) return { pem, version: ownVersion };
  const digest = createHash('sha256').update(JSON.stringify([ownVersion, others]));
  const version = digest.digest('hex').slice(0, VERSION_DIGITS);
  const byTrustDomain = [{ trustDomain, trustedCaPem: pem }, ...others];
  return { pem, version, ownVersion, byTrustDomain };
}
