// Who answers where: whether a workload's port is called with mutual TLS, and by whom it must be answered then.
import type { SpiffeId } from '../identity.ts';
import type { Workload } from './mesh.ts';

/** Whether a sidecar stands before this port of the workload. */
export const isGuarded = (
  { isInMesh, directPorts }: Pick<Workload, 'isInMesh' | 'directPorts'>,
  port: number,
): boolean => isInMesh && directPorts?.includes(port) !== true;

/** Who answers at a port with mutual TLS; `undefined` where it is called in plaintext. */
export function meshIdentityAt(workload: Workload, port: number): SpiffeId | undefined {
  if (!isGuarded(workload, port)) return undefined;
  const declared = workload.inbound.ports.find((one) => one.port === port);
  return (declared?.mode ?? workload.inbound.mode) === 'DISABLE' ? undefined : workload.identity;
}
