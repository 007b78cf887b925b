// Holds the routes of a mesh by the Services that they are attached to, and says whose ways a change may concern.
import type { DestinationTarget } from '@weft/model/mesh/mesh';
import type { ReferenceGrantObject, ServiceRouteObject } from '@weft/model/mesh/objects';
import type { PortProtocol } from '@weft/model/mesh/protocol';
import type { DestinationRoutes } from '@weft/model/routes/routing';
import type { RouteGrant, ServiceRoute } from '@weft/model/routes/types';
import type { Difference } from '../../registry/persistent-map.ts';
import { compareTexts } from '../compare-texts.ts';
import { type Place, placeOf } from '../object-index.ts';
import type { ServiceTable } from '../service-table.ts';
import { compileDestinationRoutes } from './destination-routes.ts';
import type { Surroundings } from './judge-route.ts';

export type RoutingObject = ServiceRouteObject | ReferenceGrantObject;

const NONE: readonly never[] = [];

/** Without routes nothing is looked at. */
export class RouteTable implements Surroundings {
  readonly #services: ServiceTable;
  readonly #routes = new Map<string, ServiceRoute>();
  readonly #grants = new Map<string, RouteGrant>();
  #byParent = new Map<Place, readonly ServiceRoute[]>();
  /** Parents of the routes that name a Service, as a parent or otherwise. */
  #concerned = new Map<Place, Set<Place>>();
  #ports = new WeakMap<object, ReadonlyMap<number, PortProtocol>>();

  constructor(services: ServiceTable) {
    this.#services = services;
  }

  /** By kind, namespace and name. */
  get routes(): readonly ServiceRoute[] {
    return [...this.#routes.values()].sort(byName);
  }

  /** By namespace and name. */
  get grants(): readonly RouteGrant[] {
    return [...this.#grants.values()].sort(
      (a, b) => compareTexts(a.namespace, b.namespace) || compareTexts(a.name, b.name),
    );
  }

  get isEmpty(): boolean {
    return this.#routes.size === 0;
  }

  /** @param services that are other than they were. @returns those whose ways may be others now. */
  apply(
    changes: readonly Difference<RoutingObject>[],
    services: ReadonlySet<Place>,
  ): ReadonlySet<Place> {
    if (changes.length === 0 && this.isEmpty) return services;
    const concerned = new Set<Place>();
    // Of what was: what goes is gone from its parents, too.
    if (changes.length > 0) {
      for (const parent of this.#byParent.keys()) concerned.add(parent);
      for (const change of changes) this.#take(change);
      this.#index();
      for (const parent of this.#byParent.keys()) concerned.add(parent);
    }
    for (const place of services) {
      for (const parent of this.#concerned.get(place) ?? NONE) concerned.add(parent);
    }
    return concerned;
  }

  #take({ key, before, after }: Difference<RoutingObject>): void {
    if (before?.kind === 'ServiceRoute') this.#routes.delete(key);
    if (before?.kind === 'ReferenceGrant') this.#grants.delete(key);
    if (after?.kind === 'ServiceRoute') this.#routes.set(key, after.route);
    if (after?.kind === 'ReferenceGrant') this.#grants.set(key, after.grant);
  }

  #index(): void {
    const byParent = new Map<Place, Set<ServiceRoute>>();
    this.#concerned = new Map();
    for (const route of this.routes) {
      const parents = route.parents.map(placeOf);
      const named = route.rules.flatMap(({ backends, mirrors }) =>
        [...backends, ...mirrors].flatMap(({ service }) => (service ? [placeOf(service)] : [])),
      );
      for (const parent of parents) {
        byParent.set(parent, (byParent.get(parent) ?? new Set()).add(route));
        for (const place of [parent, ...named]) {
          this.#concerned.set(place, (this.#concerned.get(place) ?? new Set()).add(parent));
        }
      }
    }
    this.#byParent = new Map([...byParent].map(([parent, routes]) => [parent, [...routes]]));
  }

  /** @returns `undefined` where the destination is called as it is. */
  waysOf(target: DestinationTarget): DestinationRoutes | undefined {
    const place = placeOf({ namespace: target.namespace, name: target.service });
    return this.#byParent.has(place) ? compileDestinationRoutes(target, this) : undefined;
  }

  portsOf(namespace: string, name: string): ReadonlyMap<number, PortProtocol> | undefined {
    const members = this.#services.get(placeOf({ namespace, name }));
    if (members === undefined) return undefined;
    let ports = this.#ports.get(members);
    if (ports === undefined) {
      ports = new Map(members.ports.map(({ spec, protocol }) => [spec.port, protocol]));
      this.#ports.set(members, ports);
    }
    return ports;
  }

  grantsInto(namespace: string): readonly RouteGrant[] {
    return [...this.#grants.values()].filter((grant) => grant.namespace === namespace);
  }

  routesAt(namespace: string, name: string): readonly ServiceRoute[] {
    return this.#byParent.get(placeOf({ namespace, name })) ?? NONE;
  }
}

const nameOf = ({ kind, namespace, name }: ServiceRoute): string => `${kind}/${namespace}/${name}`;

const byName = (a: ServiceRoute, b: ServiceRoute): number => compareTexts(nameOf(a), nameOf(b));
