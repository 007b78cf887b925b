// Makes destinations of Services: one for each port, with who may answer there and where.
import type { SpiffeId } from '@weft/model/identity';
import { localityOf } from '@weft/model/mesh/locality';
import { meshIdentityAt } from '@weft/model/mesh/mesh-identity';
import type {
  Destination,
  DestinationTarget,
  MeshEndpoint,
  MeshSettings,
  Workload,
} from '@weft/model/mesh/mesh';
import type { ServiceObject } from '@weft/model/mesh/objects';
import type { Problem } from '@weft/model/problem';
import type { DestinationRoutes } from '@weft/model/routes/routing';
import { compareTexts } from './compare-texts.ts';
import type { RouteTable } from './routes/route-table.ts';
import type { CallsOf } from './service-calls.ts';
import type { Member, PortMembers, ServiceMembers } from './service-members.ts';
import { keep } from './structural-sharing.ts';

export interface DestinationInput {
  readonly callsOf: CallsOf;
  readonly routes: Pick<RouteTable, 'waysOf'>;
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly settings: MeshSettings;
  /** As it was before. */
  readonly before: (name: string) => Destination | undefined;
}

/** One for each port of the Service. */
export const compileDestinations = (
  { service, ports }: ServiceMembers,
  input: DestinationInput,
): readonly Destination[] => ports.map((port) => compileDestination(service, port, input));

/** The first by namespace and name keeps the address, whatever came first. */
export const vipClash = (
  { namespace, service }: DestinationTarget,
  address: string,
  holder: DestinationTarget,
): Problem => ({
  severity: 'error',
  code: 'address-clash',
  field: 'spec.clusterIP',
  message: `is not reached at ${address.replace('_', ' port ')}, which leads to ${holder.namespace}/${holder.service}`,
  cure: 'give each Service an address of its own',
  object: { kind: 'Service', namespace, name: service },
});

function compileDestination(
  service: ServiceObject,
  port: PortMembers,
  input: DestinationInput,
): Destination {
  const { workloads, settings } = input;
  const { namespace, name: serviceName } = service.meta;
  const host = `${serviceName}.${namespace}.svc.${settings.clusterDomain}`;
  const name = `outbound|${port.spec.port}||${host}`;
  const before = input.before(name);
  const calls = input.callsOf(service);
  const target = keep(before?.target, {
    name,
    host,
    namespace,
    service: serviceName,
    port: port.spec.port,
    protocol: port.protocol,
    vips: service.clusterIps,
    clusterDomain: settings.clusterDomain,
    ...(calls && { calls }),
  });
  const endpoints = port.members
    .flatMap((member) => endpointOf(member, workloads))
    .sort((a, b) => compareTexts(a.address, b.address) || a.port - b.port);
  const identities = [...new Set(endpoints.flatMap(meshIdentity))].sort();
  const ways = input.routes.waysOf(target);
  const routes = ways && keepSets(before?.routes, ways);
  const next: Destination = {
    target,
    upstream: keep(before?.upstream, { target, identities }),
    endpoints: keep(before?.endpoints, { clusterName: name, endpoints }),
    ...(routes && { routes }),
  };
  return keep(before, next);
}

/** Each set for itself: what was made of one stays when another changes. */
function keepSets(
  before: DestinationRoutes | undefined,
  next: DestinationRoutes,
): DestinationRoutes {
  const consumers = [...next.consumers].map(
    ([namespace, set]) => [namespace, keep(before?.consumers.get(namespace), set)] as const,
  );
  const producer = keep(before?.producer, next.producer);
  return keep(before, { producer, consumers: new Map(consumers) });
}

const meshIdentity = ({ tlsMode, identity }: MeshEndpoint): readonly SpiffeId[] =>
  tlsMode === 'mesh' && identity !== undefined ? [identity] : [];

function endpointOf(
  { pod, address, port, health }: Member,
  workloads: ReadonlyMap<string, Workload>,
): readonly MeshEndpoint[] {
  if (health === 'notReady') return [];
  const base = { address, port, health, weight: 1 };
  const workload = pod && workloads.get(`${pod.meta.name}.${pod.meta.namespace}`);
  if (workload === undefined) return [{ ...base, tlsMode: 'disabled' }];
  const identity = meshIdentityAt(workload, port);
  const locality = localityOf(workload.labels);
  const named = {
    ...base,
    ...(locality && { locality }),
    workload: workload.name,
    namespace: workload.namespace,
  };
  return [
    identity === undefined
      ? { ...named, tlsMode: 'disabled' }
      : { ...named, tlsMode: 'mesh', identity },
  ];
}
