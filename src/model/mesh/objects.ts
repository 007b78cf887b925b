// The objects a source delivers, as far as the mesh uses them: checked once, plain and immutable from then on.
import type { WorkloadPolicy } from '../admission/types.ts';
import type { CredentialBinding } from '../credentials/types.ts';
import type { RouteGrant, ServiceRoute } from '../routes/types.ts';
import type { ExternalService } from '../egress/external-service.ts';
import type { FederatedTrustDomain } from '../federation/types.ts';
import type { BrokenPolicy } from '../policy/compile.ts';
import type { RequestAuthentication } from '../policy/token-rules.ts';
import type { AuthorizationPolicy, PeerAuthentication } from '../policy/types.ts';
import type { TrafficPolicy } from '../traffic/types.ts';
import type { SecretText } from '../secret-text.ts';
import type { BasicAuthentication } from '../login/types.ts';
import type { TlsTermination } from '../tls/types.ts';
import type { MeshConfig } from './config.ts';

export interface ObjectMeta {
  /** Empty for objects that live in no namespace. */
  readonly namespace: string;
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
}

export interface NamespaceObject {
  readonly kind: 'Namespace';
  readonly meta: ObjectMeta;
}

export interface ServiceAccountObject {
  readonly kind: 'ServiceAccount';
  readonly meta: ObjectMeta;
}

export interface ServicePortSpec {
  /** Empty when the port has none. */
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a container's port. */
  readonly targetPort: number | string;
  readonly appProtocol: string | undefined;
}

export interface ServiceObject {
  readonly kind: 'Service';
  readonly meta: ObjectMeta;
  /** Absent: endpoints come from EndpointSlices alone. */
  readonly selector: ReadonlyMap<string, string> | undefined;
  /** Canonical text; empty for a headless service, and where nobody assigns addresses. */
  readonly clusterIps: readonly string[];
  readonly isHeadless: boolean;
  readonly publishesNotReady: boolean;
  readonly ports: readonly ServicePortSpec[];
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly isReady: boolean;
  /** Terminating, and still answering. */
  readonly isDraining: boolean;
  /** The Pod's name, when the slice names it. */
  readonly pod: string | undefined;
}

export interface EndpointSliceObject {
  readonly kind: 'EndpointSlice';
  readonly meta: ObjectMeta;
  readonly service: string;
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly endpoints: readonly SliceEndpoint[];
}

export interface PodObject {
  readonly kind: 'Pod';
  readonly meta: ObjectMeta;
  readonly serviceAccount: string;
  /** Canonical text. */
  readonly ips: readonly string[];
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly isReady: boolean;
  readonly isDeleting: boolean;
  /** It ran to its end: it has no address and no identity any more. */
  readonly isFinished: boolean;
}

export interface AuthorizationPolicyObject {
  readonly kind: 'AuthorizationPolicy';
  readonly policy: AuthorizationPolicy;
}

export interface PeerAuthenticationObject {
  readonly kind: 'PeerAuthentication';
  readonly policy: PeerAuthentication;
}

export interface RequestAuthenticationObject {
  readonly kind: 'RequestAuthentication';
  readonly policy: RequestAuthentication;
}

export interface BasicAuthenticationObject {
  readonly kind: 'BasicAuthentication';
  readonly policy: BasicAuthentication;
}

export interface TrafficPolicyObject {
  readonly kind: 'TrafficPolicy';
  readonly policy: TrafficPolicy;
}

export interface TlsTerminationObject {
  readonly kind: 'TlsTermination';
  readonly policy: TlsTermination;
}

/** Something that was to restrict access, cannot be read, and has no good version: it closes what it selects. */
export interface BrokenPolicyObject {
  readonly kind: 'BrokenPolicy';
  /** The kind it was meant to be. */
  readonly of:
    | 'AuthorizationPolicy'
    | 'RequestAuthentication'
    | 'BasicAuthentication'
    | 'TlsTermination'
    | 'TrafficPolicy';
  readonly policy: BrokenPolicy;
  /** Absent also when it could not be read: then the whole scope is meant. */
  readonly selector: ReadonlyMap<string, string> | undefined;
}

export interface CredentialBindingObject {
  readonly kind: 'CredentialBinding';
  readonly binding: CredentialBinding;
}

/** Of either kind: what the API server and the webhook ask of Pods. Nothing of it reaches a sidecar. */
export interface WorkloadPolicyObject {
  readonly kind: 'WorkloadPolicy';
  readonly policy: WorkloadPolicy;
}

/** A host outside the mesh. */
export interface ExternalServiceObject {
  readonly kind: 'ExternalService';
  readonly service: ExternalService;
}

/** Another trust domain, whose identities are believed as its own keys say. */
export interface FederatedTrustDomainObject {
  readonly kind: 'FederatedTrustDomain';
  readonly federation: FederatedTrustDomain;
}

/** A Secret or ConfigMap that certificates, keys or roots are taken from. */
export interface DataObject {
  readonly kind: 'Data';
  readonly of: 'Secret' | 'ConfigMap';
  readonly meta: ObjectMeta;
  readonly values: ReadonlyMap<string, SecretText>;
}

export interface MeshConfigObject {
  readonly kind: 'MeshConfig';
  readonly name: string;
  readonly config: MeshConfig;
}

/** An HTTPRoute or GRPCRoute that is attached to Services. */
export interface ServiceRouteObject {
  readonly kind: 'ServiceRoute';
  readonly route: ServiceRoute;
}

export interface ReferenceGrantObject {
  readonly kind: 'ReferenceGrant';
  readonly grant: RouteGrant;
}

export type RegistryObject =
  | NamespaceObject
  | ServiceAccountObject
  | ServiceObject
  | EndpointSliceObject
  | PodObject
  | AuthorizationPolicyObject
  | PeerAuthenticationObject
  | RequestAuthenticationObject
  | BasicAuthenticationObject
  | TrafficPolicyObject
  | TlsTerminationObject
  | BrokenPolicyObject
  | WorkloadPolicyObject
  | CredentialBindingObject
  | ExternalServiceObject
  | FederatedTrustDomainObject
  | DataObject
  | MeshConfigObject
  | ServiceRouteObject
  | ReferenceGrantObject;

/**
 * All objects in force at one revision, by a key of the source's choosing. An object that did not change is the
 * same object in the next snapshot, so that what was made of it can be kept.
 */
export interface Snapshot {
  readonly revision: number;
  readonly objects: ReadonlyMap<string, RegistryObject>;
}
