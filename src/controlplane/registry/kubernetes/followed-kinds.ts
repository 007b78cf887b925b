// Which resources of a cluster are followed, where, and which of them the mesh cannot do without.
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  BASIC_AUTHENTICATIONS,
  CLUSTER_WORKLOAD_POLICIES,
  CREDENTIAL_BINDINGS,
  ENDPOINT_SLICES,
  EXTERNAL_SERVICES,
  FEDERATED_TRUST_DOMAINS,
  type KubeResource,
  MESH_CONFIGS,
  NAMESPACES,
  PEER_AUTHENTICATIONS,
  PODS,
  REQUEST_AUTHENTICATIONS,
  resource,
  SERVICE_ACCOUNTS,
  SERVICES,
  TLS_TERMINATIONS,
  TRAFFIC_POLICIES,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { classify, type Kind } from '../kinds.ts';

export interface FollowedKind {
  readonly kind: Kind;
  /** Its versions, the preferred first. */
  readonly resources: readonly [KubeResource, ...KubeResource[]];
  /**
   * - `always`: nothing is in force before it is listed.
   * - `where-installed`: so too, but a server that does not know it has none of it.
   * - `advisory`: changes nothing that is in force.
   */
  readonly need: 'always' | 'where-installed' | 'advisory';
  /** `root`: there is one for the mesh, in the root namespace. `cluster`: it lives in no namespace. */
  readonly scope: 'namespaces' | 'namespace-names' | 'root' | 'cluster';
  /** What of it the server need not send. */
  readonly fieldSelector?: string;
}

type Definition = Omit<FollowedKind, 'kind' | 'need' | 'scope'> &
  Partial<Pick<FollowedKind, 'need' | 'scope'>>;

const istio = (kind: string, plural: string): Definition => ({
  resources: [
    resource('security.istio.io/v1', kind, plural, 'namespaced'),
    resource('security.istio.io/v1beta1', kind, plural, 'namespaced'),
  ],
  need: 'where-installed',
});
const route = (kind: string, plural: string): Definition => ({
  resources: [resource('gateway.networking.k8s.io/v1', kind, plural, 'namespaced')],
  need: 'where-installed',
});

const DEFINITIONS: readonly Definition[] = [
  { resources: [NAMESPACES], scope: 'namespace-names' },
  { resources: [SERVICE_ACCOUNTS] },
  { resources: [SERVICES] },
  { resources: [ENDPOINT_SLICES] },
  // One that has ended has no address and no identity any more: old Jobs would be most of all Pods.
  { resources: [PODS], fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' },
  { resources: [AUTHORIZATION_POLICIES] },
  { resources: [PEER_AUTHENTICATIONS] },
  { resources: [REQUEST_AUTHENTICATIONS] },
  { resources: [BASIC_AUTHENTICATIONS], need: 'where-installed' },
  { resources: [TLS_TERMINATIONS], need: 'where-installed' },
  { resources: [TRAFFIC_POLICIES] },
  { resources: [EXTERNAL_SERVICES], need: 'where-installed' },
  { resources: [CREDENTIAL_BINDINGS], need: 'where-installed' },
  { resources: [MESH_CONFIGS], scope: 'root' },
  { resources: [FEDERATED_TRUST_DOMAINS], need: 'where-installed', scope: 'root' },
  { resources: [WORKLOAD_POLICIES], need: 'where-installed' },
  { resources: [CLUSTER_WORKLOAD_POLICIES], need: 'where-installed', scope: 'cluster' },
  istio('AuthorizationPolicy', 'authorizationpolicies'),
  istio('PeerAuthentication', 'peerauthentications'),
  istio('RequestAuthentication', 'requestauthentications'),
  route('HTTPRoute', 'httproutes'),
  route('GRPCRoute', 'grpcroutes'),
  {
    resources: [
      resource('gateway.networking.k8s.io/v1', 'ReferenceGrant', 'referencegrants', 'namespaced'),
      resource(
        'gateway.networking.k8s.io/v1beta1',
        'ReferenceGrant',
        'referencegrants',
        'namespaced',
      ),
    ],
    need: 'where-installed',
  },
];

export const FOLLOWED_KINDS: readonly FollowedKind[] = DEFINITIONS.map((definition) => ({
  need: 'always',
  scope: 'namespaces',
  ...definition,
  kind: kindOf(definition.resources[0]),
}));

function kindOf(followed: KubeResource): Kind {
  const found = classify(apiVersionOf(followed), followed.kind);
  if (typeof found === 'string') {
    throw new TypeError(`Cannot follow ${followed.kind}: it has no reader`);
  }
  return found;
}
