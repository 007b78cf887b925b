// The compiled model of the mesh: who is in it, what each workload lets in, and where each destination leads.
import type { Egress } from '../egress/egress.ts';
import type { FederatedTrustDomain } from '../federation/types.ts';
import type { SpiffeId, TrustDomain } from '../identity.ts';
import type { BasicAuthentication, WorkloadLogin } from '../login/types.ts';
import type { PathOptions } from '../policy/ambiguous-path.ts';
import type { BrokenPolicy } from '../policy/compile.ts';
import type { RequestAuthentication, TokenRule } from '../policy/token-rules.ts';
import type { DenialExplanation } from '../policy/denials.ts';
import type { ExtAuthzProvider } from '../policy/ext-authz.ts';
import type { DestinationRoutes } from '../routes/routing.ts';
import type { RouteGrant, ServiceRoute } from '../routes/types.ts';
import type { AuthorizationPolicy, MtlsMode, PeerAuthentication } from '../policy/types.ts';
import type { Problem } from '../problem.ts';
import type { TlsTermination } from '../tls/types.ts';
import type { CallTraffic } from '../traffic/compose-calls.ts';
import type { WorkloadTraffic } from '../traffic/compose.ts';
import type { TrafficPolicy } from '../traffic/types.ts';
import type { MeshConfig } from './config.ts';
import type { Locality } from './locality.ts';
import type { BrokenPolicyObject, DataObject } from './objects.ts';
import type { PortProtocol } from './protocol.ts';

/** What holds for the whole mesh. */
export interface MeshSettings extends Omit<MeshConfig, 'trustDomainAliases'> {
  readonly trustDomain: TrustDomain;
  /** Without the trust domain itself; sorted. */
  readonly trustDomainAliases: readonly TrustDomain[];
  /** Others whose identities are believed; sorted. Absent: none. */
  readonly federatedTrustDomains?: readonly TrustDomain[];
  readonly rootNamespace: string;
  /** The last part of services' names: `web.shop.svc.CLUSTER-DOMAIN`. */
  readonly clusterDomain: string;
}

export interface InboundPort {
  readonly port: number;
  readonly protocol: PortProtocol;
  readonly mode: MtlsMode;
}

/**
 * All that decides what a workload lets in, and nothing else: workloads that are equal in it share one object, and
 * what is made of it is made once. The identity is part of it, so that two identities never share (CVE-2021-34824).
 */
export interface InboundSpec {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Of ports that nobody has declared. */
  readonly mode: MtlsMode;
  /** Container ports, target ports of the Services that select it, and ports with a mode of their own; by number. */
  readonly ports: readonly InboundPort[];
  readonly policies: readonly AuthorizationPolicy[];
  readonly broken: readonly BrokenPolicy[];
  /** Which tokens are read and by which keys; absent: none. */
  readonly tokens?: readonly TokenRule[];
  /** Whom it asks for name and password; absent: nobody. */
  readonly login?: WorkloadLogin;
  /** What is held back, limited and disturbed of its traffic; absent: nothing. */
  readonly traffic?: WorkloadTraffic;
  /** Ports that take TLS of clients outside the mesh, by name; absent: none does. */
  readonly terminations?: readonly TlsTermination[];
  readonly settings: MeshSettings;
  /** Absent: as the settings say, and no path is refused. */
  readonly paths?: PathOptions;
  /** Whom its CUSTOM policies can ask, by name; policies that name others close it. Absent: nobody. */
  readonly authorizers?: readonly ExtAuthzProvider[];
  /** Which namespaces have refused callers told the rule: of those whose policies hold here. */
  readonly explained?: ReadonlyMap<string, DenialExplanation>;
}

export interface Workload {
  /** `POD.NAMESPACE`. */
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly identity: SpiffeId | undefined;
  /** Canonical text. */
  readonly ips: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
  /** A sidecar stands beside it. Never without an identity. */
  readonly isInMesh: boolean;
  /** An agent alone does: its gRPC programs go by xDS, and nothing intercepts what others say or hear. Absent: a proxy does. */
  readonly isProxyless?: true;
  /** Ports that are reached without the sidecar: no mutual TLS, no policy. Absent: none. */
  readonly directPorts?: readonly number[];
  readonly health: 'healthy' | 'draining' | 'notReady';
  readonly inbound: InboundSpec;
}

