// Starts what memory is measured of: Weft's sidecar from source and from its image's bundle, and Envoy, all with configuration from Weft's own control plane.
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startMeshEnvoy } from '../support/envoy.ts';
import { NAMESPACE } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import type { Lab, LabSidecar } from '../support/lab.ts';
import { credentialOf, type Identities, TRUST_DOMAIN } from './identities.ts';
import type { Endpoint } from './peers/envoy-config.ts';

const run = promisify(execFile);
const BUILD = fileURLToPath(new URL('../../bin/build.mjs', import.meta.url));
const IN_FORCE_MS = 120_000;

export type ProxyName = 'weft' | 'weft bundle' | 'envoy';

export interface Place {
  readonly lab: Lab;
  readonly identities: Identities;
  /** `prices-0`, whose manifest is there already. */
  readonly pod: string;
  readonly serviceAccount: string;
  readonly podIp: string;
  /** The workload's, where its application answers on loopback. */
  readonly port: number;
  /** Services that it must know to be complete; Weft's learns them when they are called. */
  readonly services: number;
}

export interface Proxy extends AsyncDisposable {
  readonly pid: number;
  /** Mutual TLS of the workload. */
  readonly inbound: Endpoint;
  /** Where the workload asks for other services by their Host; Envoy's are not called. */
  readonly outboundHttp: string | undefined;
}

export interface Contender {
  readonly name: ProxyName;
  readonly start: (place: Place) => Promise<Proxy>;
}

/** Makes the sidecar's bundle as `npm run build` does. @returns the folder of bundles. */
export async function buildBundle(folder: string): Promise<string> {
  const out = join(folder, 'dist');
  const args = ['--out', out, '--image', 'sidecar', '--without-maps'];
  await run(process.execPath, ['--disable-warning=ExperimentalWarning', BUILD, ...args]);
  return out;
}

export const weftFromSource: Contender = {
  name: 'weft',
  start: async (place) => proxyOf(await spawnWeft(place), place),
};

export const weftFromBundle = (bundles: string): Contender => ({
  name: 'weft bundle',
  async start(place) {
    // Processes of a lab look here when they are started.
    process.env['WEFT_TEST_BUNDLES'] = bundles;
    try {
      return await proxyOf(await spawnWeft(place), place);
    } finally {
      delete process.env['WEFT_TEST_BUNDLES'];
    }
  },
});

function spawnWeft({ lab, pod, podIp, port, serviceAccount }: Place): Promise<LabSidecar> {
  const inbound = { [port]: `127.0.0.1:${port}` };
  return lab.spawnSidecar({
    pod,
    podIp,
    serviceAccount,
    inbound,
    outboundHttp: true,
    manifest: false,
  });
}

async function proxyOf(sidecar: LabSidecar, { podIp, port }: Place): Promise<Proxy> {
  await sidecar.whenReady();
  return {
    pid: sidecar.daemon.pid,
    inbound: { host: podIp, port },
    outboundHttp: sidecar.http,
    [Symbol.asyncDispose]: () => sidecar.daemon[Symbol.asyncDispose](),
  };
}

/** Its connections must be redirected to it: the network of the Pod's address is, where this runs. */
export const envoyFrom = (binary: string): Contender => ({
  name: 'envoy',
  async start({ lab, identities, pod, podIp, port, serviceAccount, services }) {
    const folder = join(lab.root, `envoy-${pod}`);
    await mkdir(folder, { recursive: true });
    const envoy = await startMeshEnvoy({
      binary,
      folder,
      nodeId: `${pod}.${NAMESPACE}`,
      variant: 'DELTA_GRPC',
      xds: lab.addresses.xds,
      controlPlaneId: `spiffe://${TRUST_DOMAIN}/ns/weft-system/sa/weft-control-plane`,
      credential: credentialOf(identities, serviceAccount),
      bundlePem: identities.bundlePem,
    });
    try {
      await eventually(
        async () => {
          const stats = await envoy.stats('^(listener|cluster)_manager');
          const of = (name: string): number => stats.get(name) ?? 0;
          const isWarm =
            of('listener_manager.total_listeners_warming') === 0 &&
            of('cluster_manager.warming_clusters') === 0;
          const isComplete = of('cluster_manager.active_clusters') > services;
          return isWarm && isComplete && of('listener_manager.total_listeners_active') > 0;
        },
        { what: `${pod} configured`, withinMs: IN_FORCE_MS, told: () => envoy.log.slice(-2_000) },
      );
    } catch (error) {
      await envoy[Symbol.asyncDispose]();
      throw error;
    }
    return {
      pid: envoy.pid,
      inbound: { host: podIp, port },
      outboundHttp: undefined,
      [Symbol.asyncDispose]: () => envoy[Symbol.asyncDispose](),
    };
  },
});
