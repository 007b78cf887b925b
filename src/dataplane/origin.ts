// Where a sidecar has its identity and its configuration from: the mesh that it is part of, or a source in its own process.
import type { ResourceKind } from '@weft/xds/resource';
import type { TrustSecret } from '@weft/xds/resources/secret';
import type { ChannelLease } from './control-plane/shared-channel.ts';
import type { Svid } from './enrol/check-svid.ts';
import type { EdgeCounts } from './report/edge-counts.ts';
import type { ListenerRuntime } from './state/chain.ts';
import type { ResourceUpdate, Subscriptions } from './state/config-store.ts';
import type { MetricsRegistry } from './telemetry/metrics.ts';

export interface Origin extends Subscriptions, Disposable {
  /** What must be open before anything else is done, and before root is given up. @throws Error when it cannot be. */
  open?(): Promise<void>;
  /**
   * Gets what it needs to begin, and goes on by itself.
   * @throws EnrolmentRefused where a token is needed and refused.
   */
  start(signal: AbortSignal): Promise<void>;
  /** Why nobody can be served yet, besides configuration that is missing; mostly none. */
  readonly reasons: readonly string[];
  readonly isConnected: boolean;
  /** @throws Error for a bundle that cannot be trusted by. */
  setBundle(bundle: TrustSecret): void;
  /** The rules in force are others by now. */
  rulesChanged(): void;
  /** A channel to the control plane, with the certificate of now; absent where there is none. */
  readonly connect?: () => ChannelLease;
}

/** What an origin does with what it gets. */
export interface OriginHooks {
  /** Puts resources in force. @returns what could not be, naming resource and reason. */
  readonly apply: (update: ResourceUpdate) => readonly string[];
  readonly onIdentity: (svid: Svid | undefined) => void;
  /** `reasons` may be others. */
  readonly onReasons: () => void;
  readonly onState: (isConnected: boolean) => void;
  readonly onResponse: (kind: ResourceKind, isAccepted: boolean) => void;
  readonly inbound: () => ListenerRuntime | undefined;
  readonly edges: EdgeCounts;
  /** Something is granted to this identity: it is worth asking what. */
  readonly onCredentials: () => void;
  /** For what it has to say of itself. */
  readonly metrics: MetricsRegistry;
}

export type CreateOrigin = (hooks: OriginHooks) => Origin;