/** One port of a Service, as callers see it. */
export interface DestinationTarget {
  /** `outbound|PORT||HOST`. */
  readonly name: string;
  readonly host: string;
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  readonly protocol: PortProtocol;
  /** Addresses that are this Service's alone. */
  readonly vips: readonly string[];
  readonly clusterDomain: string;
  /** What its callers follow; absent: nothing besides what holds for all. */
  readonly calls?: CallTraffic;
}

export interface DestinationUpstream {
  readonly target: DestinationTarget;
  /** Who may answer: the identities of the endpoints in the mesh, sorted; empty when none is. */
  readonly identities: readonly SpiffeId[];
}

export interface MeshEndpoint {
  readonly address: string;
  readonly port: number;
  readonly health: 'healthy' | 'draining' | 'unhealthy';
  readonly weight: number;
  readonly tlsMode: 'mesh' | 'disabled';
  /** Absent: not known. */
  readonly locality?: Locality;
  readonly identity?: SpiffeId;
  readonly workload?: string;
  readonly namespace?: string;
}

export interface DestinationEndpoints {
  readonly clusterName: string;
  /** By address, then port. */
  readonly endpoints: readonly MeshEndpoint[];
}

/** In three parts that change at different times, so that a change re-encodes only what it touches. */
export interface Destination {
  readonly target: DestinationTarget;
  readonly upstream: DestinationUpstream;
  readonly endpoints: DestinationEndpoints;
  /** Of HTTPRoutes and GRPCRoutes; absent: it is called as it is. */
  readonly routes?: DestinationRoutes;
}

export interface MeshPolicies {
  /** Absent: there is none. */
  readonly terminations?: readonly TlsTermination[];
  readonly authorization: readonly AuthorizationPolicy[];
  readonly peerAuthentication: readonly PeerAuthentication[];
  readonly requestAuthentication: readonly RequestAuthentication[];
  readonly basicAuthentication: readonly BasicAuthentication[];
  readonly traffic: readonly TrafficPolicy[];
  readonly broken: readonly BrokenPolicyObject[];
}

/** What is attached to Services, in force or not; by kind, namespace and name. */
export interface MeshRouting {
  readonly routes: readonly ServiceRoute[];
  readonly grants: readonly RouteGrant[];
}

/** One compiled snapshot. Parts that did not change are the same objects as in the mesh before it. */
export interface Mesh {
  /** Of the snapshot. */
  readonly revision: number;
  readonly settings: MeshSettings;
  /** By `POD.NAMESPACE`, sorted. */
  readonly workloads: ReadonlyMap<string, Workload>;
  /** Ids by address; several where an address is shared, in the order of namespaces and names. */
  readonly workloadsByIp: ReadonlyMap<string, readonly string[]>;
  /** By `outbound|PORT||HOST`, sorted. */
  readonly destinations: ReadonlyMap<string, Destination>;
  /** By `VIP_PORT`. */
  readonly destinationsByAddress: ReadonlyMap<string, Destination>;
  readonly policies: MeshPolicies;
  /** Secrets that something refers to, by namespace and name with a NUL between; absent: none is known. */
  readonly secrets?: ReadonlyMap<string, DataObject>;
  /** Hosts outside; absent: none is known, and the settings hold for all. */
  readonly egress?: Egress;
  /** Secrets and ConfigMaps by `Secret/NAMESPACE/NAME`; absent: none is held. */
  readonly data?: ReadonlyMap<string, DataObject>;
  /** Trust domains whose identities are believed, by name; absent: none. */
  readonly federations?: readonly FederatedTrustDomain[];
  /** Absent: there are no routes. */
  readonly routing?: MeshRouting;
  readonly problems: readonly Problem[];
}
