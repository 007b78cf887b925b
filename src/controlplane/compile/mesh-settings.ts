// What holds for the whole mesh: the one MeshConfig, or of several the strictest of each setting.
import { DEFAULT_MESH_CONFIG, type MeshConfig } from '@weft/model/mesh/config';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import type { OutboundPolicy } from '@weft/model/egress/egress';
import type { MeshSettings } from '@weft/model/mesh/mesh';
import type { MeshConfigObject } from '@weft/model/mesh/objects';
import { parseTrustDomain, type TrustDomain } from '@weft/model/identity';
import type { PathNormalization } from '@weft/model/policy/path';
import { type CompiledFederations, compileFederations } from './federations.ts';
import { isSame } from './structural-sharing.ts';
import type { Problem } from '@weft/model/problem';

/** What the process was started with; no object changes it. */
export interface MeshIdentity {
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  /** Default `cluster.local`. */
  readonly clusterDomain?: string;
  readonly membership?: Membership;
}

/**
 * Which Pods have a sidecar. `all`, the default: every one that does not opt out, as beside a folder of manifests, where
 * whoever starts the workload starts its sidecar. `injected`: those that the injector has given one; callers speak plain
 * text to the others.
 */
export type Membership = 'all' | 'injected';

/** Kubernetes' own default; not the trust domain, which may be called anything. */
const DEFAULT_CLUSTER_DOMAIN = 'cluster.local';

/** The later, the more spellings of a path are one. */
const BY_STRICTNESS: readonly PathNormalization[] = [
  'NONE',
  'BASE',
  'MERGE_SLASHES',
  'DECODE_AND_MERGE_SLASHES',
];

export interface CompiledSettings extends Pick<CompiledFederations, 'federations'> {
  readonly settings: MeshSettings;
  readonly problems: readonly Problem[];
}

export function compileSettings(
  configs: readonly MeshConfigObject[],
  identity: MeshIdentity,
  federated: Iterable<FederatedTrustDomain> = [],
): CompiledSettings {
  const problems: Problem[] = [];
  const [first, ...others] = configs;
  for (const { name } of others) {
    problems.push({
      severity: 'error',
      code: 'several-mesh-configs',
      message: `is one of ${configs.length} MeshConfigs; of each setting the strictest is in force`,
      cure: 'keep one MeshConfig',
      object: { kind: 'MeshConfig', name },
    });
  }
  const config = others.reduce(
    (strictest, { config: next }) => stricterOf(strictest, next),
    first?.config ?? DEFAULT_MESH_CONFIG,
  );
  const aliases = new Set<TrustDomain>();
  for (const text of config.trustDomainAliases) {
    const alias = parseTrustDomain(text);
    if (alias === undefined) problems.push(badAlias(text, first?.name ?? ''));
    else if (alias !== identity.trustDomain) aliases.add(alias);
  }
  const { outboundTrafficPolicyByNamespace: byNamespace } = config;
  const trustDomainAliases = [...aliases].sort();
  const { trustDomain, rootNamespace } = identity;
  const mesh = { trustDomain, aliases: trustDomainAliases, rootNamespace };
  const { federations, problems: flaws } = compileFederations(federated, mesh);
  const federatedTrustDomains = federations.map((one) => one.trustDomain);
  const settings: MeshSettings = {
    trustDomain,
    trustDomainAliases,
    ...(federatedTrustDomains.length > 0 && { federatedTrustDomains }),
    rootNamespace,
    clusterDomain: identity.clusterDomain ?? DEFAULT_CLUSTER_DOMAIN,
    pathNormalization: config.pathNormalization,
    ambiguousPaths: config.ambiguousPaths,
    outboundTrafficPolicy: config.outboundTrafficPolicy,
    extensionProviders: config.extensionProviders,
    trustedHops: config.trustedHops,
    jwksAllowedNetworks: config.jwksAllowedNetworks,
    ...(byNamespace && { outboundTrafficPolicyByNamespace: byNamespace }),
  };
  return { settings, federations, problems: [...problems, ...flaws] };
}

const badAlias = (text: string, name: string): Problem => ({
  severity: 'error',
  code: 'bad-trust-domain',
  field: 'spec.trustDomainAliases',
  message: `holds ${JSON.stringify(text)}, which is no trust domain and is ignored`,
  cure: 'write lower-case letters, digits, dots, dashes and underscores',
  object: { kind: 'MeshConfig', name },
});

/** Of each setting the one that lets less through. */
function stricterOf(a: MeshConfig, b: MeshConfig): MeshConfig {
  const rank = ({ pathNormalization }: MeshConfig): number =>
    BY_STRICTNESS.indexOf(pathNormalization);
  const isRefusing = [a, b].some((one) => one.ambiguousPaths === 'REFUSE');
  const isClosed = [a, b].some((one) => one.outboundTrafficPolicy === 'REGISTRY_ONLY');
  return {
    trustDomainAliases: a.trustDomainAliases.filter((name) => b.trustDomainAliases.includes(name)),
    pathNormalization: (rank(a) >= rank(b) ? a : b).pathNormalization,
    ambiguousPaths: isRefusing ? 'REFUSE' : 'NORMALIZE',
    outboundTrafficPolicy: isClosed ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
    ...strictestByNamespace(a, b),
    extensionProviders: a.extensionProviders.filter((mine) =>
      b.extensionProviders.some((theirs) => isSame(mine, theirs)),
    ),
    trustedHops: Math.min(a.trustedHops, b.trustedHops),
    jwksAllowedNetworks: a.jwksAllowedNetworks.filter((one) => b.jwksAllowedNetworks.includes(one)),
  };
}

/** Of every namespace that one of them names what lets less through. */
function strictestByNamespace(
  a: MeshConfig,
  b: MeshConfig,
): Pick<MeshConfig, 'outboundTrafficPolicyByNamespace'> {
  const both = [a, b];
  const policies = new Map<string, OutboundPolicy>();
  for (const { outboundTrafficPolicyByNamespace: named } of both) {
    for (const namespace of named?.keys() ?? []) {
      const isClosed = both.some(
        ({ outboundTrafficPolicy: all, outboundTrafficPolicyByNamespace: by }) =>
          (by?.get(namespace) ?? all) === 'REGISTRY_ONLY',
      );
      policies.set(namespace, isClosed ? 'REGISTRY_ONLY' : 'ALLOW_ANY');
    }
  }
  return policies.size === 0 ? {} : { outboundTrafficPolicyByNamespace: policies };
}
