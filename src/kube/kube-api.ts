// What Weft asks of a Kubernetes API server, and the answers it may get: failures are values that name verb, resource and cure.
import type { KubeResource } from './resource.ts';
import { resourceName } from './resource.ts';

/** An object as it comes from the wire: nothing in it is checked yet. */
export type KubeObject = Readonly<Record<string, unknown>>;

export type KubeVerb =
  | 'get'
  | 'list'
  | 'watch'
  | 'create'
  | 'update'
  | 'patch'
  | 'delete'
  | 'deletecollection';

export interface KubeFailure {
  readonly ok: false;
  /**
   * - `unreachable`: no answer (connection, TLS, time limit); may be good again later.
   * - `status`: the server said no, with an HTTP code and a reason of Kubernetes'.
   * - `malformed`: what came back is no answer of an API server.
   */
  readonly kind: 'unreachable' | 'status' | 'malformed';
  /** HTTP status; 0 without one. */
  readonly code: number;
  /** Kubernetes' own: `NotFound`, `Conflict`, `AlreadyExists`, `Forbidden`, `Expired`, `TooManyRequests`. */
  readonly reason: string;
  /** A sentence without a full stop, with verb, resource and, where one is known, the cure. */
  readonly message: string;
  /** From `Retry-After`. */
  readonly retryAfterMs?: number;
}

export type KubeResult<T> = { readonly ok: true; readonly value: T } | KubeFailure;

export interface Target {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface WriteOptions {
  readonly subresource?: string;
  readonly isDryRun?: boolean;
  readonly signal?: AbortSignal;
}

export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Items a page; the client does not follow pages by itself. */
  readonly limit?: number;
  readonly continueToken?: string;
  readonly resourceVersion?: string;
  /** Names, labels and annotations alone, as `PartialObjectMetadata`. */
  readonly isMetadataOnly?: boolean;
  readonly signal?: AbortSignal;
}

export interface KubeList {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  readonly continueToken: string | undefined;
}

export type WatchEvent =
  | { readonly kind: 'added' | 'modified' | 'deleted'; readonly object: KubeObject }
  | { readonly kind: 'bookmark'; readonly resourceVersion: string };

export interface WatchOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion: string;
  readonly isMetadataOnly?: boolean;
  /** The server has taken it: events come from now on. */
  readonly onOpen?: () => void;
  readonly onEvent: (event: WatchEvent) => void;
  readonly signal: AbortSignal;
}

/** `ok`: the server ended it in order, or `signal` did; watch again from the last version seen. Code 410: list again. */
export type WatchEnd = { readonly ok: true } | KubeFailure;

export interface PatchOptions extends WriteOptions {
  /** `merge` by RFC 7386, `json` by RFC 6902. */
  readonly type: 'merge' | 'json';
  readonly patch: unknown;
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  /** Takes over fields of other managers. */
  readonly isForced?: boolean;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly signal?: AbortSignal;
}

export interface KubeClient extends Disposable {
  /** `https://host:port`, for messages. */
  readonly server: string;
  get(
    resource: KubeResource,
    target: Target,
    signal?: AbortSignal,
  ): Promise<KubeResult<KubeObject>>;
  list(resource: KubeResource, options?: ListOptions): Promise<KubeResult<KubeList>>;
  /** To the object's own namespace, or the subresource of the one it names. */
  create(
    resource: KubeResource,
    object: KubeObject,
    options?: WriteOptions,
  ): Promise<KubeResult<KubeObject>>;
  /** With the object's resourceVersion: optimistic locking. A conflict has code 409. */
  replace(
    resource: KubeResource,
    object: KubeObject,
    options?: WriteOptions,
  ): Promise<KubeResult<KubeObject>>;
  /** Server-side apply. */
  apply(
    resource: KubeResource,
    object: KubeObject,
    options: ApplyOptions,
  ): Promise<KubeResult<KubeObject>>;
  patch(
    resource: KubeResource,
    target: Target,
    options: PatchOptions,
  ): Promise<KubeResult<KubeObject>>;
  delete(
    resource: KubeResource,
    target: Target,
    options?: DeleteOptions,
  ): Promise<KubeResult<KubeObject>>;
  watch(resource: KubeResource, options: WatchOptions): Promise<WatchEnd>;
  /** Any path, `/version`, `/apis/GROUP/VERSION`: what no verb above is for. */
  read(path: string, signal?: AbortSignal): Promise<KubeResult<KubeObject>>;
}

const where = (namespace: string | undefined, resource: KubeResource): string => {
  if (namespace !== undefined) return ` in namespace ${namespace}`;
  return resource.isNamespaced ? ' in all namespaces' : '';
};

/** `Cannot list pods in namespace shop: …`. */
export function describeFailure(
  call: {
    readonly verb: KubeVerb;
    readonly resource: KubeResource;
    readonly namespace?: string | undefined;
    readonly name?: string | undefined;
    readonly subresource?: string | undefined;
  },
  why: { readonly code: number; readonly text: string },
): string {
  const { verb, resource, namespace, name, subresource } = call;
  const plural = resourceName(resource);
  const full = subresource === undefined ? plural : `${plural}/${subresource}`;
  const named = name === undefined ? full : `${full} ${name}`;
  const begin = `Cannot ${verb} ${named}${where(namespace, resource)}: ${why.text}`;
  if (why.code === 403) {
    const scope = namespace === undefined ? 'ClusterRole' : `Role in ${namespace}`;
    return `${begin}; the ${scope} of this service account needs verb "${verb}" on "${full}"`;
  }
  if (why.code === 401) {
    return `${begin}; the API server does not accept the credentials: look at the token or kubeconfig`;
  }
  return begin;
}
