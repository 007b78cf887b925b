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
import type { PodIndex } from './pod-index.ts';

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

export function findMembers(
  services: readonly ServiceObject[],
  slices: readonly EndpointSliceObject[],
  index: PodIndex,
): readonly ServiceMembers[] {
  const slicesByService = new Map<string, EndpointSliceObject[]>();
  for (const slice of slices) {
    const key = `${slice.meta.namespace}\0${slice.service}`;
    slicesByService.set(key, [...(slicesByService.get(key) ?? []), slice]);
  }
  return services.map((service) => {
    const own = slicesByService.get(`${service.meta.namespace}\0${service.meta.name}`);
    const pods = own === undefined ? selectedPods(service, index) : [];
    const ports = service.ports.map((spec) =>
      own === undefined
        ? portFromPods(service, spec, pods)
        : portFromSlices(service, spec, { slices: own, index }),
    );
    return { service, ports };
  });
}

const selectedPods = (service: ServiceObject, index: PodIndex): readonly PodObject[] =>
  service.selector === undefined ? [] : index.select(service.meta.namespace, service.selector);

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
  from: { readonly slices: readonly EndpointSliceObject[]; readonly index: PodIndex },
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
          from.index,
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
  index: PodIndex,
): PodObject | undefined {
  const pods = index.byIp(address);
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
