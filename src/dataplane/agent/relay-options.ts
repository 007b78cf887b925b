// What a relay of discovery streams is told: where to, for whom, and who is told of it.
import type { Clock } from '@weft/model/clock';
import type { Logger } from 'pino';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import type { AgentMetrics } from './agent-metrics.ts';
import type { RelayObserver } from './relay-observer.ts';

export interface XdsRelayOptions {
  /** A channel with the certificate of now, given back when its stream has ended. @throws Error when there is none. */
  readonly connect: () => ChannelLease;
  /** Whom programs beside us may speak for: nobody else. The control plane judges by the certificate in any case. */
  readonly node: { readonly id: string; readonly cluster: string };
  readonly observer?: RelayObserver;
  readonly metrics: AgentMetrics;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** At once; default 12, which is what the control plane gives one proxy. */
  readonly maxStreams?: number;
}
