// Starts an Envoy that gets everything from Weft's control plane, and waits until it has it.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type MeshEnvoy, startMeshEnvoy } from '../../support/envoy.ts';
import { NAMESPACE } from '../../support/lab-manifests.ts';
import { eventually } from '../../support/lab-wait.ts';
import type { Lab } from '../../support/lab.ts';
import { credentialOf, type Identities, TRUST_DOMAIN } from '../identities.ts';

/** Ends with its disposal; one that is not configured in time is ended here. */
export async function startConfiguredEnvoy(options: {
  readonly lab: Lab;
  readonly identities: Identities;
  readonly binary: string;
  readonly pod: string;
  readonly account: string;
  /** One of its own beside those of the control plane. */
  readonly listener?: object;
  /** It has to know more clusters than these. Default: any will do. */
  readonly clusters?: number;
  readonly withinMs: number;
}): Promise<MeshEnvoy> {
  const { lab, identities, binary, pod, account, listener, clusters, withinMs } = options;
  const folder = join(lab.root, `envoy-${pod}`);
  await mkdir(folder, { recursive: true });
  const envoy = await startMeshEnvoy({
    binary,
    folder,
    nodeId: `${pod}.${NAMESPACE}`,
    variant: 'DELTA_GRPC',
    xds: lab.addresses.xds,
    controlPlaneId: `spiffe://${TRUST_DOMAIN}/ns/weft-system/sa/weft-control-plane`,
    credential: credentialOf(identities, account),
    bundlePem: identities.bundlePem,
    ...(listener !== undefined && { listener }),
  });
  try {
    await eventually(
      async () => {
        const stats = await envoy.stats('^(listener|cluster)_manager');
        const of = (name: string): number => stats.get(name) ?? 0;
        const isWarm =
          of('listener_manager.total_listeners_warming') === 0 &&
          of('cluster_manager.warming_clusters') === 0;
        const isComplete =
          clusters === undefined || of('cluster_manager.active_clusters') > clusters;
        return isWarm && isComplete && of('listener_manager.total_listeners_active') > 0;
      },
      { what: `${pod} configured`, withinMs, told: () => envoy.log.slice(-2_000) },
    );
  } catch (error) {
    await envoy[Symbol.asyncDispose]();
    throw error;
  }
  return envoy;
}
