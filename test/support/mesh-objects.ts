// Short ways to write the objects of a mesh in tests.
import { DEFAULT_MESH_CONFIG, type MeshConfig } from '@weft/model/mesh/config';
import type {
  AuthorizationPolicyObject,
  EndpointSliceObject,
  MeshConfigObject,
  NamespaceObject,
  ObjectMeta,
  PeerAuthenticationObject,
  PodObject,
  RegistryObject,
  ServiceObject,
  ServicePortSpec,
  Snapshot,
} from '@weft/model/mesh/objects';
import type { MtlsMode } from '@weft/model/policy/types';
import { policyOf } from './policies.ts';

type Labels = Readonly<Record<string, string>>;

export const metaOf = (name: string, namespace = 'shop', labels: Labels = {}): ObjectMeta => ({
  namespace,
  name,
  labels: new Map(Object.entries(labels)),
  annotations: new Map(),
});

/** A ready Pod `NAME-1` of the app, with ServiceAccount and label `app` of that name. */
export function podOf(
  app: string,
  more: Partial<Omit<PodObject, 'kind'>> & {
    readonly namespace?: string;
    readonly labels?: Labels;
  } = {},
): PodObject {
  const { namespace = 'shop', labels = { app }, ...fields } = more;
  return {
    kind: 'Pod',
    meta: metaOf(`${app}-1`, namespace, labels),
    serviceAccount: app,
    ips: ['10.0.0.1'],
    ports: [{ name: 'http', port: 8080 }],
    isReady: true,
    isDeleting: false,
    isFinished: false,
    ...fields,
  };
}

/** A Service that selects the app's Pods, port 80 to 8080. */
export function serviceOf(
  app: string,
  more: Partial<Omit<ServiceObject, 'kind' | 'ports'>> & {
    readonly namespace?: string;
    readonly ports?: readonly Partial<ServicePortSpec>[];
  } = {},
): ServiceObject {
  const { namespace = 'shop', ports = [{}], ...fields } = more;
  return {
    kind: 'Service',
    meta: metaOf(app, namespace),
    selector: new Map([['app', app]]),
    clusterIps: ['10.96.0.1'],
    isHeadless: false,
    publishesNotReady: false,
    ports: ports.map((port) => ({
      name: 'http',
      port: 80,
      targetPort: 8080,
      appProtocol: undefined,
      ...port,
    })),
    ...fields,
  };
}

export function sliceOf(
  service: string,
  more: Partial<Omit<EndpointSliceObject, 'kind' | 'service'>> = {},
): EndpointSliceObject {
  const ports = [{ name: 'http', port: 8080 }];
  return {
    kind: 'EndpointSlice',
    meta: metaOf(`${service}-abc`),
    service,
    ports,
    endpoints: [],
    ...more,
  };
}

export const namespaceOf = (name: string, labels: Labels = {}): NamespaceObject => ({
  kind: 'Namespace',
  meta: metaOf(name, '', labels),
});

export const authorizationOf = (
  spec: object,
  name = 'p',
  namespace = 'shop',
): AuthorizationPolicyObject => ({
  kind: 'AuthorizationPolicy',
  policy: policyOf(spec, name, namespace),
});

export const peerAuthenticationOf = (
  mode: MtlsMode,
  more: Partial<PeerAuthenticationObject['policy']> = {},
): PeerAuthenticationObject => ({
  kind: 'PeerAuthentication',
  policy: {
    namespace: 'shop',
    name: 'default',
    createdAtMs: 0,
    selector: undefined,
    mode,
    portModes: new Map(),
    ...more,
  },
});

/** Keys as a source would make them. */
export function keyOf(object: RegistryObject): string {
  if ('meta' in object) return `${object.kind}/${object.meta.namespace}/${object.meta.name}`;
  if ('policy' in object) return `${object.kind}/${object.policy.namespace}/${object.policy.name}`;
  if ('binding' in object)
    return `${object.kind}/${object.binding.namespace}/${object.binding.name}`;
  if ('route' in object)
    return `${object.route.kind}/${object.route.namespace}/${object.route.name}`;
  if ('grant' in object) return `${object.kind}/${object.grant.namespace}/${object.grant.name}`;
  if ('service' in object && typeof object.service === 'object')
    return `${object.kind}/${object.service.namespace}/${object.service.name}`;
  if ('federation' in object)
    return `${object.kind}/${object.federation.namespace}/${object.federation.name}`;
  return 'name' in object ? `${object.kind}/${object.name}` : object.kind;
}

export const snapshotOf = (objects: readonly RegistryObject[], revision = 1): Snapshot => ({
  revision,
  objects: new Map(objects.map((object) => [keyOf(object), object])),
});

export const meshConfigOf = (more: Partial<MeshConfig>): MeshConfigObject => ({
  kind: 'MeshConfig',
  name: 'mesh',
  config: { ...DEFAULT_MESH_CONFIG, ...more },
});
