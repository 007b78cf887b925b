// Finds what one caller may be told of hosts outside the mesh, each made once for all that may be told the same.
import type { EgressView, ExternalDestination } from '@weft/model/egress/egress';
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import type { EncodedResource, ResourceKind } from '@weft/xds/resource';
import type { Listener } from '@weft/xds/resources/listener';
import type { Secret } from '@weft/xds/resources/secret';
import {
  buildEgressOutbound,
  buildEgressRoute,
  buildExternalCluster,
  buildExternalListener,
  buildExternalRoute,
  buildForbiddenListener,
  dataOfSecret,
  egressRouteName,
  httpPortsOf,
  isByName,
  portOfEgressRoute,
  secretNamesOf,
} from './egress.ts';
import { VIRTUAL_OUTBOUND } from './outbound.ts';
import type { ResourceCache } from './resource-cache.ts';

export interface EgressOptions {
  readonly mesh: Mesh;
  readonly cache: ResourceCache;
  readonly workload: Workload | undefined;
}

type Found = EncodedResource | undefined;

/** `undefined` where nothing is known outside the mesh. */
function viewOf({ mesh, workload }: EgressOptions): EgressView | undefined {
  return mesh.egress?.viewOf(workload);
}

/** @returns `undefined` when the name means nothing outside, or nothing that this caller may be told. */
export function findEgress(kind: ResourceKind, name: string, options: EgressOptions): Found {
  const view = viewOf(options);
  if (view === undefined) return undefined;
  const { cache } = options;
  const known = view.allowed.get(name);
  switch (kind) {
    case 'listener':
      if (name === VIRTUAL_OUTBOUND) {
        return cache.get(kind, { from: view, name, build: () => buildEgressOutbound(view) });
      }
      return known === undefined
        ? findForbidden(name, view, cache)
        : byName(known, () =>
            cache.get(kind, { from: known, name, build: () => buildExternalListener(known) }),
          );
    case 'route':
      return findRoute(name, view, cache);
    case 'cluster':
      if (known === undefined) return undefined;
      return cache.get(kind, { from: known, name, build: () => buildExternalCluster(known) });
    case 'secret':
      return findSecret(name, view, options);
    case 'endpoints':
      return undefined;
    default:
      return kind satisfies never;
  }
}

const byName = (known: ExternalDestination, then: () => Found): Found =>
  isByName(known) ? then() : undefined;

function findForbidden(name: string, view: EgressView, cache: ResourceCache): Found {
  const refused = view.refused.get(name);
  if (refused === undefined || !isByName(refused)) return undefined;
  const build = (): Listener => buildForbiddenListener(refused);
  return cache.get('listener', { from: view, name, build });
}

function findRoute(name: string, view: EgressView, cache: ResourceCache): Found {
  const known = view.allowed.get(name);
  if (known !== undefined) {
    return cache.get('route', { from: known, name, build: () => buildExternalRoute(known) });
  }
  const port = portOfEgressRoute(name);
  if (port === undefined || !httpPortsOf(view).includes(port)) return undefined;
  return cache.get('route', { from: view, name, build: () => buildEgressRoute(view, port) });
}

/** Only what a host needs that this very caller may call. */
function findSecret(name: string, view: EgressView, { mesh, cache }: EgressOptions): Found {
  const meant = dataOfSecret(name);
  if (meant === undefined) return undefined;
  const isEntitled = [...view.allowed.values()].some((one) => secretNamesOf(one).includes(name));
  const object = isEntitled ? mesh.data?.get(meant.data) : undefined;
  if (object === undefined) return undefined;
  const { values } = object;
  const { key } = meant;
  if (key !== undefined) {
    const pem = values.get(key);
    return (
      pem && cache.get('secret', { from: object, name, build: () => trust(name, pem.reveal()) })
    );
  }
  const [chain, keyPem] = [values.get('tls.crt'), values.get('tls.key')];
  if (chain === undefined || keyPem === undefined) return undefined;
  const build = (): Secret => ({ name, certificatePem: chain.reveal(), keyPem });
  return cache.get('secret', { from: object, name, build });
}

const trust = (name: string, trustedCaPem: string): Secret => ({ name, trustedCaPem });

/** What a proxy that takes everything is given besides what is of the mesh. */
export function egressNames(kind: ResourceKind, options: EgressOptions): readonly string[] {
  const view = viewOf(options);
  if (kind === 'listener') return [VIRTUAL_OUTBOUND];
  if (view === undefined) return [];
  if (kind === 'cluster') return [...view.allowed.keys()];
  if (kind === 'route') return httpPortsOf(view).map(egressRouteName);
  if (kind !== 'secret') return [];
  return [...new Set([...view.allowed.values()].flatMap(secretNamesOf))];
}

/** Of everything that a change of what is known outside may concern. */
export function egressNamesOf({ egress }: Mesh): readonly string[] {
  const destinations = [...(egress?.destinations.values() ?? [])].flat();
  return [
    VIRTUAL_OUTBOUND,
    ...destinations.flatMap((one: ExternalDestination) => [
      one.name,
      egressRouteName(one.port.port),
      ...secretNamesOf(one),
    ]),
  ];
}
