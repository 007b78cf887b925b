// Who answers where: whether a workload's port is called with mutual TLS, and by whom it must be answered then.
import type { SpiffeId } from '../identity.ts';
import type { Workload } from './mesh.ts';

/** Who answers at a port with mutual TLS; `undefined` where it is called in plaintext. */
export function meshIdentityAt(workload: Workload, port: number): SpiffeId | undefined {
  if (!workload.isInMesh) return undefined;
  const declared = workload.inbound.ports.find((one) => one.port === port);
  return (declared?.mode ?? workload.inbound.mode) === 'DISABLE' ? undefined : workload.identity;
}
