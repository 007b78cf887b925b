// Writes the status of every route that is attached to Services into the cluster, the leader's task: only what has changed.
import type { KubeClient } from '@weft/kube/kube-api';
import type { Clock } from '@weft/model/clock';
import { ROUTE_KINDS } from '@weft/model/routes/types';
import type { Logger } from 'pino';
import type { MeshViews } from '../compile/mesh-views.ts';
import { type RouteStatus, routeStatusesOf } from '../compile/routes/route-statuses.ts';
import type { ObjectOrigin, Source } from '../registry/source.ts';
import { describeRoute, isSame, parentsOf } from './route-conditions.ts';

export interface RouteStatusOptions {
  readonly client: Pick<KubeClient, 'patch'>;
  readonly source: Pick<Source, 'state' | 'subscribe'>;
  readonly views: Pick<MeshViews, 'snapshot' | 'mesh'> & {
    subscribe(listener: () => void): Disposable;
  };
  readonly clock: Clock;
  readonly log: Logger;
}

/** 200 ms: what comes together is looked at once. */
const LOOK_MS = 200;
/** After a write that failed. */
const RETRY_MS = 5_000;
/** Of one look; the others have the next. */
const MAX_WRITES = 20;

/** Writes of one generation in a row; then one in 10 s. */
const MAX_IN_ROW = 5;
const AGAIN_MS = 10_000;

interface Written {
  /** The one that was looked at. */
  readonly resourceVersion: string;
  readonly generation: number;
  readonly atMs: number;
  readonly writes: number;
}

const KINDS: ReadonlySet<string> = new Set(ROUTE_KINDS);

/** Runs until it is disposed of. Without routes it looks at nothing. */
export class RouteStatusWriter implements AsyncDisposable {
  readonly #options: RouteStatusOptions;
  readonly #subscriptions = new DisposableStack();
  readonly #stop = new AbortController();
  readonly #written = new Map<string, Written>();
  readonly #failures = new Map<string, string>();
  #timer: Disposable | undefined;
  #writing: Promise<void> | undefined;

  constructor(options: RouteStatusOptions) {
    this.#options = options;
    const soon = (): void => this.#schedule(LOOK_MS);
    this.#subscriptions.use(options.source.subscribe(soon));
    this.#subscriptions.use(options.views.subscribe(soon));
    soon();
  }

  #schedule(delayMs: number): void {
    if (this.#stop.signal.aborted || this.#timer !== undefined) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#writing ??= this.#look().finally(() => {
        this.#writing = undefined;
      });
    }, delayMs);
  }

  async #look(): Promise<void> {
    const { source, views } = this.#options;
    const { origins, snapshot } = source.state;
    // What is known is of the version before, until the mesh is compiled from this one.
    if (origins === undefined || views.snapshot() !== snapshot) return;
    const routes = [...origins].filter(([, { resource }]) => KINDS.has(resource.kind));
    for (const key of this.#written.keys()) if (!origins.has(key)) this.#forget(key);
    if (routes.length === 0) return;
    const statuses = new Map(routeStatusesOf(views.mesh()).map((one) => [keyOf(one), one]));
    let left = MAX_WRITES;
    for (const [key, origin] of routes) {
      if (this.#stop.signal.aborted) return;
      const parents = this.#wanted(key, origin, statuses.get(key));
      if (parents === undefined) continue;
      if (left-- === 0) {
        this.#schedule(LOOK_MS);
        return;
      }
      await this.#write(key, origin, parents);
    }
  }

  /** @returns what is to be written; `undefined` when it stands there, or has been written just now. */
  #wanted(key: string, origin: ObjectOrigin, status: RouteStatus | undefined) {
    const known = this.#written.get(key);
    // The echo has not come yet.
    if (known?.resourceVersion === origin.resourceVersion) return undefined;
    const nowMs = this.#options.clock.now();
    const parents = describeRoute({ origin, status, nowMs });
    if (isSame(parents, parentsOf(origin.status))) return undefined;
    const isAgain = known?.generation === origin.generation && nowMs < known.atMs + AGAIN_MS;
    if (!isAgain || known.writes < MAX_IN_ROW) return parents;
    // A server that keeps less of it than was written, or another writer, is not fought with at full speed.
    this.#schedule(AGAIN_MS);
    return undefined;
  }

  async #write(key: string, origin: ObjectOrigin, parents: readonly object[]): Promise<void> {
    const { client, clock, log } = this.#options;
    const [, namespace = '', name = ''] = key.split('/');
    const { uid, resourceVersion } = origin;
    const answer = await client.patch(
      origin.resource,
      { namespace, name },
      {
        type: 'merge',
        subresource: 'status',
        // Of the version that was looked at: entries of other controllers are in the same list.
        patch: { metadata: { uid, resourceVersion }, status: { parents } },
        signal: this.#stop.signal,
      },
    );
    if (this.#stop.signal.aborted) return;
    if (answer.ok) {
      const known = this.#written.get(key);
      const atMs = clock.now();
      const isInRow = known !== undefined && atMs < known.atMs + AGAIN_MS;
      const writes = isInRow ? known.writes + 1 : 1;
      this.#written.set(key, { resourceVersion, generation: origin.generation, atMs, writes });
      this.#failures.delete(key);
      return;
    }
    this.#schedule(RETRY_MS);
    // Gone, or another version: the source will say so.
    if (answer.code === 404 || answer.code === 409) return;
    if (this.#failures.get(key) === answer.message) return;
    this.#failures.set(key, answer.message);
    log.warn({ route: key, reason: answer.message }, 'route status not written');
  }

  #forget(key: string): void {
    this.#written.delete(key);
    this.#failures.delete(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#timer?.[Symbol.dispose]();
    this.#subscriptions.dispose();
    await this.#writing;
  }
}

const keyOf = ({ route: { kind, namespace, name } }: RouteStatus): string =>
  `${kind}/${namespace}/${name}`;
