// Says of a route's parents and references whether they hold, in Gateway API's words.
import type { PortProtocol } from '@weft/model/mesh/protocol';
import type { BackendRef, RouteGrant, RouteParent, ServiceRoute } from '@weft/model/routes/types';

export interface RouteVerdict {
  readonly isTrue: boolean;
  readonly reason: string;
  readonly message: string;
}

/** What there is to be routed to. */
export interface Surroundings {
  /** By port, of a Service; `undefined` when there is none of the name. */
  portsOf(namespace: string, service: string): ReadonlyMap<number, PortProtocol> | undefined;
  /** Those into a namespace. */
  grantsInto(namespace: string): readonly RouteGrant[];
  /** Every route with a parent of this name, itself too. */
  routesAt(namespace: string, service: string): readonly ServiceRoute[];
}

/** Routes of the Service's namespace hold for all callers, others for those of their own namespace. */
export const isProducer = (route: ServiceRoute, parent: Pick<RouteParent, 'namespace'>): boolean =>
  route.namespace === parent.namespace;

const isTcp = (protocol: PortProtocol): boolean => protocol === 'tcp' || protocol === 'tls';

/** The ports of the parent that the route is for. */
export const portsAt = (
  parent: RouteParent,
  ports: ReadonlyMap<number, PortProtocol>,
): readonly number[] =>
  [...ports].flatMap(([port, protocol]) =>
    (parent.port ?? port) === port && !isTcp(protocol) ? [port] : [],
  );

const holds = (message: string, reason: string): RouteVerdict => ({
  isTrue: true,
  reason,
  message,
});

const fails = (reason: string, message: string): RouteVerdict => ({
  isTrue: false,
  reason,
  message,
});

export function judgeParent(
  route: ServiceRoute,
  parent: RouteParent,
  around: Surroundings,
): RouteVerdict {
  const { namespace, name, port, sectionName } = parent;
  const service = `${namespace}/${name}`;
  if (route.isBroken === true) return fails('UnsupportedValue', 'it cannot be read');
  const ports = around.portsOf(namespace, name);
  if (ports === undefined) return fails('NoMatchingParent', `there is no Service ${service}`);
  if (sectionName !== undefined) {
    const message = `a Service has no sections, so none named ${JSON.stringify(sectionName)}`;
    return fails('NoMatchingParent', message);
  }
  const protocol = port === undefined ? undefined : ports.get(port);
  if (port !== undefined && protocol === undefined) {
    return fails('NoMatchingParent', `the Service ${service} has no port ${port}`);
  }
  if (portsAt(parent, ports).length === 0) {
    const message = `what the Service ${service} declares is not HTTP: set appProtocol`;
    return fails('UnsupportedProtocol', message);
  }
  if (portsAt(parent, ports).every((one) => isBeaten(route, { ...parent, port: one }, around))) {
    const message = `a GRPCRoute is attached to ${service} at the same ports, and comes first`;
    return fails('Conflicted', message);
  }
  return holds(`is in force for ${whomFor(route, parent)}`, 'Accepted');
}

const whomFor = (route: ServiceRoute, parent: RouteParent): string =>
  isProducer(route, parent) ? 'all callers' : `callers of the namespace ${route.namespace}`;

/** GEP-1426: of the kinds at one port the most specific holds alone. */
export function isBeaten(
  route: ServiceRoute,
  parent: RouteParent,
  around: Pick<Surroundings, 'routesAt'>,
): boolean {
  if (route.kind === 'GRPCRoute') return false;
  return around
    .routesAt(parent.namespace, parent.name)
    .some(
      (other) =>
        other.kind === 'GRPCRoute' &&
        other.isBroken !== true &&
        scopeOf(other, parent) === scopeOf(route, parent) &&
        other.parents.some(
          (one) =>
            one.namespace === parent.namespace &&
            one.name === parent.name &&
            one.sectionName === undefined &&
            (one.port === undefined || parent.port === undefined || one.port === parent.port),
        ),
    );
}

/** Empty for all callers. */
export const scopeOf = (route: ServiceRoute, parent: Pick<RouteParent, 'namespace'>): string =>
  isProducer(route, parent) ? '' : route.namespace;

type Reference = Pick<BackendRef, 'service' | 'why' | 'field'>;

/** @returns why requests are not sent there; `undefined` when they are. */
export function judgeReference(
  route: ServiceRoute,
  { service, why, field }: Reference,
  around: Surroundings,
): RouteVerdict | undefined {
  if (service === undefined) {
    const reason = why.startsWith('the kind') ? 'InvalidKind' : 'BackendNotFound';
    return fails(reason, `${field}: ${why}`);
  }
  const { namespace, name, port } = service;
  if (namespace !== route.namespace && !isGranted(route, { namespace, name }, around)) {
    const message = `${field}: no ReferenceGrant in ${namespace} lets ${route.kind}s of ${route.namespace} name the Service ${name}`;
    return fails('RefNotPermitted', message);
  }
  const protocol = around.portsOf(namespace, name)?.get(port);
  if (protocol !== undefined) return undefined;
  return fails(
    'BackendNotFound',
    `${field}: there is no Service ${namespace}/${name} port ${port}`,
  );
}

function isGranted(
  route: ServiceRoute,
  to: { readonly namespace: string; readonly name: string },
  around: Surroundings,
): boolean {
  return around
    .grantsInto(to.namespace)
    .some(
      ({ from, services }) =>
        (services === undefined || services.has(to.name)) &&
        from.some(({ kind, namespace }) => kind === route.kind && namespace === route.namespace),
    );
}

/** The first that fails says why. */
export function judgeReferences(route: ServiceRoute, around: Surroundings): RouteVerdict {
  for (const { backends, mirrors } of route.rules) {
    for (const reference of [...backends, ...mirrors]) {
      const failure = judgeReference(route, reference, around);
      if (failure !== undefined) return failure;
    }
  }
  return holds('all references lead to Services', 'ResolvedRefs');
}
