// Which addresses stand behind each port of a Service: those of its EndpointSlices, else those of the Pods it selects.
import { parseIp } from '@weft/model/ip';
import type {
  EndpointSliceObject,
  PodObject,
  ServiceObject,
  ServicePortSpec,
  SliceEndpoint,
} from '@weft/model/mesh/objects';
import { detectProtocol, type PortProtocol } from '@weft/model/mesh/protocol';

export interface Member {
  /** Absent for an address that is no Pod's. */
  readonly pod: PodObject | undefined;
  readonly address: string;
  readonly port: number;
  /** One that is not ready takes no calls, and still shows what its port is for. */
  readonly health: 'healthy' | 'draining' | 'notReady';
}

export interface PortMembers {
  readonly spec: ServicePortSpec;
  readonly protocol: PortProtocol;
  readonly members: readonly Member[];
  /** Pods that have no port of the name that the Service asks for. */
  readonly unresolved: readonly PodObject[];
}

export interface ServiceMembers {
  readonly service: ServiceObject;
  readonly ports: readonly PortMembers[];
}

export function healthOf(pod: PodObject): Member['health'] {
  if (!pod.isReady) return 'notReady';
  return pod.isDeleting ? 'draining' : 'healthy';
}

/** Who stands behind a Service, and where Pods are found by their addresses. */
export interface Standing {
  podsBehind(service: ServiceObject): readonly PodObject[];
  /** Absent: it has none, and the Pods that it selects stand behind it. */
  slicesOf(service: ServiceObject): readonly EndpointSliceObject[] | undefined;
  podsAt(ip: string): readonly PodObject[];
}

export function membersOf(service: ServiceObject, standing: Standing): ServiceMembers {
  const slices = standing.slicesOf(service);
  if (slices !== undefined) {
    const ports = service.ports.map((spec) => portFromSlices(service, spec, { slices, standing }));
    return { service, ports };
  }
  const pods = standing.podsBehind(service);
  return { service, ports: service.ports.map((spec) => portFromPods(service, spec, pods)) };
}

/** The Pod's first address of the family that the Service is called by. */
function addressOf(pod: PodObject, service: ServiceObject): string | undefined {
  const [vip] = service.clusterIps;
  const family = vip === undefined ? undefined : parseIp(vip)?.family;
  return pod.ips.find((ip) => family === undefined || parseIp(ip)?.family === family) ?? pod.ips[0];
}

function portFromPods(
  service: ServiceObject,
  spec: ServicePortSpec,
  pods: readonly PodObject[],
): PortMembers {
  const members: Member[] = [];
  const unresolved: PodObject[] = [];
  for (const pod of pods) {
    const port = resolveTarget(spec, pod);
    const address = addressOf(pod, service);
    if (port === undefined) unresolved.push(pod);
    else if (address !== undefined) {
      const health = service.publishesNotReady && !pod.isReady ? 'healthy' : healthOf(pod);
      members.push({ pod, address, port, health });
    }
  }
  return { spec, protocol: detectProtocol(spec), members, unresolved };
}

function resolveTarget(spec: ServicePortSpec, pod: PodObject): number | undefined {
  if (typeof spec.targetPort === 'number') return spec.targetPort;
  return pod.ports.find(({ name }) => name === spec.targetPort)?.port;
}

function portFromSlices(
  service: ServiceObject,
  spec: ServicePortSpec,
  from: { readonly slices: readonly EndpointSliceObject[]; readonly standing: Standing },
): PortMembers {
  const members = from.slices.flatMap((slice) => {
    const port = slice.ports.find(({ name }) => name === spec.name)?.port;
    if (port === undefined) return [];
    return slice.endpoints.flatMap((endpoint) => {
      const health = sliceHealth(endpoint, service);
      // The first address stands for the endpoint: Kubernetes has deprecated others.
      return endpoint.addresses.slice(0, 1).map((address) => {
        const pod = podAt(
          address,
          { port, named: endpoint.pod, namespace: service.meta.namespace },
          from.standing,
        );
        return { pod, address, port, health };
      });
    });
  });
  return { spec, protocol: detectProtocol(spec), members: withoutRepeats(members), unresolved: [] };
}

function sliceHealth(endpoint: SliceEndpoint, service: ServiceObject): Member['health'] {
  if (endpoint.isReady || service.publishesNotReady) return 'healthy';
  return endpoint.isDraining ? 'draining' : 'notReady';
}

/** The address decides who stands there; a slice's word for it only where several Pods share the address. */
function podAt(
  address: string,
  hint: { readonly port: number; readonly named: string | undefined; readonly namespace: string },
  standing: Pick<Standing, 'podsAt'>,
): PodObject | undefined {
  const pods = standing.podsAt(address);
  return (
    pods.find(({ meta }) => meta.name === hint.named && meta.namespace === hint.namespace) ??
    pods.find(({ ports }) => ports.some(({ port }) => port === hint.port)) ??
    pods[0]
  );
}

/** Slices overlap while Kubernetes moves endpoints between them; of two the one that takes calls counts. */
function withoutRepeats(members: readonly Member[]): readonly Member[] {
  const rank = { healthy: 0, draining: 1, notReady: 2 } as const;
  const best = new Map<string, Member>();
  for (const member of members) {
    const key = `${member.address}\0${member.port}`;
    const known = best.get(key);
    if (known === undefined || rank[member.health] < rank[known.health]) best.set(key, member);
  }
  return [...best.values()];
}
