// The configuration in force: what was subscribed to, what arrived, and what is still missing. Everything else reads from here.
import type { Cluster } from '@weft/xds/resources/cluster';
import type { ClusterLoadAssignment, Endpoint } from '@weft/xds/resources/endpoint';
import type { Listener } from '@weft/xds/resources/listener';
import { clustersOf, type RouteConfiguration } from '@weft/xds/resources/route';
import { BUNDLE_SECRET, type Secret } from '@weft/xds/resources/secret';
import type { ResourceByKind, ResourceKind } from '@weft/xds/resource';
import type { Clock } from '@weft/model/clock';
import type { AuthorizerUpstream } from '../ext-authz/authorizer.ts';
import { createGates, type Gates } from '../filters/gates.ts';
import { compileListener, referencesOf, type ListenerRuntime } from './chain.ts';
import { isAwaitingSecrets, secretsOf } from './secrets-of.ts';
import { fill, type Table } from './table.ts';
import { WaitingRoutes } from './waiting-routes.ts';

/** The listener of the proxy's own workload. */
export const INBOUND_LISTENER = 'inbound';
/** A scan of the whole mesh through one sidecar must not grow it without end: beyond this the longest idle is dropped. */
const MAX_DESTINATIONS = 2_000;
/** A destination that nobody has called for so long is unsubscribed. */
const DESTINATION_IDLE_MS = 15 * 60_000;

/** What runs a cluster; made and disposed by the store. */
export interface ClusterHandle extends Disposable {
  update(cluster: Cluster): void;
  setEndpoints(endpoints: readonly Endpoint[]): void;
  /** Some that are not the mesh's own. */
  secretsChanged?(): void;
}

/** The stream to the control plane, as far as the store uses it. */
export interface Subscriptions {
  subscribe(kind: ResourceKind, name: string): void;
  unsubscribe(kind: ResourceKind, name: string): void;
}

export interface UpdateOf<K extends ResourceKind> {
  readonly kind: K;
  readonly changed: ReadonlyMap<string, ResourceByKind[K]>;
  /** Gone, or subscribed to and not existing. */
  readonly removed: ReadonlySet<string>;
}
export type ResourceUpdate = { [K in ResourceKind]: UpdateOf<K> }[ResourceKind];

export type DestinationState = 'ready' | 'absent' | 'pending';

export interface ConfigStoreOptions<C extends ClusterHandle> {
  readonly clock: Clock;
  readonly subscriptions: Subscriptions;
  readonly createCluster: (cluster: Cluster) => C;
  /** How authorizers behind a cluster are asked; absent: nobody is. */
  readonly upstreamOf?: (cluster: C) => AuthorizerUpstream;
  /** Called when the inbound listener changed: open connections are to be judged again. */
  readonly onInboundChange: () => void;
  /** Puts the mesh's bundle in force. @returns why it cannot be. */
  readonly onBundle: (secret: Secret) => string | undefined;
  /** Others than the bundle have come, changed or gone. */
  readonly onSecrets?: () => void;
}

/**
 * Holds decoded resources and follows their references: a listener names routes and clusters, a cluster names
 * endpoints. Only what is reachable from the inbound listener and from the destinations in use is subscribed to.
 */
