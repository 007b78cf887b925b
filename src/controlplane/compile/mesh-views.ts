// Keeps the mesh compiled from its source, and answers who a proxy is, what it sees, and which policies reach it.
import { systemClock, type Clock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import type { SpiffeId, TrustDomain } from '@weft/model/identity';
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import type { Snapshot } from '@weft/model/mesh/objects';
import {
  NO_KEYS,
  type FetchedKeys,
  type RequestAuthentication,
} from '@weft/model/policy/token-rules';
import type { Problem } from '@weft/model/problem';
import type { EncodedResource, ResourceKind, ResourceView } from '@weft/xds/resource';
import { INBOUND_LISTENER } from '../resources/inbound-listener.ts';
import { createResourceCache, type ResourceCache } from '../resources/resource-cache.ts';
import { createWorkloadView, type TrustBundle } from '../resources/workload-view.ts';
import type { NodeClaim, ProxyRef, ProxyResolution, ViewSource } from '../serve/view-source.ts';
import { MeshCompiler } from './mesh-compiler.ts';
import type { Membership } from './mesh-settings.ts';
import { placePolicies, type PolicyPlacement } from './policy-placements.ts';
import { resolveProxy } from './proxy-resolution.ts';

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
  readonly clock?: Clock;
  /** How long changes are gathered before they are compiled together. Default 5 ms. */
  readonly coalesceMs?: number;
  readonly onCompiled?: (durationMs: number) => void;
}

/** Fetches what policies ask for. */
export interface KeySource {
  /** Another map whenever keys have changed. */
  readonly keys: FetchedKeys;
  want(policies: readonly RequestAuthentication[], allowedNetworks: readonly string[]): void;
  subscribe(listener: () => void): Disposable;
  problems(): readonly Problem[];
}

/** Shorter than anybody notices, longer than one burst of file or API events. */
const DEFAULT_COALESCE_MS = 5;
/**
 * Twice what the last compiling took: while a large mesh changes all the time, two thirds of the processor are left
 * for serving it. A change that comes alone does not wait.
 */
const REST_FACTOR = 2;
/** 500 ms, whatever compiling takes. */
const MAX_REST_MS = 500;
/** Each is one resource that is left out; more of them say no more. */
const MAX_ENCODING_PROBLEMS = 1_000;

/** The first mesh is compiled when this returns. */
export function createMeshViews(options: MeshViewsOptions): MeshViews {
  return new Views(options);
}

class Views implements MeshViews {
  readonly #options: MeshViewsOptions;
  readonly #clock: Clock;
  readonly #cache: ResourceCache;
  readonly #listeners = new Set<() => void>();
  readonly #subscriptions = new DisposableStack();
  readonly #unencodable = new Map<string, Problem>();
  #snapshot: Snapshot;
  /** Those that the mesh was compiled with. */
  #keys: FetchedKeys = NO_KEYS;
  #compiler: MeshCompiler;
  #mesh: Mesh;
  #bundle: TrustBundle;
  #revision = 1;
  #views = new Map<string, { readonly identity: SpiffeId; readonly view: ResourceView }>();
  #shared = new Map<ResourceKind, readonly EncodedResource[]>();
  #placements: readonly PolicyPlacement[] | undefined;
  #timer: Disposable | undefined;
  #failure: Problem | undefined;
  /** Changes that come before are compiled together then. */
  #restUntilMs = 0;

  constructor(options: MeshViewsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#cache = createResourceCache({
      onFailure: (kind, name, cause) => this.#addProblem(kind, name, cause),
    });
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
      ...this.#unencodable.values(),
      ...(this.#failure === undefined ? [] : [this.#failure]),
    ];
  }

  policies(): readonly PolicyPlacement[] {
    this.#placements ??= placePolicies(this.#mesh, (workload) => this.#listenerVersion(workload));
    return this.#placements;
  }

  resolve(claim: NodeClaim, identity: SpiffeId): ProxyResolution {
    return resolveProxy(this.#mesh, claim, identity);
  }

  /** One view for each proxy and revision, and none from another identity (CVE-2021-34824). */
  viewFor(proxy: ProxyRef): ResourceView {
    const known = this.#views.get(proxy.id);
    if (known?.identity === proxy.identity) return known.view;
    const found = this.#mesh.workloads.get(proxy.id);
    const view = createWorkloadView({
      revision: this.#revision,
      mesh: this.#mesh,
      bundle: this.#bundle,
      cache: this.#cache,
      shared: this.#shared,
      workload: found?.identity === proxy.identity ? found : undefined,
    });
    this.#views.set(proxy.id, { identity: proxy.identity, view });
    return view;
  }

  subscribe(listener: () => void): Disposable {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return { [Symbol.dispose]: () => void this.#listeners.delete(entry) };
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#subscriptions.dispose();
    this.#listeners.clear();
  }

  #schedule(): void {
    const coalesceMs = this.#options.coalesceMs ?? DEFAULT_COALESCE_MS;
    const delayMs = Math.max(coalesceMs, this.#restUntilMs - this.#clock.now());
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      this.#refresh();
    }, delayMs);
  }

  /** Changes of problems alone are no change for proxies. */
  #refresh(): void {
    const { snapshot } = this.#options.source.state;
    const bundle = this.#options.bundle();
    const isBundleNew = bundle.version !== this.#bundle.version;
    const { keys = this.#keys } = this.#options.keys ?? {};
    const isInputNew = snapshot !== this.#snapshot || keys !== this.#keys;
    const isMeshNew = isInputNew && this.#recompile(snapshot);
    if (!isMeshNew && !isBundleNew) return;
    if (isBundleNew) this.#bundle = bundle;
    this.#revision++;
    this.#views = new Map();
    this.#shared = new Map();
    this.#placements = undefined;
    this.#unencodable.clear();
    for (const listener of this.#listeners) listener();
  }

  /** Empty when it cannot be encoded: then no proxy has it. */
  #listenerVersion({ id, identity, namespace, name }: Workload): string {
    if (identity === undefined) return '';
    const view = this.viewFor({ id, identity, namespace, workload: name });
    return view.get('listener', INBOUND_LISTENER)?.version ?? '';
  }

  #addProblem(kind: ResourceKind, name: string, cause: unknown): void {
    if (this.#unencodable.size >= MAX_ENCODING_PROBLEMS) return;
    this.#unencodable.set(`${kind}\0${name}`, {
      severity: 'error',
      code: 'cannot-encode',
      message: `left out the ${kind} ${name}: ${errorText(cause)}`,
    });
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
    const { onCompiled } = this.#options;
    const startedAt = performance.now();
    const keys = this.#options.keys?.keys ?? NO_KEYS;
    const { revision, objects } = snapshot;
    const mesh = this.#compiler.compile({ revision, objects, keys });
    this.#keys = keys;
    const durationMs = performance.now() - startedAt;
    this.#restUntilMs = this.#clock.now() + Math.min(REST_FACTOR * durationMs, MAX_REST_MS);
    onCompiled?.(durationMs);
    const { policies, settings } = mesh;
    this.#options.keys?.want(policies.requestAuthentication, settings.jwksAllowedNetworks);
    return mesh;
  }
}
