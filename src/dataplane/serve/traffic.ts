// What serving a connection needs of the rest of the sidecar: configuration, telemetry and who this workload is.
import type { SpiffeId } from '@weft/model/identity';
import type { Injections } from '../credentials/injection.ts';
import type { EdgeCounts } from '../report/edge-counts.ts';
import type { ConfigStore } from '../state/config-store.ts';
import type { AccessRecord } from '../telemetry/access-log.ts';
import type { Flow, FlowMetrics, ProxyMetrics } from '../telemetry/proxy-metrics.ts';
import type { ClusterRuntime } from '../upstream/cluster.ts';

export interface WorkloadName {
  /** Absent in no mesh. */
  readonly spiffeId: SpiffeId | undefined;
  readonly namespace: string;
  /** The Pod's name. */
  readonly name: string;
}

export interface Traffic {
  readonly store: ConfigStore<ClusterRuntime>;
  readonly metrics: ProxyMetrics;
  readonly workload: () => WorkloadName;
  readonly log: (record: AccessRecord) => void;
  readonly isLogOff: boolean;
  readonly flows: FlowCache;
  /** Who called this workload, for the control plane's summaries. */
  readonly edges: EdgeCounts;
  /** What outbound requests are given on their way; absent while nothing is granted. */
  readonly credentials?: { readonly injections: Injections | undefined };
}

/** Flows that are kept resolved; a proxy that sees more starts over. */
const MAX_FLOWS = 1_000;

/** Metric handles by flow, shared by connections: making them costs more than counting. */
export class FlowCache {
  readonly #metrics: ProxyMetrics;
  readonly #flows = new Map<string, FlowMetrics>();

  constructor(metrics: ProxyMetrics) {
    this.#metrics = metrics;
  }

  get(key: string, flow: () => Flow): FlowMetrics {
    let known = this.#flows.get(key);
    if (known === undefined) {
      if (this.#flows.size >= MAX_FLOWS) this.#flows.clear();
      known = this.#metrics.flow(flow());
      this.#flows.set(key, known);
    }
    return known;
  }
}
