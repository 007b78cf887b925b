// What a cluster needs of the sidecar that runs it, and what it gives for a tunnel.
import type { Socket } from 'node:net';
import type { Clock } from '@weft/model/clock';
import type { Locality } from '@weft/model/mesh/locality';
import type { ExternalOptions } from '../egress/external-connector.ts';
import type { Overflow } from './breaker.ts';
import type { ConnectorOptions } from './connector.ts';

export interface ClusterOptions extends ConnectorOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** Where this workload runs; absent: not known. */
  readonly locality?: Locality | undefined;
  readonly onEjected: (cluster: string, endpoint: string) => void;
  /** For hosts outside the mesh; absent: none can be reached by name or TLS. */
  readonly external?: ExternalOptions;
  readonly onOverflow: (cluster: string, limit: Overflow) => void;
  /** A request is sent again, or would be if the budget allowed it. */
  readonly onRetry: (cluster: string, isAllowed: boolean) => void;
}

/** A connection for a tunnel; `done` once it has ended. */
export interface TcpUpstream {
  readonly socket: Socket;
  readonly address: string;
  done(): void;
}
