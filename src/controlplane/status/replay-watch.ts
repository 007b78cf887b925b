// At every change of the mesh: says which callers that were seen lately are refused from now on.
import type { Clock } from '@weft/model/clock';
import type { Mesh } from '@weft/model/mesh/mesh';
import { Listeners } from '@weft/model/listeners';
import type { Logger } from 'pino';
import type { Edge, EdgeLedger } from '../report/edge-ledger.ts';
import { type NewlyRefused, newlyRefused } from './replay.ts';

export interface ReplayWatchOptions {
  readonly views: { mesh(): Mesh; subscribe(listener: () => void): Disposable };
  readonly edges: Pick<EdgeLedger, 'edges'>;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface ReplayReport {
  readonly at: string;
  readonly revision: number;
  readonly newlyRefused: readonly NewlyRefused<Edge>[];
}

/** 250 ms: proxies are told of a change first, and changes that come together are looked at together. */
export const REPLAY_DELAY_MS = 250;
/** Lines of one change; the document has all. */
const MAX_LINES = 10;
/** Changes that are remembered. */
const MAX_REPORTS = 20;

export class ReplayWatch implements Disposable {
  readonly #options: ReplayWatchOptions;
  readonly #subscription: Disposable;
  #timer: Disposable | undefined;
  readonly #reports: ReplayReport[] = [];
  readonly #listeners = new Listeners<ReplayReport>();
  #mesh: Mesh;

  constructor(options: ReplayWatchOptions) {
    this.#options = options;
    this.#mesh = options.views.mesh();
    this.#subscription = options.views.subscribe(() => this.#soon());
  }

  #soon(): void {
    this.#timer ??= this.#options.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, REPLAY_DELAY_MS);
  }

  #look(): void {
    const { views, edges, log, clock } = this.#options;
    const before = this.#mesh;
    const after = views.mesh();
    if (before === after) return;
    this.#mesh = after;
    const refused = newlyRefused(edges.edges(), { before, after });
    if (refused.length === 0) return;
    const at = new Date(clock.now()).toISOString();
    const report = { at, revision: after.revision, newlyRefused: refused };
    this.#reports.push(report);
    if (this.#reports.length > MAX_REPORTS) this.#reports.shift();
    this.#listeners.tell(report);
    for (const { call, decidedBy, reason } of refused.slice(0, MAX_LINES)) {
      const { source, proxy, port, method, path, count } = call;
      log.warn(
        {
          source: source || 'plaintext',
          proxy,
          port,
          method,
          path,
          count,
          reason,
          policy: decidedBy,
        },
        'a caller that was seen lately is refused from now on',
      );
    }
    if (refused.length > MAX_LINES) {
      log.warn({ more: refused.length - MAX_LINES }, 'more callers are refused from now on');
    }
  }

  /** Told of each change that refuses anybody anew. */
  onRefused(listener: (report: ReplayReport) => void): Disposable {
    return this.#listeners.add(listener);
  }

  /** Of the last changes that refuse anybody anew. */
  reports(): readonly ReplayReport[] {
    return this.#reports;
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#subscription[Symbol.dispose]();
  }
}
