// What one proxy sees of a mesh: its own workload's ports, and every destination.
import type { Destination, InboundPort, InboundSpec, Mesh, Workload } from '@weft/model/mesh/mesh';
import type { EncodedResource, ResourceKind, ResourceView } from '@weft/xds/resource';
import type { Listener } from '@weft/xds/resources/listener';
import { routesFor } from '@weft/model/routes/routing';
import { BUNDLE_SECRET } from '@weft/xds/resources/secret';
import {
  BLACKHOLE_CLUSTER,
  FORBIDDEN_CLUSTER,
  inboundClusterName,
  PASSTHROUGH_CLUSTER,
} from './cluster-names.ts';
import {
  BLACKHOLE,
  buildEndpointCluster,
  buildInboundCluster,
  buildOutboundCluster,
  FORBIDDEN,
  PASSTHROUGH,
} from './clusters.ts';
import { egressNames, findEgress } from './egress-view.ts';
import { buildInboundListener, INBOUND_LISTENER } from './inbound-listener.ts';
import {
  buildEndpointListener,
  buildRoute,
  buildTargetListener,
  buildVirtualOutbound,
  VIRTUAL_OUTBOUND,
} from './outbound.ts';
import type { ResourceCache } from './resource-cache.ts';
import { type TrustBundle, trustSecretOf } from './trust-secret.ts';
import { findTerminationSecret, namesOf } from './termination-secrets.ts';
import { buildRuledRoute } from './ruled-route.ts';

export type { TrustBundle } from './trust-secret.ts';

export interface ViewOptions {
  readonly revision: number;
  readonly mesh: Mesh;
  /** The same object for as long as the bundle is the same. */
  readonly bundle: TrustBundle;
  readonly cache: ResourceCache;
  /** What every view of this mesh and bundle lists alike; filled by the first that is asked. Never holds a workload's own. */
  readonly shared: Map<ResourceKind, readonly EncodedResource[]>;
  /** Absent: the workload is gone; nothing is let in any more. */
  readonly workload: Workload | undefined;
}

type Found = EncodedResource | undefined;

export function createWorkloadView(options: ViewOptions): ResourceView {
  return {
    revision: options.revision,
    get: (kind, name) => find(kind, name, options),
    list: (kind) => listAll(kind, options),
  };
}

function find(kind: ResourceKind, name: string, options: ViewOptions): Found {
  switch (kind) {
    case 'listener':
      return findListener(name, options);
    case 'route':
      return (
        withDestination(name, options, (destination) => routeOf(destination, options)) ??
        findEgress(kind, name, options)
      );
    case 'cluster':
      return findCluster(name, options);
    case 'endpoints':
      return withDestination(name, options, ({ endpoints }) =>
        options.cache.get('endpoints', { from: endpoints, name, build: () => endpoints }),
      );
    case 'secret':
      if (name === BUNDLE_SECRET) return secretOf(options);
      return terminationSecretOf(name, options) ?? findEgress(kind, name, options);
    default:
      return kind satisfies never;
  }
}

function* listAll(kind: ResourceKind, options: ViewOptions): Iterable<EncodedResource> {
  yield* findAll(kind, ownNames(kind, options.workload), options);
  yield* findAll(kind, egressNames(kind, options), options);
  if (kind === 'route' && isConsumer(options)) {
    yield* findAll(kind, sharedNames(kind, options.mesh), options);
    return;
  }
  let shared = options.shared.get(kind);
  if (shared === undefined) {
    shared = [...findAll(kind, sharedNames(kind, options.mesh), options)];
    options.shared.set(kind, shared);
  }
  yield* shared;
}

/** Whether somebody of the workload's namespace has attached routes to Services of others. */
const isConsumer = ({ mesh, workload }: ViewOptions): boolean =>
  mesh.routing?.routes.some(
    ({ namespace, parents }) =>
      namespace === workload?.namespace && parents.some((one) => one.namespace !== namespace),
  ) === true;

function* findAll(
  kind: ResourceKind,
  names: Iterable<string>,
  options: ViewOptions,
): Iterable<EncodedResource> {
  for (const name of names) {
    const found = find(kind, name, options);
    if (found !== undefined) yield found;
  }
}

function ownNames(kind: ResourceKind, workload: Workload | undefined): readonly string[] {
  if (kind === 'listener') return [INBOUND_LISTENER];
  if (kind === 'secret') return workload === undefined ? [] : namesOf(workload.inbound);
  if (kind !== 'cluster' || workload === undefined) return [];
  return workload.inbound.ports.map(({ port }) => inboundClusterName(port));
}

/** What a proxy that takes everything is given; destinations by name are for those that ask for them. */
function sharedNames(kind: ResourceKind, mesh: Mesh): Iterable<string> {
  switch (kind) {
    case 'listener':
      return mesh.destinationsByAddress.keys();
    case 'cluster':
      return [
        PASSTHROUGH_CLUSTER,
        BLACKHOLE_CLUSTER,
        ...(mesh.egress?.destinations.size ? [FORBIDDEN_CLUSTER] : []),
        ...mesh.destinations.keys(),
      ];
    case 'endpoints':
    case 'route':
      return mesh.destinations.keys();
    case 'secret':
      return [BUNDLE_SECRET];
    default:
      return kind satisfies never;
  }
}

