// Names the resources of the Kubernetes API that Weft reads and writes, and how their paths are made.

/** A resource as the API server serves it. */
export interface KubeResource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
}

export const resource = (
  apiVersion: string,
  kind: string,
  plural: string,
  scope: 'namespaced' | 'cluster',
): KubeResource => {
  const slash = apiVersion.indexOf('/');
  return {
    group: slash === -1 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    plural,
    kind,
    isNamespaced: scope === 'namespaced',
  };
};

export const apiVersionOf = ({ group, version }: KubeResource): string =>
  group === '' ? version : `${group}/${version}`;

/** As RBAC and `kubectl` write it: `pods`, `leases.coordination.k8s.io`. */
export const resourceName = ({ group, plural }: KubeResource): string =>
  group === '' ? plural : `${plural}.${group}`;

export interface Place {
  /** Absent: every namespace, or a resource that lives in none. */
  readonly namespace?: string | undefined;
  /** Absent: the collection. */
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

/** Every part is quoted: no name leads anywhere but to its own object. */
export function pathOf(target: KubeResource, { namespace, name, subresource }: Place): string {
  const root = target.group === '' ? '/api' : `/apis/${target.group}`;
  const parts = [root, target.version];
  if (namespace !== undefined) parts.push('namespaces', encodeURIComponent(namespace));
  parts.push(target.plural);
  if (name !== undefined) parts.push(encodeURIComponent(name));
  if (subresource !== undefined) parts.push(subresource);
  return parts.join('/');
}

export const NAMESPACES = resource('v1', 'Namespace', 'namespaces', 'cluster');
export const SERVICE_ACCOUNTS = resource('v1', 'ServiceAccount', 'serviceaccounts', 'namespaced');
export const SERVICES = resource('v1', 'Service', 'services', 'namespaced');
export const PODS = resource('v1', 'Pod', 'pods', 'namespaced');
export const SECRETS = resource('v1', 'Secret', 'secrets', 'namespaced');
export const CONFIG_MAPS = resource('v1', 'ConfigMap', 'configmaps', 'namespaced');
export const NODES = resource('v1', 'Node', 'nodes', 'cluster');
export const EVENTS = resource('events.k8s.io/v1', 'Event', 'events', 'namespaced');
export const ENDPOINT_SLICES = resource(
  'discovery.k8s.io/v1',
  'EndpointSlice',
  'endpointslices',
  'namespaced',
);
export const LEASES = resource('coordination.k8s.io/v1', 'Lease', 'leases', 'namespaced');
export const TOKEN_REVIEWS = resource(
  'authentication.k8s.io/v1',
  'TokenReview',
  'tokenreviews',
  'cluster',
);
export const SELF_SUBJECT_ACCESS_REVIEWS = resource(
  'authorization.k8s.io/v1',
  'SelfSubjectAccessReview',
  'selfsubjectaccessreviews',
  'cluster',
);
export const CUSTOM_RESOURCE_DEFINITIONS = resource(
  'apiextensions.k8s.io/v1',
  'CustomResourceDefinition',
  'customresourcedefinitions',
  'cluster',
);
export const MUTATING_WEBHOOKS = resource(
  'admissionregistration.k8s.io/v1',
  'MutatingWebhookConfiguration',
  'mutatingwebhookconfigurations',
  'cluster',
);
export const VALIDATING_WEBHOOKS = resource(
  'admissionregistration.k8s.io/v1',
  'ValidatingWebhookConfiguration',
  'validatingwebhookconfigurations',
  'cluster',
);
export const VALIDATING_ADMISSION_POLICIES = resource(
  'admissionregistration.k8s.io/v1',
  'ValidatingAdmissionPolicy',
  'validatingadmissionpolicies',
  'cluster',
);
export const VALIDATING_ADMISSION_BINDINGS = resource(
  'admissionregistration.k8s.io/v1',
  'ValidatingAdmissionPolicyBinding',
  'validatingadmissionpolicybindings',
  'cluster',
);

export const FEDERATED_TRUST_DOMAINS = resource(
  'security.weft.dev/v1',
  'FederatedTrustDomain',
  'federatedtrustdomains',
  'namespaced',
);
export const WORKLOAD_POLICIES = resource(
  'security.weft.dev/v1',
  'WorkloadPolicy',
  'workloadpolicies',
  'namespaced',
);
export const CLUSTER_WORKLOAD_POLICIES = resource(
  'security.weft.dev/v1',
  'ClusterWorkloadPolicy',
  'clusterworkloadpolicies',
  'cluster',
);
export const AUTHORIZATION_POLICIES = resource(
  'security.weft.dev/v1',
  'AuthorizationPolicy',
  'authorizationpolicies',
  'namespaced',
);
export const PEER_AUTHENTICATIONS = resource(
  'security.weft.dev/v1',
  'PeerAuthentication',
  'peerauthentications',
  'namespaced',
);
export const REQUEST_AUTHENTICATIONS = resource(
  'security.weft.dev/v1',
  'RequestAuthentication',
  'requestauthentications',
  'namespaced',
);
export const BASIC_AUTHENTICATIONS = resource(
  'security.weft.dev/v1',
  'BasicAuthentication',
  'basicauthentications',
  'namespaced',
);
export const TLS_TERMINATIONS = resource(
  'security.weft.dev/v1',
  'TlsTermination',
  'tlsterminations',
  'namespaced',
);
export const TRAFFIC_POLICIES = resource(
  'mesh.weft.dev/v1',
  'TrafficPolicy',
  'trafficpolicies',
  'namespaced',
);
export const EXTERNAL_SERVICES = resource(
  'mesh.weft.dev/v1',
  'ExternalService',
  'externalservices',
  'namespaced',
);
export const CREDENTIAL_BINDINGS = resource(
  'security.weft.dev/v1',
  'CredentialBinding',
  'credentialbindings',
  'namespaced',
);
/** One for the mesh, in the root namespace. */
export const MESH_CONFIGS = resource('mesh.weft.dev/v1', 'MeshConfig', 'meshconfigs', 'namespaced');
/** One for the mesh: what is trusted, and how far a rotation has come. */
export const TRUST_BUNDLES = resource('mesh.weft.dev/v1', 'TrustBundle', 'trustbundles', 'cluster');
