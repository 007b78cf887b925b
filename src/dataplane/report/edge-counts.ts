// Counts who called what through this proxy and what was decided, within bounds, until the next report takes the counts.
import type { Verdict } from '@weft/model/policy/evaluate';
import type { PlainMessage } from '@weft/xds/registry';
import { templateOf } from './path-template.ts';

/** Edges between two reports; what comes beyond counts under no path. */
const MAX_EDGES = 500;

export interface SeenRequest {
  /** The caller's SPIFFE id; `undefined` for a caller without certificate. */
  readonly source: string | undefined;
  readonly port: number;
  /** Empty on TCP. */
  readonly method: string;
  /** Without query; empty on TCP. */
  readonly path: string;
  readonly verdict: Verdict | undefined;
}

interface Edge {
  readonly message: PlainMessage;
  count: number;
}

export class EdgeCounts {
  #edges = new Map<string, Edge>();

  note(request: SeenRequest): void {
    const { source = '', port, method, verdict } = request;
    const isAllowed = verdict?.isAllowed ?? true;
    const rule = verdict?.decidedBy ?? '';
    const isFull = this.#edges.size >= MAX_EDGES;
    let path = templateOf(request.path);
    let key = `${source} ${port} ${method} ${path} ${isAllowed} ${rule}`;
    if (isFull && !this.#edges.has(key)) {
      path = '';
      key = `${source} ${port} ${isAllowed}`;
      /** Callers alone may be too many as well: then the rest is not told apart at all. */
      if (this.#edges.size >= MAX_EDGES * 2 && !this.#edges.has(key)) return;
    }
    const edge = this.#edges.get(key);
    if (edge !== undefined) {
      edge.count++;
      return;
    }
    const isWhole = path !== '' || request.path === '';
    this.#edges.set(key, {
      message: {
        source,
        port,
        is_allowed: isAllowed,
        ...(isWhole && { method, path, rule }),
      },
      count: 1,
    });
  }

  /** The counts since the last call. */
  take(): readonly PlainMessage[] {
    const edges = [...this.#edges.values()].map(({ message, count }) => ({ ...message, count }));
    this.#edges = new Map();
    return edges;
  }
}
