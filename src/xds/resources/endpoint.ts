// Which addresses serve a destination: cluster load assignments, as Weft emits and reads them.

import type { Locality } from '@weft/model/mesh/locality';

/** `envoy.config.endpoint.v3.ClusterLoadAssignment`; sorted by locality, address, then port, so that equal sets have equal bytes. */
export interface ClusterLoadAssignment {
  readonly clusterName: string;
  readonly endpoints: readonly Endpoint[];
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** An endpoint that is not ready is sent only while it drains. */
  readonly health: 'healthy' | 'draining' | 'unhealthy';
  readonly weight: number;
  /** `mesh`: a sidecar answers there with mutual TLS. On the wire: metadata `envoy.transport_socket_match` {tlsMode: "weft"}. */
  readonly tlsMode: 'mesh' | 'disabled';
  /** Absent: not known. */
  readonly locality?: Locality;
  /** The SPIFFE id that must answer there. On the wire: metadata `weft.dev` {identity}. */
  readonly identity?: string;
  /** For telemetry. On the wire: metadata `weft.dev` {workload, namespace}. */
  readonly workload?: string;
  readonly namespace?: string;
}
