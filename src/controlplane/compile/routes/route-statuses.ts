// Says of every route of a mesh how it stands with each Service that it is attached to.
import type { Mesh } from '@weft/model/mesh/mesh';
import type { PortProtocol } from '@weft/model/mesh/protocol';
import type { RouteParent, ServiceRoute } from '@weft/model/routes/types';
import type { Problem } from '@weft/model/problem';
import {
  judgeParent,
  judgeReferences,
  type RouteVerdict,
  type Surroundings,
} from './judge-route.ts';

export interface ParentStatus {
  readonly parent: RouteParent;
  readonly accepted: RouteVerdict;
  readonly resolvedRefs: RouteVerdict;
}

export interface RouteStatus {
  readonly route: ServiceRoute;
  readonly parents: readonly ParentStatus[];
}

type Routed = Pick<Mesh, 'destinations' | 'routing'>;

export function surroundingsOf({ destinations, routing }: Routed): Surroundings {
  const ports = new Map<string, Map<number, PortProtocol>>();
  for (const { target } of destinations.values()) {
    const key = `${target.namespace}/${target.service}`;
    const known = ports.get(key) ?? new Map<number, PortProtocol>();
    ports.set(key, known.set(target.port, target.protocol));
  }
  return {
    portsOf: (namespace, name) => ports.get(`${namespace}/${name}`),
    grantsInto: (namespace) =>
      routing?.grants.filter((grant) => grant.namespace === namespace) ?? [],
    routesAt: (namespace, name) =>
      routing?.routes.filter(({ parents }) =>
        parents.some((parent) => parent.namespace === namespace && parent.name === name),
      ) ?? [],
  };
}

export function routeStatusesOf(mesh: Routed): readonly RouteStatus[] {
  if (mesh.routing === undefined) return [];
  const around = surroundingsOf(mesh);
  return mesh.routing.routes.map((route) => {
    const resolvedRefs = judgeReferences(route, around);
    return {
      route,
      parents: route.parents.map((parent) => ({
        parent,
        accepted: judgeParent(route, parent, around),
        resolvedRefs,
      })),
    };
  });
}

/** What does not hold, for those who look at problems. */
export const routeProblems = (mesh: Routed): readonly Problem[] =>
  routeStatusesOf(mesh).flatMap(({ route, parents }) => {
    // Why it is broken has been said where it was read.
    if (route.isBroken === true) return [];
    const { kind, namespace, name } = route;
    const object = { kind, namespace, name };
    const refused = parents.flatMap(({ parent, accepted }): readonly Problem[] =>
      accepted.isTrue
        ? []
        : [
            {
              severity: 'warning',
              code: 'route-not-accepted',
              field: `spec.parentRefs[${parent.index}]`,
              message: `${accepted.reason}: ${accepted.message}`,
              object,
            },
          ],
    );
    const resolved = parents[0]?.resolvedRefs;
    if (resolved === undefined || resolved.isTrue) return refused;
    const message = `${resolved.reason}: ${resolved.message}`;
    return [...refused, { severity: 'warning', code: 'route-unresolved', message, object }];
  });
