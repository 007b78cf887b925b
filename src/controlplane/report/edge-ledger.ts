// Remembers who called whom through the mesh, summed up over what proxies report, within bounds.
import type { Clock } from '@weft/model/clock';
import type { ProxyRef } from '../serve/view-source.ts';
import { RefusalLedger } from './refused-outside.ts';
import type { ReportedEdge } from './reported-edge.ts';

/** One kind of call to one workload, over all of its proxies. */
export interface Edge extends ReportedEdge {
  readonly namespace: string;
  /** The Pod that reported it last; its labels say which workload it is. */
  readonly proxy: string;
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
}

/** 20,000 edges are some 10 MB; beyond, the longest unseen goes. */
const MAX_EDGES = 20_000;

export class EdgeLedger {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly sinceMs: number;
  /** What workloads called outside and were refused. */
  readonly refusals: RefusalLedger;
  /** Longest unseen first. */
  readonly #edges = new Map<string, Edge>();

  constructor(clock: Clock, limit: number = MAX_EDGES) {
    this.#clock = clock;
    this.#limit = limit;
    this.sinceMs = clock.now();
    this.refusals = new RefusalLedger(clock);
  }

  note(proxy: ProxyRef, edges: readonly ReportedEdge[]): void {
    const nowMs = this.#clock.now();
    for (const edge of edges) {
      const { source, port, method, path, isAllowed, rule } = edge;
      const key = [proxy.id, source, port, method, path, isAllowed, rule].join('\0');
      const known = this.#edges.get(key);
      this.#edges.delete(key);
      this.#edges.set(key, {
        ...edge,
        count: (known?.count ?? 0) + edge.count,
        namespace: proxy.namespace,
        proxy: proxy.id,
        firstSeenMs: known?.firstSeenMs ?? nowMs,
        lastSeenMs: nowMs,
      });
    }
    for (const key of this.#edges.keys()) {
      if (this.#edges.size <= this.#limit) break;
      this.#edges.delete(key);
    }
  }

  edges(): readonly Edge[] {
    return [...this.#edges.values()];
  }
}
