// Mesh-wide settings: what an operator may say in a MeshConfig, and what holds when nothing is said.
import type { OutboundPolicy } from '../egress/egress.ts';
import type { ExtAuthzProvider } from '../policy/ext-authz.ts';
import type { PathNormalization } from '../policy/path.ts';

export interface MeshConfig {
  /** Other names of the trust domain: peers that carry one are accepted, and principals written with one mean all. */
  readonly trustDomainAliases: readonly string[];
  readonly pathNormalization: PathNormalization;
  /** Whether paths that an application may read differently are answered with 400. */
  readonly ambiguousPaths: 'NORMALIZE' | 'REFUSE';
  /** What happens to calls to destinations that the registry does not know. */
  readonly outboundTrafficPolicy: OutboundPolicy;
  /** The same for callers of single namespaces; absent: none differs. */
  readonly outboundTrafficPolicyByNamespace?: ReadonlyMap<string, OutboundPolicy>;
  /** Whom CUSTOM policies may ask; names are unique. */
  readonly extensionProviders: readonly ExtAuthzProvider[];
  /** Trusted hops in X-Forwarded-For. */
  readonly trustedHops: number;
  /**
   * Networks of which token issuers' keys may be fetched although they are not public: `10.96.0.0/12`. Whoever may
   * write a RequestAuthentication has the control plane call what it names (CVE-2026-41413).
   */
  readonly jwksAllowedNetworks: readonly string[];
}

/**
 * ALLOW_ANY as in Istio: a workload that joins the mesh keeps what it could reach. It is no security boundary
 * either way, for a workload can go around its own sidecar; the one called decides.
 */
export const DEFAULT_MESH_CONFIG: MeshConfig = {
  trustDomainAliases: [],
  pathNormalization: 'BASE',
  ambiguousPaths: 'NORMALIZE',
  outboundTrafficPolicy: 'ALLOW_ANY',
  extensionProviders: [],
  trustedHops: 0,
  jwksAllowedNetworks: [],
};

/**
 * In force while there is a MeshConfig that cannot be read and no good version of it: of each setting the one that
 * lets the least through. Paths are matched in their most decoded form and refused where they are ambiguous; no other trust domain is accepted.
 */
export const STRICTEST_MESH_CONFIG: MeshConfig = {
  trustDomainAliases: [],
  pathNormalization: 'DECODE_AND_MERGE_SLASHES',
  ambiguousPaths: 'REFUSE',
  outboundTrafficPolicy: 'REGISTRY_ONLY',
  extensionProviders: [],
  trustedHops: 0,
  jwksAllowedNetworks: [],
};
