// Says whose identities are believed in a mesh at all: its own names, and the trust domains that it is federated with.
import type { TrustDomain } from '../identity.ts';
import type { MeshSettings } from './mesh.ts';

/** Own names first. Whom each of them may call is for policies to say. */
export const believedTrustDomains = ({
  trustDomain,
  trustDomainAliases,
  federatedTrustDomains = [],
}: Pick<
  MeshSettings,
  'trustDomain' | 'trustDomainAliases' | 'federatedTrustDomains'
>): readonly TrustDomain[] => [trustDomain, ...trustDomainAliases, ...federatedTrustDomains];
