// Where the application answers for what comes to a port of its workload.
import type { SidecarOptions } from '../options.ts';

interface Address {
  readonly address: string;
  readonly port: number;
}

/** What the control plane writes: the same for every workload, so that they share it. */
const LOOPBACK = '127.0.0.1';

/**
 * Of a port that was mapped, where its mapping says. Behind redirected ports it is where the Pod is: what listens on
 * loopback alone is meant for the Pod, and would be shown to the mesh.
 */
export function appAddressOf(
  options: Pick<SidecarOptions, 'inbound' | 'transparent' | 'podIp'>,
): (address: Address) => Address {
  const { transparent, podIp } = options;
  const apps = new Map(options.inbound.map(({ port, app }) => [port, app]));
  return (address) => {
    const mapped = apps.get(address.port);
    if (mapped !== undefined) return mapped;
    const isOwn = transparent !== undefined && address.address === LOOPBACK;
    return isOwn ? { address: podIp, port: address.port } : address;
  };
}
