// Knows which workloads serve gRPC without a proxy: those that are connected as such, here or elsewhere, and those whose Pods say so.
import type { Workload } from '@weft/model/mesh/mesh';
import { differences } from '../registry/persistent-map.ts';
import type { GrpcServer } from '../serve/grpc-servers.ts';
import type { GrpcLibrary } from '../serve/view-source.ts';
import type { GrpcServers } from './grpc-shortfalls.ts';

type Workloads = ReadonlyMap<string, Workload>;

const NOTHING: Workloads = new Map();

/** Those of Pods with `weft.dev/proxy: none`; of a new version of the mesh only what differs is looked at. */
class Proxyless {
  readonly #ids = new Set<string>();
  #workloads = NOTHING;

  in(workloads: Workloads): ReadonlySet<string> {
    for (const { key, after } of differences(this.#workloads, workloads)) {
      if (after?.isProxyless === true) this.#ids.add(key);
      else this.#ids.delete(key);
    }
    this.#workloads = workloads;
    return this.#ids;
  }
}

/** Of one that is not connected it is not known which it will be: the one that judges least. */
const UNKNOWN: GrpcLibrary = 'other';

/** @returns who serves so now, asked whenever somebody wants to know. */
export function followGrpcServers(of: {
  readonly workloads: () => Workloads;
  readonly connected: () => Iterable<GrpcServer>;
}): () => GrpcServers {
  const proxyless = new Proxyless();
  return () => {
    const servers = new Map<string, Set<GrpcLibrary>>();
    for (const { proxyId, library } of of.connected()) {
      const libraries = servers.get(proxyId) ?? new Set();
      servers.set(proxyId, libraries.add(library));
    }
    for (const id of proxyless.in(of.workloads())) {
      if (!servers.has(id)) servers.set(id, new Set([UNKNOWN]));
    }
    return servers;
  };
}