export class ConfigStore<C extends ClusterHandle> {
  readonly #gates: Gates;
  readonly #options: ConfigStoreOptions<C>;
  readonly #listeners: Table<ListenerRuntime> = new Map();
  readonly #routes: Table<RouteConfiguration> = new Map();
  readonly #clusters: Table<Cluster> = new Map();
  readonly #endpoints: Table<ClusterLoadAssignment> = new Map();
  readonly #secrets: Table<Secret> = new Map();
  readonly #waitingRoutes = new WaitingRoutes({
    isInForce: (name) => this.route(name) !== undefined,
    isSettled: (cluster) => this.#isSettled(cluster),
  });
  readonly #handles = new Map<string, C>();
  /** Destinations in use, longest idle first. */
  readonly #lastUsed = new Map<string, number>();
  readonly #waiters = new Map<string, Set<(state: DestinationState) => void>>();

  constructor(options: ConfigStoreOptions<C>) {
    this.#options = options;
    const { upstreamOf } = options;
    this.#gates = createGates((name) => {
      const cluster = this.cluster(name);
      return cluster && upstreamOf?.(cluster);
    });
    this.#reconcile();
  }

  /**
   * Takes one response's resources, all or each for itself: what cannot be used is named in the answer and the
   * last good version of it stays. What was in force until now stays in force until this returns.
   */
  apply(update: ResourceUpdate): readonly string[] {
    const errors = this.#store(update);
    this.#reconcile();
    if (update.kind === 'listener') {
      const isInbound =
        update.changed.has(INBOUND_LISTENER) || update.removed.has(INBOUND_LISTENER);
      if (isInbound) this.#options.onInboundChange();
    }
    this.#settleRoutes();
    this.#wakeWaiters();
    return errors;
  }

  #settleRoutes(): void {
    const due = this.#waitingRoutes.settle();
    if (due.size === 0) return;
    fill(this.#routes, due, new Set());
    this.#reconcile();
  }

  #store(update: ResourceUpdate): readonly string[] {
    switch (update.kind) {
      case 'listener':
        return this.#storeListeners(update.changed, update.removed);
      case 'route':
        fill(this.#routes, this.#waitingRoutes.take(update), update.removed);
        return [];
      case 'cluster':
        fill(this.#clusters, update.changed, update.removed);
        for (const [name, cluster] of update.changed) this.#updateHandle(name, cluster);
        return [];
      case 'endpoints':
        fill(this.#endpoints, update.changed, update.removed);
        for (const name of update.changed.keys()) this.#pushEndpoints(name);
        for (const name of update.removed) this.#pushEndpoints(name);
        return [];
      case 'secret':
        return this.#storeSecrets(update.changed, update.removed);
      default:
        return update satisfies never;
    }
  }

  #storeListeners(
    changed: ReadonlyMap<string, Listener>,
    removed: ReadonlySet<string>,
  ): readonly string[] {
    const errors: string[] = [];
    const compiled = new Map<string, ListenerRuntime>();
    for (const [name, listener] of changed) {
      try {
        compiled.set(name, compileListener(listener, this.#gates));
      } catch (error) {
        errors.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    fill(this.#listeners, compiled, removed);
    return errors;
  }

  /** The mesh's bundle stays in force when it is taken back: there is no trust without one. All else goes at once. */
  #storeSecrets(
    changed: ReadonlyMap<string, Secret>,
    removed: ReadonlySet<string>,
  ): readonly string[] {
    const errors: string[] = [];
    const good = new Map<string, Secret>();
    for (const [name, secret] of changed) {
      const error = name === BUNDLE_SECRET ? this.#options.onBundle(secret) : undefined;
      if (error === undefined) good.set(name, secret);
      else errors.push(`${name}: ${error}`);
    }
    const gone = [...removed].filter(
      (name) => name !== BUNDLE_SECRET || this.#secrets.get(name)?.value === undefined,
    );
    fill(this.#secrets, good, new Set(gone));
    for (const handle of this.#handles.values()) handle.secretsChanged?.();
    this.#options.onSecrets?.();
    return errors;
  }

  /** Pointed at other endpoints it keeps those it has until the others are here. */
  #updateHandle(name: string, cluster: Cluster): void {
    const handle = this.#handles.get(name);
    if (handle === undefined) return;
    handle.update(cluster);
    if (cluster.discovery.kind !== 'eds') return;
    const held = this.#endpoints.get(cluster.discovery.serviceName)?.value;
    if (held !== undefined) handle.setEndpoints(held.endpoints);
  }

  #pushEndpoints(serviceName: string): void {
    for (const [name, handle] of this.#handles) {
      const discovery = this.#clusters.get(name)?.value?.discovery;
      if (discovery?.kind === 'eds' && discovery.serviceName === serviceName) {
        handle.setEndpoints(this.#endpoints.get(serviceName)?.value?.endpoints ?? []);
      }
    }
  }

  inbound(): ListenerRuntime | undefined {
    return this.#listeners.get(INBOUND_LISTENER)?.value;
  }

  route(name: string): RouteConfiguration | undefined {
    return this.#routes.get(name)?.value;
  }

  secret(name: string): Secret | undefined {
    return this.#secrets.get(name)?.value;
  }

  /** The running cluster; made when first asked for. */
  cluster(name: string): C | undefined {
    const known = this.#handles.get(name);
    if (known !== undefined) return known;
    const cluster = this.#clusters.get(name)?.value;
    if (cluster === undefined) return undefined;
    const handle = this.#options.createCluster(cluster);
    this.#handles.set(name, handle);
    if (cluster.discovery.kind === 'eds') {
      const assignment = this.#endpoints.get(cluster.discovery.serviceName)?.value;
      handle.setEndpoints(assignment?.endpoints ?? []);
    }
    return handle;
  }

  clusterDefinition(name: string): Cluster | undefined {
    return this.#clusters.get(name)?.value;
  }

  /** Whether the inbound listener and all it needs are here. */
  isInboundComplete(): boolean {
    return this.#stateOf(INBOUND_LISTENER) === 'ready';
  }

  /** The listener of a destination, for a connection that begins now. Marks it as used. */
  destination(name: string): ListenerRuntime | undefined {
    this.#touch(name);
    return this.#stateOf(name) === 'ready' ? this.#listeners.get(name)?.value : undefined;
  }

  /** The newest of it, whether or not all that it needs is here: what must not go on need not wait. */
  held(name: string): ListenerRuntime | undefined {
    return this.#listeners.get(name)?.value;
  }

  /** The control plane says that there is none. */
  isAbsent(name: string): boolean {
    return this.#stateOf(name) === 'absent';
  }

  /**
   * Subscribes to a destination and answers once it can be used or is known not to exist.
   * `pending` after the signal was aborted: the control plane has not said anything.
   */
  demand(name: string, signal: AbortSignal): Promise<DestinationState> {
    this.#touch(name);
    const state = this.#stateOf(name);
    if (state !== 'pending' || signal.aborted) return Promise.resolve(state);
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(name) ?? new Set();
      this.#waiters.set(name, waiters);
      const settle = (settled: DestinationState): void => {
        waiters.delete(settle);
        if (waiters.size === 0) this.#waiters.delete(name);
        signal.removeEventListener('abort', giveUp);
        resolve(settled);
      };
      const giveUp = (): void => settle('pending');
      signal.addEventListener('abort', giveUp, { once: true });
      waiters.add(settle);
    });
  }

  /** Unsubscribes from destinations that nobody has called for long; to be called now and then. */
  sweep(): void {
    const limit = this.#options.clock.now() - DESTINATION_IDLE_MS;
    for (const [name, usedAt] of this.#lastUsed) {
      if (usedAt > limit) break;
      this.#lastUsed.delete(name);
    }
    this.#reconcile();
  }

  #touch(name: string): void {
    const isNew = !this.#lastUsed.delete(name);
    this.#lastUsed.set(name, this.#options.clock.now());
    if (!isNew) return;
    if (this.#lastUsed.size > MAX_DESTINATIONS) {
      const oldest = this.#lastUsed.keys().next();
      if (oldest.done !== true) this.#lastUsed.delete(oldest.value);
    }
    this.#reconcile();
  }

  #wakeWaiters(): void {
    for (const [name, waiters] of this.#waiters) {
      const state = this.#stateOf(name);
      if (state !== 'pending') for (const settle of waiters) settle(state);
    }
  }

  #stateOf(name: string): DestinationState {
    const entry = this.#listeners.get(name);
    if (entry === undefined) return 'pending';
    if (entry.value === undefined) return entry.isGone ? 'absent' : 'pending';
    const references = referencesOf(entry.value);
    for (const routeName of references.routes) {
      const route = this.#routes.get(routeName)?.value;
      if (route === undefined) return 'pending';
      for (const cluster of clustersOf(route)) if (!this.#isSettled(cluster)) return 'pending';
    }
    for (const secret of references.secrets) {
      if (this.#secrets.get(secret)?.value === undefined) return 'pending';
    }
    const areHere = [...references.clusters].every(
      (cluster) => this.#isSettled(cluster) && this.#clusters.get(cluster)?.value !== undefined,
    );
    return areHere ? 'ready' : 'pending';
  }

  /** Here with all it needs, or known not to exist: then what is sent there is answered with why. */
  #isSettled(name: string): boolean {
    const entry = this.#clusters.get(name);
    if (entry?.value === undefined) return entry?.isGone === true;
    const { discovery } = entry.value;
    if (isAwaitingSecrets(entry.value, this.#secrets)) return false;
    if (discovery.kind !== 'eds') return true;
    const assignment = this.#endpoints.get(discovery.serviceName);
    return assignment !== undefined && (assignment.value !== undefined || assignment.isGone);
  }

  /** Makes the subscriptions those that the roots reach, and drops what is no longer reached. */
  #reconcile(): void {
    const roots = new Set([INBOUND_LISTENER, ...this.#lastUsed.keys()]);
    const routes = new Set<string>();
    const clusters = new Set<string>();
    const secrets = new Set<string>();
    for (const name of roots) {
      const runtime = this.#listeners.get(name)?.value;
      if (runtime === undefined) continue;
      const references = referencesOf(runtime);
      for (const route of references.routes) routes.add(route);
      for (const cluster of references.clusters) clusters.add(cluster);
      for (const secret of references.secrets) secrets.add(secret);
      for (const secret of references.certificates) secrets.add(secret);
    }
    for (const name of routes) {
      for (const route of [this.route(name), this.#waitingRoutes.get(name)]) {
        if (route !== undefined) for (const cluster of clustersOf(route)) clusters.add(cluster);
      }
    }
    const assignments = new Set<string>();
    for (const name of clusters) {
      const cluster = this.#clusters.get(name)?.value;
      if (cluster?.discovery.kind === 'eds') assignments.add(cluster.discovery.serviceName);
      for (const secret of secretsOf(cluster)) secrets.add(secret);
    }
    this.#follow('secret', this.#secrets, secrets);
    this.#follow('listener', this.#listeners, roots);
    this.#follow('route', this.#routes, routes);
    this.#follow('cluster', this.#clusters, clusters);
    this.#follow('endpoints', this.#endpoints, assignments);
    for (const [name, handle] of this.#handles) {
      if (this.#clusters.get(name)?.value !== undefined) continue;
      this.#handles.delete(name);
      handle[Symbol.dispose]();
    }
  }

  #follow<T>(kind: ResourceKind, table: Table<T>, wanted: ReadonlySet<string>): void {
    const { subscriptions } = this.#options;
    for (const name of wanted) {
      if (table.has(name)) continue;
      table.set(name, { value: undefined, isGone: false });
      subscriptions.subscribe(kind, name);
    }
    for (const name of table.keys()) {
      if (wanted.has(name)) continue;
      table.delete(name);
      subscriptions.unsubscribe(kind, name);
    }
  }

  /** Everything held, for the config dump. */
  dump(): Readonly<Record<string, unknown>> {
    const values = <T>(table: Table<T>): readonly T[] =>
      [...table.values()].flatMap((entry) => (entry.value === undefined ? [] : [entry.value]));
    return {
      listeners: values(this.#listeners).map((runtime) => runtime.listener),
      routes: values(this.#routes),
      clusters: values(this.#clusters),
      endpoints: values(this.#endpoints),
      secrets: values(this.#secrets),
      absent: [...this.#listeners].flatMap(([name, entry]) => (entry.isGone ? [name] : [])),
    };
  }

  handles(): ReadonlyMap<string, C> {
    return this.#handles;
  }
}
