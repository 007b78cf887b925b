// Which kinds are read, in which versions, and by what; and which names must not be passed over in silence.
import type { RegistryObject } from '@weft/model/mesh/objects';
import type { PlainObject } from '@weft/model/policy/reader';
import { closedBasicAuthentication, readBasicAuthentication } from './read-basic-authentication.ts';
import { readCredentialBinding } from './read-credential-binding.ts';
import { readConfigMap, readSecret } from './read-data.ts';
import { readEndpointSlice } from './read-endpoint-slice.ts';
import { closedExternalService, readExternalService } from './read-external-service.ts';
import { readFederatedTrustDomain } from './read-federated-trust-domain.ts';
import { closedMeshConfig, readMeshConfig } from './read-mesh-config.ts';
import { readNamespace, readServiceAccount } from './read-namespace.ts';
import { readDeployment, readPod } from './read-pod.ts';
import {
  closedPeerAuthentication,
  closedPolicy,
  closedRequestAuthentication,
  readAuthorizationPolicy,
  readPeerAuthentication,
  readRequestAuthentication,
} from './read-policy.ts';
import {
  closedGrpcRoute,
  closedHttpRoute,
  readGrpcRoute,
  readHttpRoute,
  readReferenceGrant,
} from './read-route.ts';
import { readService } from './read-service.ts';
import { closedTlsTermination, readTlsTermination } from './read-tls-termination.ts';
import { closedTrafficPolicy, readTrafficPolicy } from './read-traffic-policy.ts';
import {
  closedClusterWorkloadPolicy,
  closedWorkloadPolicy,
  readClusterWorkloadPolicy,
  readWorkloadPolicy,
} from './read-workload-policy.ts';
import type { Reading, Scope } from './reading.ts';

export interface Kind {
  readonly kind: string;
  /** `singleton`: there is one of it, whatever its name. */
  readonly scope: Scope | 'singleton';
  read(object: PlainObject): Reading;
  /** For those that restrict, and for routes: what holds for one that cannot be read and has no good version. */
  close?(object: PlainObject): RegistryObject | undefined;
}

const GATEWAY_API = 'gateway.networking.k8s.io/v1';

const CORE: ReadonlyMap<string, Kind> = new Map(
  (
    [
      ['v1', { kind: 'Namespace', scope: 'cluster', read: readNamespace }],
      ['v1', { kind: 'ServiceAccount', scope: 'namespaced', read: readServiceAccount }],
      ['v1', { kind: 'Service', scope: 'namespaced', read: readService }],
      ['v1', { kind: 'Pod', scope: 'namespaced', read: readPod }],
      ['v1', { kind: 'Secret', scope: 'namespaced', read: readSecret }],
      ['v1', { kind: 'ConfigMap', scope: 'namespaced', read: readConfigMap }],
      ['apps/v1', { kind: 'Deployment', scope: 'namespaced', read: readDeployment }],
      [
        'discovery.k8s.io/v1',
        { kind: 'EndpointSlice', scope: 'namespaced', read: readEndpointSlice },
      ],
      [
        GATEWAY_API,
        { kind: 'HTTPRoute', scope: 'namespaced', read: readHttpRoute, close: closedHttpRoute },
      ],
      [
        GATEWAY_API,
        { kind: 'GRPCRoute', scope: 'namespaced', read: readGrpcRoute, close: closedGrpcRoute },
      ],
      [GATEWAY_API, { kind: 'ReferenceGrant', scope: 'namespaced', read: readReferenceGrant }],
      [
        `${GATEWAY_API}beta1`,
        { kind: 'ReferenceGrant', scope: 'namespaced', read: readReferenceGrant },
      ],
    ] satisfies readonly (readonly [string, Kind])[]
  ).map(([apiVersion, kind]) => [`${apiVersion} ${kind.kind}`, kind]),
);

/** Known by their kind alone: a policy with a misspelt version must be refused, not passed over. */
const RESTRICTING: ReadonlyMap<string, Kind> = new Map(
  (
    [
      {
        kind: 'AuthorizationPolicy',
        scope: 'namespaced',
        read: readAuthorizationPolicy,
        close: closedPolicy,
      },
      {
        kind: 'PeerAuthentication',
        scope: 'namespaced',
        read: readPeerAuthentication,
        close: closedPeerAuthentication,
      },
      {
        kind: 'RequestAuthentication',
        scope: 'namespaced',
        read: readRequestAuthentication,
        close: closedRequestAuthentication,
      },
      {
        kind: 'BasicAuthentication',
        scope: 'namespaced',
        read: readBasicAuthentication,
        close: closedBasicAuthentication,
      },
      {
        kind: 'TlsTermination',
        scope: 'namespaced',
        read: readTlsTermination,
        close: closedTlsTermination,
      },
      {
        kind: 'TrafficPolicy',
        scope: 'namespaced',
        read: readTrafficPolicy,
        close: closedTrafficPolicy,
      },
      {
        kind: 'CredentialBinding',
        scope: 'namespaced',
        read: readCredentialBinding,
        // It grants, and one that cannot be read grants nothing.
        close: () => undefined,
      },
      {
        kind: 'WorkloadPolicy',
        scope: 'namespaced',
        read: readWorkloadPolicy,
        close: closedWorkloadPolicy,
      },
      {
        kind: 'ClusterWorkloadPolicy',
        scope: 'cluster',
        read: readClusterWorkloadPolicy,
        close: closedClusterWorkloadPolicy,
      },
      {
        kind: 'ExternalService',
        scope: 'namespaced',
        read: readExternalService,
        close: closedExternalService,
      },
      {
        kind: 'FederatedTrustDomain',
        scope: 'namespaced',
        read: readFederatedTrustDomain,
        // It grants: of one that cannot be read nobody is believed.
        close: () => undefined,
      },
      {
        kind: 'MeshConfig',
        scope: 'singleton',
        read: readMeshConfig,
        close: closedMeshConfig,
      },
    ] satisfies readonly Kind[]
  ).map((kind) => [kind.kind, kind]),
);

/** Groups of other projects that have a kind of one of our names. */
const FOREIGN_GROUPS: ReadonlySet<string> = new Set(['policy.linkerd.io']);
/** Groups of which every kind means something to a mesh's security: an unknown one is an error. */
const OWN_GROUPS: ReadonlySet<string> = new Set([
  'security.weft.dev',
  'security.istio.io',
  'mesh.weft.dev',
]);

/** Files of a team's tools that stand beside its policies: no objects of a mesh, and nothing to warn about. */
const TOOL_GROUPS: ReadonlySet<string> = new Set(['test.weft.dev']);

export type Classified = Kind | 'ignored' | 'unknown' | 'tool';

export function classify(apiVersion: string, kind: string): Classified {
  const slash = apiVersion.indexOf('/');
  const group = slash === -1 ? '' : apiVersion.slice(0, slash);
  if (TOOL_GROUPS.has(group)) return 'tool';
  const restricting = FOREIGN_GROUPS.has(group) ? undefined : RESTRICTING.get(kind);
  if (restricting !== undefined) return restricting;
  return (
    CORE.get(`${apiVersion} ${kind}`) ?? (OWN_GROUPS.has(group) ? ('unknown' as const) : 'ignored')
  );
}
