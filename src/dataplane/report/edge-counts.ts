// Counts who called what through this proxy and what was decided, within bounds, until the next report takes the counts.
import type { Verdict } from '@weft/model/policy/evaluate';
import type { PlainMessage } from '@weft/xds/registry';
import { EgressRefusals } from '../egress/refusals.ts';
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

/** Paths whose edge is known without their template and key being made again. */
const MAX_RECENT = 128;

interface Recent extends Omit<SeenRequest, 'path'> {
  readonly edge: Edge;
}

export class EdgeCounts {
  #edges = new Map<string, Edge>();
  /** What this workload called outside the mesh and was refused. */
  readonly refusals = new EgressRefusals();
  /** By path: what was seen of it last. */
  readonly #recent = new Map<string, Recent>();

  note(request: SeenRequest): void {
    const recent = this.#recent.get(request.path);
    if (recent !== undefined && isAlike(recent, request)) {
      recent.edge.count++;
      return;
    }
    const edge = this.#edgeOf(request);
    if (edge === undefined) return;
    edge.count++;
    if (this.#recent.size >= MAX_RECENT) this.#recent.clear();
    const { source, port, method, verdict, path } = request;
    /** A copy: a piece of a request's head would keep all of it. */
    const key = Buffer.from(path, 'latin1').toString('latin1');
    this.#recent.set(key, { source, port, method, verdict, edge });
  }

  /** @returns `undefined` when there are too many to tell apart. */
  #edgeOf(request: SeenRequest): Edge | undefined {
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
      if (this.#edges.size >= MAX_EDGES * 2 && !this.#edges.has(key)) return undefined;
    }
    const known = this.#edges.get(key);
    if (known !== undefined) return known;
    const isWhole = path !== '' || request.path === '';
    const edge: Edge = {
      message: {
        source,
        port,
        is_allowed: isAllowed,
        ...(isWhole && { method, path, rule }),
      },
      count: 0,
    };
    this.#edges.set(key, edge);
    return edge;
  }

  /** The counts since the last call. */
  take(): readonly PlainMessage[] {
    const edges = [...this.#edges.values()].map(({ message, count }) => ({ ...message, count }));
    this.#edges = new Map();
    this.#recent.clear();
    return edges;
  }
}

const isAlike = (a: Recent, b: SeenRequest): boolean =>
  a.verdict === b.verdict && a.method === b.method && a.source === b.source && a.port === b.port;
