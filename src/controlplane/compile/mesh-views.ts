// Keeps the mesh compiled from its source, and answers who a proxy is, what it sees, and which policies reach it.
import { systemClock, type Clock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import type { SpiffeId, TrustDomain } from '@weft/model/identity';
import type { InboundSpec, Mesh, Workload } from '@weft/model/mesh/mesh';
import type { Snapshot } from '@weft/model/mesh/objects';
import {
  NO_KEYS,
  type FetchedKeys,
  type RequestAuthentication,
} from '@weft/model/policy/token-rules';
import type { Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';
import type { EncodedResource, ResourceKind, ResourceView } from '@weft/xds/resource';
import { SoonestTimer } from '../core/soonest-timer.ts';
import {
  createResourceCache,
  type EncodingFailure,
  type ResourceCache,
} from '../resources/resource-cache.ts';
import {
  createWorkloadView,
  inboundListenerOf,
  type TrustBundle,
} from '../resources/workload-view.ts';
import { createGrpcView } from '../resources/grpc/grpc-view.ts';
import type {
  GrpcLibrary,
  NodeClaim,
  ProxyRef,
  ProxyResolution,
  ViewChange,
  ViewSource,
} from '../serve/view-source.ts';
import { EncodingProblems } from './encoding-problems.ts';
import { MeshCompiler } from './mesh-compiler.ts';
import type { Membership } from './mesh-settings.ts';
import { isNarrowing } from './narrowing.ts';
import { PolicyPlacements, type PolicyPlacement } from './policy-placements.ts';
import { resolveProxy } from './proxy-resolution.ts';
import { EVERYTHING, viewChangeOf } from './view-change.ts';

export interface MeshViews extends ViewSource, Disposable {
  mesh(): Mesh;
  /** What the mesh was compiled from. */
  snapshot(): Snapshot;
  /** Keys of token issuers that it was compiled with. */
  keys(): FetchedKeys;
  /** Those of the source, then those of compiling, then resources that could not be encoded. */
  problems(): readonly Problem[];
  /** Counts what proxies can see change: the mesh or the bundle. From 1. */
  readonly revision: number;
  /** How many resources were encoded since the start. */
  readonly encodes: number;
  /** For each policy in force: the proxies that it selects, and the version of the listener that carries it there. */
  policies(): readonly PolicyPlacement[];
}

export interface MeshViewsOptions {
  readonly source: {
    readonly state: { readonly snapshot: Snapshot; readonly problems: readonly Problem[] };
    subscribe(listener: () => void): Disposable;
  };
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  readonly membership?: Membership;
  readonly bundle: () => TrustBundle;
  readonly onBundleChange: (listener: () => void) => Disposable;
  /** Keys of token issuers; absent: none are ever fetched. */
  readonly keys?: KeySource;
  /** Fetches the roots of others, which then come with `bundle`; absent: nobody is federated with. */
  readonly federations?: FederationSource;
  readonly clock?: Clock;
  /** Milliseconds, for measuring how long compiling takes; default the process's own. */
  readonly elapsedMs?: () => number;
  /** How long changes are gathered before they are compiled together. Default 5 ms. */
  readonly coalesceMs?: number;
  readonly onCompiled?: (durationMs: number) => void;
  /** Of what serves the mesh besides. */
  readonly moreProblems?: () => readonly Problem[];
}

/** Fetches what policies ask for. */
export interface KeySource {
  /** Another map whenever keys have changed. */
  readonly keys: FetchedKeys;
  want(policies: readonly RequestAuthentication[], allowedNetworks: readonly string[]): void;
  subscribe(listener: () => void): Disposable;
  problems(): readonly Problem[];
}

/** Fetches what FederatedTrustDomains ask for. */
export interface FederationSource {
  want(federations: readonly FederatedTrustDomain[], allowedNetworks: readonly string[]): void;
  problems(): readonly Problem[];
}

/** Shorter than anybody notices, longer than one burst of file or API events. */
const DEFAULT_COALESCE_MS = 5;
/**
 * Twice what the last compiling took: while a mesh changes all the time, two thirds of the processor are left for
 * serving it. A change that comes alone does not wait.
 */
const REST_FACTOR = 2;
/** 500 ms, whatever compiling takes. */
const MAX_REST_MS = 500;
/**
 * What may take something from somebody does not wait behind that: it ends the rest, and waits itself only as long
 * as the last compiling took, 50 ms at most, so that even a stream of revocations leaves half of the processor to those
 * who are told of them.
 */
const MAX_NARROWING_REST_MS = 50;

/** The first mesh is compiled when this returns. */
export function createMeshViews(options: MeshViewsOptions): MeshViews {
  return new Views(options);
}

class Views implements MeshViews {
  readonly #options: MeshViewsOptions;
  readonly #clock: Clock;
  readonly #cache: ResourceCache;
  readonly #listeners = new Listeners<ViewChange>();
  readonly #subscriptions = new DisposableStack();
  readonly #unencodable = new EncodingProblems();
  readonly #placements: PolicyPlacements;
  #snapshot: Snapshot;
  /** Those that the mesh was compiled with. */
  #keys: FetchedKeys = NO_KEYS;
  #compiler: MeshCompiler;
  #mesh: Mesh;
  #bundle: TrustBundle;
  #revision = 1;
  #views = new Map<string, { readonly identity: SpiffeId; readonly view: ResourceView }>();
  #shared = new Map<ResourceKind, readonly EncodedResource[]>();
  readonly #timer: SoonestTimer;
  #failure: Problem | undefined;
  /** Changes that come before are compiled together then: those that only add, and all others. */
  #restUntilMs = { adding: 0, narrowing: 0 };

  constructor(options: MeshViewsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timer = new SoonestTimer(this.#clock, () => this.#refresh());
    this.#cache = createResourceCache({
      onFailure: (failure) => this.#unencodable.note(failure),
    });
    this.#placements = new PolicyPlacements((inbound) => this.#listenerVersion(inbound));
    this.#snapshot = options.source.state.snapshot;
    this.#compiler = this.#createCompiler();
    this.#mesh = this.#compile(this.#snapshot);
    this.#bundle = options.bundle();
    const onChange = (): void => this.#schedule();
    this.#subscriptions.use(options.source.subscribe(onChange));
    this.#subscriptions.use(options.onBundleChange(onChange));
    if (options.keys !== undefined) this.#subscriptions.use(options.keys.subscribe(onChange));
    // Between the first look and the subscription something may have changed.
    if (options.source.state.snapshot !== this.#snapshot) this.#schedule();
  }

  get revision(): number {
    return this.#revision;
  }

  get encodes(): number {
    return this.#cache.encodes;
  }

  mesh(): Mesh {
    return this.#mesh;
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  keys(): FetchedKeys {
    return this.#keys;
  }

  problems(): readonly Problem[] {
    return [
      ...this.#options.source.state.problems,
      ...this.#mesh.problems,
      ...(this.#options.keys?.problems() ?? []),
      ...(this.#options.federations?.problems() ?? []),
      ...this.#unencodable.problems(),
      ...(this.#options.moreProblems?.() ?? []),
      ...(this.#failure === undefined ? [] : [this.#failure]),
    ];
  }

  policies(): readonly PolicyPlacement[] {
    return this.#placements.place({ mesh: this.#mesh, rulings: this.#compiler.rulings });
  }

  resolve(claim: NodeClaim, identity: SpiffeId): ProxyResolution {
    return resolveProxy(this.#mesh, claim, identity);
  }

  /** One view for each proxy and revision, and none from another identity (CVE-2021-34824). */
  viewFor(proxy: ProxyRef): ResourceView {
    const { id, identity, grpc } = proxy;
    const key = grpc === undefined ? id : `${grpc} ${id}`;
    const known = this.#views.get(key);
    if (known?.identity === identity) return known.view;
    const found = this.#mesh.workloads.get(id);
    const workload = found?.identity === identity ? found : undefined;
    const view =
      grpc === undefined ? this.#createView(workload) : this.#createGrpcView(grpc, workload);
    this.#views.set(key, { identity, view });
    return view;
  }

  #createGrpcView(library: GrpcLibrary, workload: Workload | undefined): ResourceView {
    const mesh = this.#mesh;
    return createGrpcView({
      revision: this.#revision,
      mesh,
      cache: this.#cache,
      library,
      workload,
    });
  }

  /** Without a workload: what is everybody's. */
  #createView(workload: Workload | undefined): ResourceView {
    return createWorkloadView({
      revision: this.#revision,
      mesh: this.#mesh,
      bundle: this.#bundle,
      cache: this.#cache,
      shared: this.#shared,
      workload,
    });
  }

  subscribe(listener: (change: ViewChange) => void): Disposable {
    return this.#listeners.add(listener);
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#subscriptions.dispose();
    this.#listeners.clear();
  }

  #schedule(): void {
    const coalesceMs = this.#options.coalesceMs ?? DEFAULT_COALESCE_MS;
    const nowMs = this.#clock.now();
    const dueMs = Math.max(nowMs + coalesceMs, this.#restsUntilMs(nowMs + coalesceMs));
    this.#timer.schedule(dueMs - nowMs);
  }

  #restsUntilMs(soonestMs: number): number {
    const { adding, narrowing } = this.#restUntilMs;
    // Told apart only where it makes a difference.
    if (adding <= soonestMs) return soonestMs;
    const { source, bundle, keys } = this.#options;
    const isTrustNew =
      bundle().version !== this.#bundle.version || (keys !== undefined && keys.keys !== this.#keys);
    const isUrgent = isTrustNew || isNarrowing(this.#snapshot, source.state.snapshot);
    return isUrgent ? narrowing : adding;
  }

  /** Changes of problems alone are no change for proxies. */
  #refresh(): void {
    const { snapshot } = this.#options.source.state;
    const bundle = this.#options.bundle();
    const isBundleNew = bundle.version !== this.#bundle.version;
    const { keys = this.#keys } = this.#options.keys ?? {};
    const isInputNew = snapshot !== this.#snapshot || keys !== this.#keys;
    const before = this.#mesh;
    const isMeshNew = isInputNew && this.#recompile(snapshot);
    if (!isMeshNew && !isBundleNew) return;
    if (isBundleNew) this.#bundle = bundle;
    this.#revision++;
    this.#views = new Map();
    this.#shared = new Map();
    this.#unencodable.refresh((failure) => this.#isLeftOut(failure));
    const change = isBundleNew ? EVERYTHING : viewChangeOf(before, this.#mesh);
    this.#listeners.tell(change);
  }

  /** Empty when it cannot be encoded: then no proxy has it. */
  #listenerVersion(inbound: InboundSpec): string {
    return inboundListenerOf(inbound, this.#cache)?.version ?? '';
  }

  /** What is a workload's own is held by it; what is everybody's is asked for again. */
  #isLeftOut({ kind, name, from, owner }: EncodingFailure): boolean {
    if (owner !== undefined) return this.#compiler.hasInbound(from);
    // That notes it anew.
    this.#createView(undefined).get(kind, name);
    return false;
  }

  /** A snapshot that cannot be compiled leaves the mesh as it was, and is a problem until there is a better one. */
  #recompile(snapshot: Snapshot): boolean {
    try {
      this.#mesh = this.#compile(snapshot);
      this.#snapshot = snapshot;
      this.#failure = undefined;
      return true;
    } catch (cause) {
      // What it holds may be half a change: the next attempt starts from nothing.
      this.#compiler = this.#createCompiler(this.#mesh);
      this.#failure = {
        severity: 'error',
        code: 'cannot-compile',
        message: `revision ${snapshot.revision} is not in force, revision ${this.#mesh.revision} still is: ${errorText(cause)}`,
        cure: 'undo the last change, and report this with the objects that it was about',
      };
      return false;
    }
  }

  #createCompiler(previous?: Mesh): MeshCompiler {
    const { trustDomain, rootNamespace, membership } = this.#options;
    const identity = { trustDomain, rootNamespace, ...(membership && { membership }) };
    return new MeshCompiler(identity, previous);
  }

  #compile(snapshot: Snapshot): Mesh {
    const { onCompiled, elapsedMs = () => performance.now() } = this.#options;
    const startedAtMs = elapsedMs();
    const keys = this.#options.keys?.keys ?? NO_KEYS;
    const { revision, objects } = snapshot;
    const mesh = this.#compiler.compile({ revision, objects, keys });
    this.#keys = keys;
    const durationMs = elapsedMs() - startedAtMs;
    const nowMs = this.#clock.now();
    this.#restUntilMs = {
      adding: nowMs + Math.min(REST_FACTOR * durationMs, MAX_REST_MS),
      narrowing: nowMs + Math.min(durationMs, MAX_NARROWING_REST_MS),
    };
    onCompiled?.(durationMs);
    const { policies, settings, federations = [] } = mesh;
    this.#options.federations?.want(federations, settings.jwksAllowedNetworks);
    this.#options.keys?.want(policies.requestAuthentication, settings.jwksAllowedNetworks);
    return mesh;
  }
}
