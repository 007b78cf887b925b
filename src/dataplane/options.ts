// What a sidecar is told at its start.
import type { Clock } from '@weft/model/clock';
import type { Locality } from '@weft/model/mesh/locality';
import type { TrustDomain } from '@weft/model/identity';
import type { Logger } from 'pino';
import type { CredentialsOptions } from './credentials/options.ts';
import type { Evidence } from '@weft/model/enrolment-evidence';
import type { CreateOrigin } from './origin.ts';
import type { AppProbes } from './probe/app-probe.ts';
import type { ListenAddress } from './serve/socket-server.ts';
import type { AccessLogMode } from './telemetry/access-log.ts';
import type { WorkloadApiOptions } from './workload-api/options.ts';

/** A port of the workload, and where its application answers for it. */
export interface InboundPort {
  readonly port: number;
  /** Where it is served; absent: at the Pod's address, under the port's own number. */
  readonly listen?: ListenAddress;
  readonly app: { readonly address: string; readonly port: number };
}

/** A local port through which the workload reaches one service. */
export interface OutboundPort {
  readonly listen: ListenAddress;
  /** Fully qualified: `prices.shop.svc.cluster.local`. */
  readonly host: string;
  readonly port: number;
}

/** How a sidecar takes part in a mesh. */
export interface MeshOptions {
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  readonly enrolmentAddress: string;
  readonly xdsAddress: string;
  readonly bundlePem: string;
  /** Where the roots may change before it has enrolled. */
  readonly readBundle: (() => Promise<string>) | undefined;
  readonly readEvidence: () => Promise<Evidence>;
  /** `retry` in a Pod: see `IdentityKeeperOptions`. */
  readonly afterRefusal: 'end' | 'retry';
  /** Serving SPIFFE's Workload API to the application; absent: it is not. */
  readonly workloadApi?: WorkloadApiOptions | undefined;
  readonly origin?: undefined;
}

/** Of a sidecar that is in no mesh: it has no identity, and its configuration comes from its own process. */
export interface AloneOptions {
  readonly origin: CreateOrigin;
}

/** What holds in a mesh and without one. */
export interface RunOptions {
  /** The Pod's name; with its namespace the proxy's name in the mesh. */
  readonly pod: string;
  readonly namespace: string;
  readonly podIp: string;
  /** Where it runs; absent: not known, and no endpoint is nearer than another. */
  readonly locality?: Locality | undefined;
  /** Suffix of service names, `cluster.local`. */
  readonly domain: string;
  readonly inbound: readonly InboundPort[];
  readonly outbound: readonly OutboundPort[];
  readonly outboundHttp: ListenAddress | undefined;
  /** Ports that redirected connections come to; absent without interception. */
  readonly transparent:
    | {
        readonly inbound: ListenAddress;
        readonly outbound: ListenAddress;
        /** How often it proves that it gets the traffic, and is unready where it does not; absent: never. */
        readonly proofPeriodMs: number | undefined;
      }
    | undefined;
  readonly admin: ListenAddress;
  readonly probes: ListenAddress | undefined;
  readonly metrics: ListenAddress | undefined;
  /** Of the application, asked at the port of `probes`. */
  readonly appProbes: AppProbes;
  readonly accessLog: AccessLogMode;
  /** Handing credentials to the application; absent: it gets none, though its requests may. */
  readonly credentials?: CredentialsOptions | undefined;
  readonly drainLimitMs: number;
  /** Whether calls that the workload makes may end as well: where it is told to go at the same time as its sidecar. */
  readonly drainsOutbound: boolean;
  /** `IP[:PORT]` of DNS servers for hosts outside the mesh; absent: the system's. */
  readonly dnsServers?: readonly string[];
  readonly version: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: () => number;
}

export type MeshSidecarOptions = RunOptions & MeshOptions;

export type SidecarOptions = MeshSidecarOptions | (RunOptions & AloneOptions);
