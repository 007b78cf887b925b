// Knows which workloads serve gRPC without a proxy: those that are connected as such, here or elsewhere, and those whose Pods say so.
import type { RegistryObject } from '@weft/model/mesh/objects';
import { ANNOTATIONS } from '../inject/annotations.ts';
import { differences } from '../registry/persistent-map.ts';
import type { GrpcServer } from '../serve/grpc-servers.ts';
import type { GrpcLibrary } from '../serve/view-source.ts';
import type { GrpcServers } from './grpc-shortfalls.ts';

type Objects = ReadonlyMap<string, RegistryObject>;

const NOTHING: Objects = new Map();

/** Pods with `weft.dev/proxy: none`; of a new version of the objects only what differs is looked at. */
class AnnotatedPods {
  readonly #ids = new Set<string>();
  #objects = NOTHING;

  of(objects: Objects): ReadonlySet<string> {
    for (const { before, after } of differences(this.#objects, objects)) {
      if (isAnnotated(before)) this.#ids.delete(idOf(before));
      if (isAnnotated(after)) this.#ids.add(idOf(after));
    }
    this.#objects = objects;
    return this.#ids;
  }
}

type Pod = Extract<RegistryObject, { readonly kind: 'Pod' }>;

const isAnnotated = (object: RegistryObject | undefined): object is Pod =>
  object?.kind === 'Pod' && object.meta.annotations.get(ANNOTATIONS.proxy.name) === 'none';

const idOf = ({ meta: { namespace, name } }: Pod): string => `${name}.${namespace}`;

/** Of one that is not connected it is not known which it will be: the one that judges least. */
const UNKNOWN: GrpcLibrary = 'other';

/** @returns who serves so now, asked whenever somebody wants to know. */
export function followGrpcServers(of: {
  readonly objects: () => Objects;
  readonly connected: () => Iterable<GrpcServer>;
}): () => GrpcServers {
  const annotated = new AnnotatedPods();
  return () => {
    const servers = new Map<string, Set<GrpcLibrary>>();
    for (const { proxyId, library } of of.connected()) {
      const libraries = servers.get(proxyId) ?? new Set();
      servers.set(proxyId, libraries.add(library));
    }
    for (const id of annotated.of(of.objects())) {
      if (!servers.has(id)) servers.set(id, new Set([UNKNOWN]));
    }
    return servers;
  };
}
