// A source whose objects are those of a cluster: follows them at the API server, and serves nothing half read.
import { systemClock, type Clock } from '@weft/model/clock';
import type { KubeClient } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { textAt } from '@weft/kube/object-fields';
import { CUSTOM_RESOURCE_DEFINITIONS } from '@weft/kube/resource';
import type { Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';
import type { Logger } from 'pino';
import type { Source, SourceState } from '../source.ts';
import { ClusterState } from './cluster-state.ts';
import { type Feed, startFeed } from './feed.ts';
import { FOLLOWED_KINDS, type FollowedKind } from './followed-kinds.ts';
import { namedObjectsClient } from './named-objects.ts';
import { SharedParts } from './shared-parts.ts';

export interface KubernetesSourceOptions {
  readonly client: Pick<KubeClient, 'get' | 'list' | 'watch'>;
  /** Of the mesh, where it is not the whole cluster; the root namespace is always among them. */
  readonly namespaces?: readonly string[];
  readonly rootNamespace: string;
  readonly log?: Logger;
  readonly clock?: Clock;
  /** From 0 to 1. */
  readonly random?: () => number;
  /** From a change to word of it, so that changes made together are told together; default 10. */
  readonly settleMs?: number;
  /** Ends the wait for the first state. */
  readonly signal?: AbortSignal;
  /** Told while that is being waited for, whenever the reasons change. */
  readonly onWaiting?: (reasons: readonly Problem[]) => void;
}

export interface KubernetesSource extends Source {
  /** Since when the API server cannot be followed everywhere; absent while all is well. */
  readonly staleSinceMs: number | undefined;
}

const DEFAULT_SETTLE_MS = 10;
/** Events that keep coming put word of them off no longer than this many times `settleMs`. */
const MAX_SETTLES = 5;
/** As seldom as can be: it does nothing. */
const ALIVE_MS = 2_000_000_000;

/**
 * Waits until all that restricts, and all that it needs, was listed once: a policy that was not read yet would be one
 * that does not hold. Meanwhile it keeps asking.
 * @throws the reason of `signal`, when that ends it.
 */
export async function openKubernetesSource(
  options: KubernetesSourceOptions,
): Promise<KubernetesSource> {
  options.signal?.throwIfAborted();
  const source = new ClusterSource(options);
  try {
    await source.waitUntilRead(options.signal);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
  return source;
}

class ClusterSource implements KubernetesSource {
  readonly #options: KubernetesSourceOptions;
  readonly #clock: Clock;
  readonly #settleMs: number;
  readonly #cluster = new ClusterState();
  readonly #parts = new SharedParts();
  readonly #listeners = new Listeners();
  readonly #owned = new AsyncDisposableStack();
  readonly #feeds: readonly Feed[];
  readonly #read = Promise.withResolvers<void>();
  /** CRDs that there are; absent while that is not known. */
  #definitions: Set<string> | undefined;
  #definitionsWatch: ListWatch | undefined;
  #state: SourceState;
  #isRead = false;
  #isClosed = false;
  #waitingFor = '';
  #staleSinceMs: number | undefined;
  #unrestSinceMs: number | undefined;
  #timer: Disposable | undefined;

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#settleMs = options.settleMs ?? DEFAULT_SETTLE_MS;
    this.#state = this.#cluster.advance([]);
    // Ended or not, nobody may be waiting for it.
    this.#read.promise.catch(() => undefined);
    this.#feeds = FOLLOWED_KINDS.flatMap((followed) => this.#startFeeds(followed));
    if (options.namespaces === undefined) this.#followDefinitions();
  }

  get state(): SourceState {
    return this.#state;
  }

  get staleSinceMs(): number | undefined {
    return this.#staleSinceMs;
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  async waitUntilRead(signal: AbortSignal | undefined): Promise<void> {
    const onAbort = (): void => this.#read.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    // No timer of the clock keeps a process alive: with the API server away it would end instead of waiting.
    const alive = setInterval(() => undefined, ALIVE_MS);
    try {
      await this.#read.promise;
    } finally {
      clearInterval(alive);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    this.#timer?.[Symbol.dispose]();
    await this.#owned.disposeAsync();
  }

  #startFeeds(followed: FollowedKind): readonly Feed[] {
    const { client, rootNamespace, namespaces, random, log } = this.#options;
    const all = namespaces === undefined ? undefined : [...new Set([rootNamespace, ...namespaces])];
    const isByName = followed.scope === 'namespace-names' && all !== undefined;
    const places = followed.scope === 'root' ? [rootNamespace] : (all ?? [undefined]);
    // A mesh of some namespaces has no say about the others.
    if (followed.scope === 'cluster' && all !== undefined) return [];
    return (isByName ? [undefined] : places).map((namespace) =>
      this.#owned.use(
        startFeed({
          client: isByName ? namedObjectsClient(client, all, this.#clock) : client,
          namespace,
          clock: this.#clock,
          ...(random !== undefined && { random }),
          ...(log !== undefined && { log }),
          followed,
          state: this.#cluster,
          share: (object) => this.#parts.share(object),
          isInstalled: () => this.#isInstalled(followed),
          onChange: () => this.#onChange(),
          onBack: () => this.#onBack(),
        }),
      ),
    );
  }

  /** Kinds of others come and go with their definitions. Without leave to see those it is found out by asking. */
  #followDefinitions(): void {
    const { client, random, log } = this.#options;
    const nameOf = (object: Parameters<typeof textAt>[0]): string =>
      textAt(object, 'metadata', 'name') ?? '';
    const hurry = (name: string): void => this.#hurry((feed) => feed.names.includes(name));
    this.#definitionsWatch = this.#owned.use(
      startListWatch<string>({
        client,
        resources: [CUSTOM_RESOURCE_DEFINITIONS],
        isMetadataOnly: true,
        clock: this.#clock,
        ...(random !== undefined && { random }),
        ...(log !== undefined && { log }),
        read: nameOf,
        onListed: (names) => {
          this.#definitions = new Set(names);
          names.forEach(hurry);
        },
        onChanged: (name) => {
          this.#definitions?.add(name);
          hurry(name);
        },
        onDeleted: (object) => {
          this.#definitions?.delete(nameOf(object));
          hurry(nameOf(object));
        },
      }),
    );
  }

  #hurry(isMeant: (feed: Feed) => boolean): void {
    for (const feed of this.#feeds) if (isMeant(feed)) feed.retryNow();
  }

  /** One has found the API server back: no other need wait until it finds that out by itself. */
  #onBack(): void {
    this.#hurry((feed) => feed.isAway);
    if (this.#definitionsWatch?.status.kind === 'failing') this.#definitionsWatch.retryNow();
  }

  #isInstalled({ resources }: FollowedKind): boolean | undefined {
    const { plural, group } = resources[0];
    return this.#definitions?.has(`${plural}.${group}`);
  }

  #onChange(): void {
    if (this.#isClosed) return;
    if (!this.#isRead) {
      this.#checkRead();
      return;
    }
    const now = this.#clock.now();
    this.#unrestSinceMs ??= now;
    const latest = this.#unrestSinceMs + MAX_SETTLES * this.#settleMs;
    this.#timer?.[Symbol.dispose]();
    const delayMs = Math.max(Math.min(this.#settleMs, latest - now), 0);
    this.#timer = this.#clock.setTimeout(() => this.#advance(), delayMs);
  }

  #checkRead(): void {
    if (!this.#feeds.every((feed) => feed.isRead)) {
      this.#tellWaiting();
      return;
    }
    this.#isRead = true;
    this.#advance();
    const { objects } = this.#state.snapshot;
    this.#options.log?.info({ objects: objects.size }, 'cluster read');
    this.#read.resolve();
  }

  #tellWaiting(): void {
    const reasons = this.#problems();
    const text = JSON.stringify(reasons);
    if (reasons.length === 0 || text === this.#waitingFor) return;
    this.#waitingFor = text;
    for (const problem of reasons) this.#options.log?.warn({ problem }, problem.message);
    this.#options.onWaiting?.(reasons);
  }

  /** What is wrong with following the cluster; that the API server is away is one problem, and not one for each kind. */
  #problems(): readonly Problem[] {
    const found = new Map<string, Problem>();
    for (const feed of this.#feeds) {
      const told = feed.problem();
      if (told === undefined) continue;
      const isAway = told.failure.kind === 'unreachable';
      const key = isAway ? 'away' : told.problem.message;
      if (!found.has(key)) found.set(key, told.problem);
    }
    return [...found.values()];
  }

  #advance(): void {
    this.#timer = undefined;
    this.#unrestSinceMs = undefined;
    if (this.#isClosed) return;
    const others = this.#problems();
    this.#staleSinceMs =
      others.length === 0 ? undefined : (this.#staleSinceMs ?? this.#clock.now());
    const state = this.#cluster.advance(others);
    if (state === this.#state) return;
    this.#state = state;
    const { revision, objects } = state.snapshot;
    this.#options.log?.debug(
      { revision, objects: objects.size, problems: state.problems.length },
      'cluster changed',
    );
    this.#listeners.tellAll(undefined, (error) =>
      this.#options.log?.error({ err: error }, 'listener failed'),
    );
  }
}
