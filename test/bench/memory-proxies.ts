// Starts what memory is measured of: Weft's sidecar from source and from its image's bundle, and Envoy, all with configuration from Weft's own control plane.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Lab, LabSidecar } from '../support/lab.ts';
import type { Identities } from './identities.ts';
import { BUNDLES } from '../support/weft-main.ts';
import { startConfiguredEnvoy } from './peers/configured-envoy.ts';
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
    process.env[BUNDLES] = bundles;
    try {
      return await proxyOf(await spawnWeft(place), place);
    } finally {
      delete process.env[BUNDLES];
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
    const envoy = await startConfiguredEnvoy({
      lab,
      identities,
      binary,
      pod,
      account: serviceAccount,
      clusters: services,
      withinMs: IN_FORCE_MS,
    });
    return {
      pid: envoy.pid,
      inbound: { host: podIp, port },
      outboundHttp: undefined,
      [Symbol.asyncDispose]: () => envoy[Symbol.asyncDispose](),
    };
  },
});
