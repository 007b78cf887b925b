// Serves a sidecar its resources out of a mesh that is compiled in the same process: made, encoded and decoded as for any other, without a stream.
import type { MeshViews } from '@weft/controlplane/compile/mesh-views';
import type { Origin, OriginHooks } from '@weft/dataplane/origin';
import type { ResourceUpdate, UpdateOf } from '@weft/dataplane/state/config-store';
import type { SpiffeId } from '@weft/model/identity';
import { formatProblem } from '@weft/model/problem';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import { type ResourceByKind, type ResourceKind, type ResourceView } from '@weft/xds/resource';
import type { Logger } from 'pino';

export interface LocalOriginOptions {
  readonly views: MeshViews;
  /** `POD.NAMESPACE`. */
  readonly proxyId: string;
  readonly log: Logger;
}

/** Clusters before the listeners that name them, as a control plane sends them. */
const KINDS: readonly ResourceKind[] = ['secret', 'cluster', 'endpoints', 'route', 'listener'];
/** What is put in force may name more; nothing refers to anything by more steps than there are kinds. */
const MAX_ROUNDS = 8;

export class LocalOrigin implements Origin {
  readonly #options: LocalOriginOptions;
  readonly #hooks: OriginHooks;
  /** Versions in force by kind and name; empty: said to be absent, `undefined`: not said yet. */
  readonly #wanted = new Map<ResourceKind, Map<string, string | undefined>>();
  #subscription: Disposable | undefined;
  #isFlushing = false;
  readonly reasons: readonly string[] = [];

  constructor(options: LocalOriginOptions, hooks: OriginHooks) {
    this.#options = options;
    this.#hooks = hooks;
    for (const kind of KINDS) this.#wanted.set(kind, new Map());
  }

  start(): Promise<void> {
    this.#subscription = this.#options.views.subscribe(() => this.#flush());
    this.#flush();
    return Promise.resolve();
  }

  get isConnected(): boolean {
    return this.#subscription !== undefined;
  }

  setBundle(): void {
    throw new Error('Cannot take a trust bundle: this sidecar is in no mesh');
  }

  rulesChanged(): void {
    this.#options.log.debug('the rules in force have changed');
  }

  subscribe(kind: ResourceKind, name: string): void {
    const names = this.#wanted.get(kind);
    if (names?.has(name) === false) names.set(name, undefined);
    this.#flushSoon();
  }

  unsubscribe(kind: ResourceKind, name: string): void {
    this.#wanted.get(kind)?.delete(name);
  }

  #flushSoon(): void {
    if (this.#isFlushing || this.#subscription === undefined) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      if (this.#subscription !== undefined) this.#flush();
    });
  }

  #flush(): void {
    const view = this.#view();
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let hasNews = false;
      for (const kind of KINDS) hasNews = this.#deliver(kind, view) || hasNews;
      if (!hasNews) return;
    }
  }

  #view(): ResourceView {
    const { views, proxyId } = this.#options;
    const workload = views.mesh().workloads.get(proxyId);
    if (workload?.identity === undefined) {
      throw new TypeError(`Cannot configure ${proxyId}: its mesh does not have it`);
    }
    const identity: SpiffeId = workload.identity;
    const { namespace, name } = workload;
    return views.viewFor({ id: proxyId, identity, namespace, workload: name });
  }

  /** @returns whether there was anything to put in force. */
  #deliver(kind: ResourceKind, view: ResourceView): boolean {
    const update = updateAs(kind, (of) => this.#collect(of, view));
    const { changed, removed, errors } = update;
    if (changed.size + removed.size + errors.length === 0) return false;
    errors.push(...this.#hooks.apply(update));
    this.#hooks.onResponse(kind, errors.length === 0);
    if (errors.length > 0) {
      const message = 'refused configuration; the last good version stays in force';
      this.#options.log.error({ kind, errors }, message);
    }
    return true;
  }

  #collect<K extends ResourceKind>(kind: K, view: ResourceView): Collected<K> {
    const changed = new Map<string, ResourceByKind[K]>();
    const removed = new Set<string>();
    const errors: string[] = [];
    const names = this.#wanted.get(kind) ?? new Map<string, string | undefined>();
    for (const [name, known] of names) {
      const resource = view.get(kind, name);
      const version = resource?.version ?? '';
      if (version === known) continue;
      names.set(name, version);
      const decoded = resource && decodeResource(kind, resource.bytes);
      if (decoded === undefined) removed.add(name);
      else if (decoded.ok) changed.set(name, decoded.value);
      else errors.push(`${name}: ${decoded.problems.map(formatProblem).join('; ')}`);
    }
    return { kind, changed, removed, errors };
  }

  [Symbol.dispose](): void {
    this.#subscription?.[Symbol.dispose]();
    this.#subscription = undefined;
  }
}

interface Collected<K extends ResourceKind> extends UpdateOf<K> {
  readonly errors: string[];
}

/** Spelt out by kind, so that the update's type follows from its kind. */
function updateAs(
  kind: ResourceKind,
  collect: <K extends ResourceKind>(of: K) => Collected<K>,
): ResourceUpdate & { readonly errors: string[] } {
  switch (kind) {
    case 'cluster':
      return collect('cluster');
    case 'endpoints':
      return collect('endpoints');
    case 'listener':
      return collect('listener');
    case 'route':
      return collect('route');
    case 'secret':
      return collect('secret');
    default:
      return kind satisfies never;
  }
}
