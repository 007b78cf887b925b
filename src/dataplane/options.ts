// What a sidecar is told at its start.
import type { Clock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import type { Logger } from 'pino';
import type { Evidence } from './enrol/evidence.ts';
import type { AppProbes } from './probe/app-probe.ts';
import type { ListenAddress } from './serve/socket-server.ts';
import type { AccessLogMode } from './telemetry/access-log.ts';

/** A port of the workload, and where its application answers for it. */
export interface InboundPort {
  readonly port: number;
  readonly app: { readonly address: string; readonly port: number };
}

/** A local port through which the workload reaches one service. */
export interface OutboundPort {
  readonly listen: ListenAddress;
  /** Fully qualified: `prices.shop.svc.cluster.local`. */
  readonly host: string;
  readonly port: number;
}

export interface SidecarOptions {
  /** The Pod's name; with its namespace the proxy's name in the mesh. */
  readonly pod: string;
  readonly namespace: string;
  readonly podIp: string;
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  /** Suffix of service names, `cluster.local`. */
  readonly domain: string;
  readonly enrolmentAddress: string;
  readonly xdsAddress: string;
  readonly bundlePem: string;
  /** Where the roots may change before it has enrolled. */
  readonly readBundle: (() => Promise<string>) | undefined;
  readonly readEvidence: () => Promise<Evidence>;
  /** `retry` in a Pod: see `IdentityKeeperOptions`. */
  readonly afterRefusal: 'end' | 'retry';
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
  readonly drainLimitMs: number;
  /** Whether calls that the workload makes may end as well: where it is told to go at the same time as its sidecar. */
  readonly drainsOutbound: boolean;
  readonly version: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: () => number;
}
