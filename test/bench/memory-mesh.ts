// Writes the meshes in which memory is measured: one called workload behind five Services, and any number of others that nobody calls.
import { NAMESPACE, podYaml, serviceYaml } from '../support/lab-manifests.ts';
import type { Lab } from '../support/lab.ts';
import { CALLED, CALLER, policyManifests } from './policies.ts';

/** Services that the calling workload calls. */
export const CALLED_SERVICES = 5;
/** Files of a size that the control plane reads. */
const DOCUMENTS_A_FILE = 1_000;
const PORT_OF_OTHERS = 8080;

export const calledService = (at: number): string => `${CALLED}-${at}`;

export interface MeshPlan {
  readonly services: number;
  /** Where the application answers, and so the Pod's port. */
  readonly port: number;
  /** Addresses of the called workload's Pods, and of the calling one's. */
  readonly called: readonly string[];
  readonly callers: readonly string[];
}

export async function writeMesh(lab: Lab, plan: MeshPlan): Promise<void> {
  const { services, port, called, callers } = plan;
  await lab.write('policies.yaml', ...policyManifests());
  const pods = [
    ...called.map((ip, at) => podYaml({ name: `${CALLED}-${at}`, ip, ports: [port] })),
    ...callers.map((ip, at) => podYaml({ name: `${CALLER}-${at}`, ip, ports: [port] })),
  ];
  const ports = [{ name: 'http', port: 80, targetPort: port }];
  const ours = Array.from({ length: Math.min(services, CALLED_SERVICES) }, (_, at) =>
    serviceYaml({ name: calledService(at), app: CALLED, ports }),
  );
  await lab.write('ours.yaml', ...pods, ...ours);
  const others: string[] = [];
  for (let at = 0; at < services - CALLED_SERVICES; at++) others.push(...otherService(at));
  for (let from = 0; from < others.length; from += DOCUMENTS_A_FILE) {
    await lab.write(`others-${from}.yaml`, ...others.slice(from, from + DOCUMENTS_A_FILE));
  }
}

/** A Service and its Pod, whose address nobody answers at. */
const otherService = (at: number): readonly string[] => [
  serviceYaml({
    name: `other-${at}`,
    namespace: NAMESPACE,
    ports: [{ name: 'http', port: 80, targetPort: PORT_OF_OTHERS }],
    clusterIP: `10.96.${at >> 8}.${at & 255}`,
  }),
  podYaml({
    name: `other-${at}-0`,
    app: `other-${at}`,
    ip: `10.64.${at >> 8}.${at & 255}`,
    ports: [PORT_OF_OTHERS],
  }),
];
