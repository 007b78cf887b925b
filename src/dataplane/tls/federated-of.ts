// Takes out of a delivered bundle what is of other trust domains; what contradicts itself is refused.
import { type SpiffeId, trustDomainOf } from '@weft/model/identity';
import type { TrustDomainRoots, TrustSecret } from '@weft/xds/resources/secret';

/**
 * @param own who this workload is
 * @throws Error when it names no roots of our own trust domain, or others than the bundle has.
 */
export function federatedOf(
  { trustedCaPem, byTrustDomain }: TrustSecret,
  own: SpiffeId | undefined,
): readonly TrustDomainRoots[] | undefined {
  if (byTrustDomain === undefined) return undefined;
  if (own === undefined) throw new Error('Cannot trust others: it is not known yet who we are');
  const trustDomain = trustDomainOf(own);
  const ours = byTrustDomain.find((one) => one.trustDomain === trustDomain);
  if (ours?.trustedCaPem !== trustedCaPem) {
    throw new Error(`Cannot trust others: the roots of ${trustDomain} are not those of the bundle`);
  }
  const others = byTrustDomain.filter((one) => one !== ours);
  return others.length === 0 ? undefined : others;
}
