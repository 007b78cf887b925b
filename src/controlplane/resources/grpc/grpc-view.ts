// What a gRPC client or server without a proxy sees of a mesh: destinations by the names that it asks for, and its own listeners.
import type { Destination, Mesh, Workload } from '@weft/model/mesh/mesh';
import { routesFor } from '@weft/model/routes/routing';
import type { EncodedResource, ResourceKind, ResourceView } from '@weft/xds/resource';
import type { PlainMessage } from '@weft/xds/registry';
import { ADS_SOURCE } from '@weft/xds/codec/tls';
import { UNRESOLVED_CLUSTER } from '@weft/xds/resources/route-rule';
import { buildRoute } from '../outbound.ts';
import type { ResourceCache } from '../resource-cache.ts';
import { buildRuledRoute } from '../ruled-route.ts';
import { inboundListenerOf } from '../workload-view.ts';
import { buildApiListener, buildGrpcCluster, buildGrpcEndpoints } from './grpc-destinations.ts';
import type { GrpcLibrary } from '../../serve/view-source.ts';
import { destinationOf, listeningAddressOf, serverVersionOf } from './grpc-names.ts';
import { encodeGrpcRoutes } from './grpc-route.ts';
import { buildServerListener } from './grpc-server.ts';

export interface GrpcViewOptions {
  readonly revision: number;
  readonly mesh: Mesh;
  readonly cache: ResourceCache;
  readonly library: GrpcLibrary;
  /** Absent: the workload is gone; it serves nobody any more. */
  readonly workload: Workload | undefined;
}

/** Nothing is listed: gRPC asks for one name after the other. */
export function createGrpcView(options: GrpcViewOptions): ResourceView {
  return {
    revision: options.revision,
    get: (kind, name) => find(kind, name, options),
    list: () => [],
  };
}

function find(
  kind: ResourceKind,
  name: string,
  options: GrpcViewOptions,
): EncodedResource | undefined {
  const { mesh, workload, cache, library } = options;
  if (kind === 'secret') return undefined;
  const variant = `grpc-${library}`;
  const at = kind === 'listener' ? listeningAddressOf(name) : undefined;
  if (at !== undefined) {
    if (workload === undefined) return undefined;
    const { id: owner, inbound } = workload;
    const build = (): PlainMessage => buildServerListener({ name, at, inbound, library });
    const carried = inboundListenerOf(inbound, cache);
    const found = cache.write(kind, { from: inbound, name, owner, variant, build });
    if (carried === undefined || found === undefined) return undefined;
    return { ...found, version: serverVersionOf(carried.version, found.version) };
  }
  if (name === UNRESOLVED_CLUSTER) return nowhere(kind, cache);
  const destination = mesh.destinations.get(kind === 'listener' ? destinationOf(name) : name);
  if (destination === undefined) return undefined;
  const { from, build } = partOf(kind, name, destination, options);
  return cache.write(kind, { from, name, variant, build });
}

/**
 * A cluster that nobody serves: calls that lead there fail at once. Of one that does not exist gRPC would wait to hear,
 * and let no call of the whole channel go meanwhile.
 */
const NOWHERE = {
  cluster: {
    name: UNRESOLVED_CLUSTER,
    type: 'EDS',
    eds_cluster_config: { eds_config: ADS_SOURCE, service_name: UNRESOLVED_CLUSTER },
    lb_policy: 'ROUND_ROBIN',
  },
  endpoints: { cluster_name: UNRESOLVED_CLUSTER },
} as const;

function nowhere(kind: ResourceKind, cache: ResourceCache): EncodedResource | undefined {
  if (kind !== 'cluster' && kind !== 'endpoints') return undefined;
  const of = { from: NOWHERE, name: UNRESOLVED_CLUSTER, variant: 'grpc' };
  return cache.write(kind, { ...of, build: () => NOWHERE[kind] });
}

function partOf(
  kind: Exclude<ResourceKind, 'secret'>,
  name: string,
  { target, upstream, endpoints, routes }: Destination,
  { library, workload }: GrpcViewOptions,
): { readonly from: object; readonly build: () => PlainMessage } {
  switch (kind) {
    case 'listener':
      return { from: target, build: () => buildApiListener(name, target.name) };
    case 'cluster':
      return { from: upstream, build: () => buildGrpcCluster(upstream, library) };
    case 'endpoints':
      return { from: endpoints, build: () => buildGrpcEndpoints(endpoints) };
    case 'route': {
      const ruled = routesFor(routes, workload?.namespace);
      return ruled === undefined
        ? { from: target, build: () => encodeGrpcRoutes(buildRoute(target), library) }
        : { from: ruled, build: () => encodeGrpcRoutes(buildRuledRoute(ruled), library) };
    }
    default:
      return kind satisfies never;
  }
}
