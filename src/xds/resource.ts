// The five kinds of resource, their type URLs, types that are handed on unread, and a resource once encoded: name, version and bytes.
import type { Cluster } from './resources/cluster.ts';
import type { ClusterLoadAssignment } from './resources/endpoint.ts';
import type { Listener } from './resources/listener.ts';
import type { RouteConfiguration } from './resources/route.ts';
import type { Secret } from './resources/secret.ts';

export interface ResourceByKind {
  readonly cluster: Cluster;
  readonly endpoints: ClusterLoadAssignment;
  readonly listener: Listener;
  readonly route: RouteConfiguration;
  readonly secret: Secret;
}
export type ResourceKind = keyof ResourceByKind;

/** Make before break: a cluster and its endpoints are there before a listener or route names them. */
export const RESOURCE_ORDER: readonly ResourceKind[] = [
  'cluster',
  'endpoints',
  'listener',
  'route',
  'secret',
];

export const TYPE_URLS: { readonly [K in ResourceKind]: string } = {
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoints: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  secret: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
};

/** The whole URL of a type that nothing here reads: its resources are handed on as they are. */
export type OpaqueKind = `${string}/${string}`;
/** Whatever a stream may ask for. */
export type StreamKind = ResourceKind | OpaqueKind;

export const isOpaqueKind = (kind: string): kind is OpaqueKind => kind.includes('/');
const isResourceKind = (kind: StreamKind): kind is ResourceKind => Object.hasOwn(TYPE_URLS, kind);

export const typeUrlOf = (kind: StreamKind): string =>
  isResourceKind(kind) ? TYPE_URLS[kind] : kind;

/** A resource as it goes over the wire; made once and shared by every stream that is sent it. */
export interface EncodedResource<K extends StreamKind = ResourceKind> {
  readonly kind: K;
  readonly name: string;
  /** Hash of the content: equal versions mean equal bytes. */
  readonly version: string;
  /** The serialised message, without its Any. */
  readonly bytes: Uint8Array;
}

/**
 * What one proxy may see at one revision. `get` may build and encode lazily; for one `revision` it always
 * answers the same. `list` is what a wildcard subscription gets.
 */
export interface ResourceView {
  readonly revision: number;
  get(kind: ResourceKind, name: string): EncodedResource | undefined;
  list(kind: ResourceKind): Iterable<EncodedResource>;
  /** Of types that nothing here reads; absent where none is served. */
  readonly opaque?: OpaqueView;
  /** The version to announce for a kind as a whole; absent: the protocol makes one of what the client holds. */
  readonly announced?: (kind: StreamKind) => string | undefined;
}

export interface OpaqueView {
  get(kind: OpaqueKind, name: string): EncodedResource<OpaqueKind> | undefined;
  list(kind: OpaqueKind): Iterable<EncodedResource<OpaqueKind>>;
}

/** A resource of any kind that a view holds. */
export function resourceIn(
  view: ResourceView,
  kind: StreamKind,
  name: string,
): EncodedResource<StreamKind> | undefined {
  return isResourceKind(kind) ? view.get(kind, name) : view.opaque?.get(kind, name);
}

/** All resources of any kind that a view holds. */
export function resourcesIn(
  view: ResourceView,
  kind: StreamKind,
): Iterable<EncodedResource<StreamKind>> {
  return isResourceKind(kind) ? view.list(kind) : (view.opaque?.list(kind) ?? []);
}
