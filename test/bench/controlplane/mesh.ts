// The mesh that both control planes serve: replicas behind Services, each calling five others, and Services that nobody measured runs.
import {
  modeYaml,
  NAMESPACE,
  podYaml,
  policyYaml,
  serviceYaml,
} from '../../support/lab-manifests.ts';
import type { Lab } from '../../support/lab.ts';
import type { Wanted } from '../propagation/messages.ts';

export interface MeshSize {
  readonly proxies: number;
  readonly services: number;
}

/** Replicas of a Service of proxies, where there are enough Services. */
const REPLICAS = 10;
/** Endpoints of a Service whose Pods have no proxies here. */
const OTHER_ENDPOINTS = 2;
const CALLED_SERVICES = 5;
const PORT = 8080;
/** Services whose endpoints change. */
const CHANGING = 10;
const PODS_A_FILE = 500;
/** Addresses of an endpoint before they come round again. */
const ADDRESSES = 150;

export const INBOUND = 'inbound';

const serviceOf = (service: number): string => `s-${service}`;
/** A workload's service account, and what its proxies say their cluster is. */
export const groupOf = serviceOf;
const resourceOf = (service: number): string =>
  `outbound|80||${serviceOf(service)}.${NAMESPACE}.svc.cluster.local`;

export interface Proxy {
  readonly node: string;
  readonly service: number;
  readonly ip: string;
}

export class BenchMesh {
  readonly size: MeshSize;
  /** Services whose Pods have proxies. */
  readonly workloads: number;
  readonly proxies: readonly Proxy[];

  constructor(size: MeshSize) {
    this.size = size;
    this.workloads = Math.min(size.services, Math.ceil(size.proxies / REPLICAS));
    this.proxies = Array.from({ length: size.proxies }, (_, n) => ({
      node: `pod-${n}.${NAMESPACE}`,
      service: n % this.workloads,
      ip: ipOf(64, n),
    }));
  }

  /** Services whose endpoints change: the first that proxies call. */
  get changing(): readonly number[] {
    const workloads = Array.from({ length: this.workloads }, (_, service) => service);
    const called = new Set(workloads.flatMap((service) => this.calledBy(service)));
    return [...called].slice(0, CHANGING);
  }

  /** Whom a workload calls: the next five. */
  calledBy(service: number): readonly number[] {
    const { services } = this.size;
    const count = Math.min(CALLED_SERVICES, services - 1);
    return Array.from({ length: count }, (_, at) => (service + at + 1) % services);
  }

  /** What a sidecar asks for from its start, without what its inbound listener will name. */
  callsOf(service: number): Wanted {
    const names = this.calledBy(service).map(resourceOf);
    return { cluster: names, endpoints: names, listener: [INBOUND, ...names], route: names };
  }

  /** How many proxies are told when a Service's endpoints change. */
  callersOf(service: number): number {
    return this.proxies.filter((proxy) => this.calledBy(proxy.service).includes(service)).length;
  }

  /** Writes the manifest of a Pod of a changing Service with another address. */
  async writeEndpoint(lab: Lab, endpoint: Endpoint): Promise<void> {
    const service = this.changing[endpoint.at];
    if (service === undefined) throw new RangeError(`Cannot change endpoints: no ${endpoint.at}`);
    const pod = podOf(`changing-${service}.${NAMESPACE}`, service, endpointMarker(endpoint));
    await lab.write(`changing-${service}.yaml`, pod);
  }

  async write(lab: Lab): Promise<void> {
    const numbers = Array.from({ length: this.size.services }, (_, service) => service);
    const ports = [{ name: 'http', port: 80, targetPort: PORT }];
    const services = numbers.map((service) =>
      serviceYaml({ name: serviceOf(service), ports, clusterIP: ipOf(96, service) }),
    );
    const pods = this.proxies.map(({ node, service, ip }) => podOf(node, service, ip));
    for (const service of numbers.slice(this.workloads)) {
      for (let at = 0; at < OTHER_ENDPOINTS; at++) {
        const n = service * OTHER_ENDPOINTS + at;
        pods.push(podOf(`other-${n}.${NAMESPACE}`, service, ipOf(80, n)));
      }
    }
    await writeInParts(lab, 'services', services);
    await writeInParts(lab, 'pods', pods);
    await lab.write('policies.yaml', ...policiesOf(policyMarker(0)));
    for (const at of this.changing.keys()) await this.writeEndpoint(lab, { at, version: 0 });
  }
}

const podOf = (node: string, service: number, ip: string): string =>
  podYaml({
    name: node.slice(0, node.indexOf('.')),
    ip,
    ports: [PORT],
    app: serviceOf(service),
  });

const ipOf = (second: number, n: number): string =>
  `10.${second + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;

async function writeInParts(lab: Lab, name: string, all: readonly string[]): Promise<void> {
  for (let at = 0; at < all.length; at += PODS_A_FILE) {
    await lab.write(`${name}-${at}.yaml`, ...all.slice(at, at + PODS_A_FILE));
  }
}

/** The path that the policy denies: of one length, so that resources of one version can be made into those of another. */
export const policyMarker = (version: number): string =>
  `/edit-${String(version).padStart(6, '0')}x`;

/** Selects every proxy, so that every one is told. */
export const policiesOf = (marker: string): readonly string[] => [
  modeYaml('STRICT'),
  policyYaml({
    name: 'edited',
    action: 'DENY',
    rules: `[{ to: [{ operation: { paths: ["${marker}"] } }] }]`,
  }),
];

/** An endpoint that changes: of which of the changing Services, and how often it was changed. */
export interface Endpoint {
  readonly at: number;
  readonly version: number;
}

/** Its address; all are of one length. */
export const endpointMarker = ({ at, version }: Endpoint): string =>
  `10.99.${100 + at}.${100 + (version % ADDRESSES)}`;