function withDestination(
  name: string,
  { mesh }: ViewOptions,
  then: (destination: Destination) => Found,
): Found {
  const destination = mesh.destinations.get(name);
  return destination && then(destination);
}

/** Callers of a namespace that has routes of its own have a resource of their own. */
function routeOf({ target, routes }: Destination, { cache, workload }: ViewOptions): Found {
  const { name } = target;
  const ruled = routesFor(routes, workload?.namespace);
  return ruled === undefined
    ? cache.get('route', { from: target, name, build: () => buildRoute(target) })
    : cache.get('route', { from: ruled, name, build: () => buildRuledRoute(ruled) });
}

const secretOf = ({ bundle, cache }: ViewOptions): Found =>
  cache.get('secret', {
    from: bundle,
    name: BUNDLE_SECRET,
    build: () => trustSecretOf(bundle),
  });

/** Of the workload's own ports; nobody else's. */
function terminationSecretOf(name: string, { mesh, workload, cache }: ViewOptions): Found {
  const found = findTerminationSecret(name, workload, mesh);
  if (found === undefined) return undefined;
  const { from, secret } = found;
  return cache.get('secret', { from, name, owner: workload?.id ?? '', build: () => secret });
}

/** What a workload's own listener is, whoever asks for it. */
export function inboundListenerOf(spec: InboundSpec, cache: ResourceCache): Found {
  const owner = `${spec.namespace}/${spec.serviceAccount}`;
  const build = (): Listener => buildInboundListener(spec);
  return cache.get('listener', { from: spec, name: INBOUND_LISTENER, owner, build });
}

function findListener(name: string, options: ViewOptions): Found {
  const { mesh, workload, cache } = options;
  if (name === INBOUND_LISTENER) {
    const spec = workload?.inbound;
    return spec && inboundListenerOf(spec, cache);
  }
  if (name === VIRTUAL_OUTBOUND) {
    const outside = findEgress('listener', name, options);
    if (outside !== undefined) return outside;
    const { settings } = mesh;
    return cache.get('listener', {
      from: settings,
      name,
      build: () => buildVirtualOutbound(settings),
    });
  }
  const named = mesh.destinations.get(name)?.target;
  const target = named ?? mesh.destinationsByAddress.get(name)?.target;
  if (target !== undefined) {
    const vip = named === undefined ? name.slice(0, name.lastIndexOf('_')) : undefined;
    return cache.get('listener', {
      from: target,
      name,
      build: () => buildTargetListener(target, vip),
    });
  }
  const outside = findEgress('listener', name, options);
  if (outside !== undefined) return outside;
  const split = name.lastIndexOf('_');
  const [ip, port] = [name.slice(0, split), name.slice(split + 1)];
  return withEndpoint({ ip, port }, mesh, (owner, inbound) =>
    cache.get('listener', { from: owner, name, build: () => buildEndpointListener(inbound, ip) }),
  );
}

const ENDPOINT_PREFIX = 'endpoint|';

function findCluster(name: string, options: ViewOptions): Found {
  const { mesh, workload, cache } = options;
  const upstream = mesh.destinations.get(name)?.upstream;
  if (upstream !== undefined) {
    return cache.get('cluster', {
      from: upstream,
      name,
      build: () => buildOutboundCluster(upstream),
    });
  }
  for (const fixed of [PASSTHROUGH, BLACKHOLE, FORBIDDEN]) {
    if (fixed.name === name) return cache.get('cluster', { from: fixed, name, build: () => fixed });
  }
  const outside = findEgress('cluster', name, options);
  if (outside !== undefined) return outside;
  if (name.startsWith(ENDPOINT_PREFIX)) {
    const [port = '', , ip = ''] = name.slice(ENDPOINT_PREFIX.length).split('|');
    return withEndpoint({ ip, port }, mesh, (owner, inbound) =>
      cache.get('cluster', {
        from: owner,
        name,
        build: () => buildEndpointCluster(owner, inbound, ip),
      }),
    );
  }
  const inbound = workload?.inbound.ports.find(({ port }) => inboundClusterName(port) === name);
  return (
    inbound &&
    cache.get('cluster', { from: inbound, name, build: () => buildInboundCluster(inbound) })
  );
}

/** The declared port of the Pod at an address. Where Pods share the address, the first that declares the port. */
function withEndpoint(
  at: { readonly ip: string; readonly port: string },
  mesh: Mesh,
  then: (owner: Workload, port: InboundPort) => Found,
): Found {
  for (const id of mesh.workloadsByIp.get(at.ip) ?? []) {
    const owner = mesh.workloads.get(id);
    const inbound = owner?.inbound.ports.find(({ port }) => String(port) === at.port);
    if (owner !== undefined && inbound !== undefined) return then(owner, inbound);
  }
  return undefined;
}
