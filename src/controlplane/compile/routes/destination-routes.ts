// Merges the routes that are attached to one port of a Service into the ways through it.
import type { DestinationTarget } from '@weft/model/mesh/mesh';
import { type Candidate, comparePrecedence } from '@weft/model/routes/precedence';
import type { DestinationRoutes, RouteSet, Way } from '@weft/model/routes/routing';
import type { BackendRef, RouteRule, ServiceRoute } from '@weft/model/routes/types';
import { isBeaten, judgeReference, portsAt, scopeOf, type Surroundings } from './judge-route.ts';

interface Ranked extends Candidate {
  readonly route: ServiceRoute;
  readonly rule: RouteRule;
}

/** @returns `undefined` when no route is in force there. */
export function compileDestinationRoutes(
  target: DestinationTarget,
  around: Surroundings,
): DestinationRoutes | undefined {
  const byScope = new Map<string, Ranked[]>();
  for (const route of around.routesAt(target.namespace, target.service)) {
    if (!isAttached(route, target, around)) continue;
    const scope = scopeOf(route, target);
    const ranked = byScope.get(scope) ?? [];
    byScope.set(scope, ranked);
    for (const [ruleIndex, rule] of route.rules.entries()) {
      for (const [matchIndex, match] of rule.matches.entries()) {
        ranked.push({ route, rule, match, ruleIndex, matchIndex });
      }
    }
  }
  if (byScope.size === 0) return undefined;
  const sets = [...byScope].map(
    ([scope, ranked]) => [scope, setOf(target, ranked, around)] as const,
  );
  sets.sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    producer: sets.find(([scope]) => scope === '')?.[1],
    consumers: new Map(sets.filter(([scope]) => scope !== '')),
  };
}

function isAttached(
  route: ServiceRoute,
  { namespace, service, port }: DestinationTarget,
  around: Surroundings,
): boolean {
  const ports = around.portsOf(namespace, service);
  return (
    ports !== undefined &&
    route.isBroken !== true &&
    route.parents.some(
      (parent) =>
        parent.namespace === namespace &&
        parent.name === service &&
        parent.sectionName === undefined &&
        portsAt(parent, ports).includes(port) &&
        !isBeaten(route, { ...parent, port }, around),
    )
  );
}

const setOf = (
  target: DestinationTarget,
  ranked: readonly Ranked[],
  around: Surroundings,
): RouteSet => ({
  target,
  ways: [...ranked].sort(comparePrecedence).map((one) => wayOf(one, target, around)),
});

function wayOf(
  { route, rule, match }: Ranked,
  target: DestinationTarget,
  around: Surroundings,
): Way {
  const resolve = (
    reference: Pick<BackendRef, 'service' | 'why' | 'field'>,
  ): string | undefined => {
    const { service } = reference;
    if (service === undefined || judgeReference(route, reference, around) !== undefined) {
      return undefined;
    }
    const host = `${service.name}.${service.namespace}.svc.${target.clusterDomain}`;
    return `outbound|${service.port}||${host}`;
  };
  return {
    match,
    rule,
    isGrpc: route.kind === 'GRPCRoute',
    backends: rule.backends.map(resolve),
    mirrors: rule.mirrors.flatMap((mirror) => {
      const destination = resolve(mirror);
      const isSent = destination !== undefined && mirror.share > 0;
      return isSent ? [{ destination, share: mirror.share }] : [];
    }),
  };
}
