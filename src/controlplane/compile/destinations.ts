// Makes destinations of Services: one for each port, with who may answer there and where.
import type { SpiffeId } from '@weft/model/identity';
import { meshIdentityAt } from '@weft/model/mesh/mesh-identity';
import type {
  Destination,
  DestinationTarget,
  Mesh,
  MeshEndpoint,
  MeshSettings,
  Workload,
} from '@weft/model/mesh/mesh';
import type { ServiceObject } from '@weft/model/mesh/objects';
import type { Problem } from '@weft/model/problem';
import { compareTexts } from './ordered-objects.ts';
import type { Member, PortMembers, ServiceMembers } from './service-members.ts';
import { keep } from './structural-sharing.ts';

export interface DestinationInput {
  readonly services: readonly ServiceMembers[];
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly settings: MeshSettings;
  readonly previous: Mesh | undefined;
}

export interface CompiledDestinations {
  readonly destinations: ReadonlyMap<string, Destination>;
  readonly byAddress: ReadonlyMap<string, Destination>;
  readonly problems: readonly Problem[];
}

export function compileDestinations(input: DestinationInput): CompiledDestinations {
  const destinations = new Map<string, Destination>();
  const byAddress = new Map<string, Destination>();
  const problems: Problem[] = [];
  for (const { service, ports } of input.services) {
    for (const port of ports) {
      const destination = compileDestination(service, port, input);
      destinations.set(destination.target.name, destination);
      for (const vip of service.clusterIps) {
        const address = `${vip}_${port.spec.port}`;
        const holder = byAddress.get(address);
        if (holder === undefined) byAddress.set(address, destination);
        else if (holder.target.host !== destination.target.host)
          problems.push(vipClash(service, address, holder.target));
      }
    }
  }
  return { destinations, byAddress, problems };
}

/** The first by namespace and name keeps the address, whatever came first. */
const vipClash = (service: ServiceObject, address: string, holder: DestinationTarget): Problem => ({
  severity: 'error',
  code: 'address-clash',
  field: 'spec.clusterIP',
  message: `is not reached at ${address.replace('_', ' port ')}, which leads to ${holder.namespace}/${holder.service}`,
  cure: 'give each Service an address of its own',
  object: { kind: 'Service', namespace: service.meta.namespace, name: service.meta.name },
});

function compileDestination(
  service: ServiceObject,
  port: PortMembers,
  { workloads, settings, previous }: DestinationInput,
): Destination {
  const { namespace, name: serviceName } = service.meta;
  const host = `${serviceName}.${namespace}.svc.${settings.clusterDomain}`;
  const name = `outbound|${port.spec.port}||${host}`;
  const before = previous?.destinations.get(name);
  const target = keep(before?.target, {
    name,
    host,
    namespace,
    service: serviceName,
    port: port.spec.port,
    protocol: port.protocol,
    vips: service.clusterIps,
    clusterDomain: settings.clusterDomain,
  });
  const endpoints = port.members
    .flatMap((member) => endpointOf(member, workloads))
    .sort((a, b) => compareTexts(a.address, b.address) || a.port - b.port);
  const identities = [...new Set(endpoints.flatMap(meshIdentity))].sort();
  const next: Destination = {
    target,
    upstream: keep(before?.upstream, { target, identities }),
    endpoints: keep(before?.endpoints, { clusterName: name, endpoints }),
  };
  return keep(before, next);
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
  const named = { ...base, workload: workload.name, namespace: workload.namespace };
  return [
    identity === undefined
      ? { ...named, tlsMode: 'disabled' }
      : { ...named, tlsMode: 'mesh', identity },
  ];
}
