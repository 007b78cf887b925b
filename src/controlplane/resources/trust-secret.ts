// The mesh's trust bundle as proxies are sent it: its own roots, and where there are federations each trust domain's roots apart.
import type { TrustDomainRoots, TrustSecret } from '@weft/xds/resources/secret';
import { BUNDLE_SECRET } from '@weft/xds/resources/secret';

/** The same object for as long as all of it is the same. */
export interface TrustBundle {
  /** Our own roots. */
  readonly pem: string;
  /** Another whenever something of it is another. */
  readonly version: string;
  /** Of our own roots alone, as the CA numbers them; absent: `version`. */
  readonly ownVersion?: string;
  /** Every trust domain that is believed, our own first; absent: our own alone. */
  readonly byTrustDomain?: readonly TrustDomainRoots[];
}

export const trustSecretOf = ({
  pem,
  byTrustDomain,
}: Pick<TrustBundle, 'pem' | 'byTrustDomain'>): TrustSecret => ({
  name: BUNDLE_SECRET,
  trustedCaPem: pem,
  ...(byTrustDomain && { byTrustDomain }),
});
