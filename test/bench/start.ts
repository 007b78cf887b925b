// Measures how long a sidecar takes from process start to ready, and beside it an Envoy whose configuration is a file.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NAMESPACE, podYaml } from '../support/lab-manifests.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { cpuUsOf } from './accounting.ts';
import { credentialOf, issueIdentities } from './identities.ts';
import { type Endpoint, inboundConfig, rulesOf } from './peers/envoy-config.ts';
import { findEnvoy } from './peers/envoy-binary.ts';
import { buildBundle } from './memory-proxies.ts';
import { freeEndpoint, startEnvoy } from './peers/envoy.ts';
import { CALLED, POLICY, policyManifests } from './policies.ts';
import { type Summary, summarize } from './statistics.ts';

const WEFT = fileURLToPath(new URL('../../bin/weft', import.meta.url));
const PORT = 8080;
const US_PER_MS = 1_000;

export interface StartFigures {
  readonly name: string;
  readonly readyMs: Summary;
  /** User and system time until ready. */
  readonly cpuMs: Summary;
}

export interface StartResult {
  readonly leftOut: readonly string[];
  readonly starts: number;
  /** The program that the sidecar's image starts. */
  readonly bundleKb: number;
  readonly figures: readonly StartFigures[];
}

interface Start {
  readonly readyMs: number;
  readonly cpuMs: number;
}

interface Contender {
  readonly name: string;
  readonly start: () => Promise<Start>;
}

export async function measureStart(
  starts: number,
  progress: (what: string) => void,
): Promise<StartResult> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await openLab());
  const identities = await issueIdentities({
    stateDir: lab.state,
    namespace: NAMESPACE,
    accounts: [CALLED],
  });
  const podIp = lab.nextIp();
  const pod = podYaml({ name: `${CALLED}-0`, ip: podIp, ports: [PORT] });
  await lab.write('mesh.yaml', pod, ...policyManifests());
  await lab.startControlPlane();
  const cache = join(lab.root, 'compile-cache');
  await mkdir(cache);
  progress("the sidecar's bundle");
  const bundle = join(await buildBundle(lab.root), 'sidecar', 'weft.mjs');
  const programs = [
    { name: "weft sidecar, its image's bundle", command: [process.execPath, bundle] },
    { name: 'weft sidecar, from source', command: ['sh', WEFT] },
  ] as const;
  const contenders = programs.flatMap(({ name, command }): Contender[] => {
    const start = (env: Readonly<Record<string, string>>): Promise<Start> =>
      startSidecar(command, { lab, podIp, env });
    return [
      {
        name: `${name}, cold (no compile cache)`,
        start: () => start({ NODE_DISABLE_COMPILE_CACHE: '1' }),
      },
      { name: `${name}, warm`, start: () => start({ NODE_COMPILE_CACHE: cache }) },
    ];
  });
  const envoy = await findEnvoy();
  if (envoy.ok) {
    const own = credentialOf(identities, CALLED);
    const upstream: Endpoint = { host: '127.0.0.1', port: PORT };
    contenders.push({
      name: `Envoy ${envoy.version}, static file, no enrolment`,
      start: async () => {
        const [admin, listen] = [await freeEndpoint(), await freeEndpoint()];
        const half = { admin, listen, upstream, own, bundlePem: identities.bundlePem };
        const config = inboundConfig(half, rulesOf(POLICY));
        const from = performance.now();
        const options = { binary: envoy.path, name: 'start', folder: lab.root, config, admin };
        await using running = await startEnvoy(options);
        const readyMs = performance.now() - from;
        return { readyMs, cpuMs: cpuUsOf([running.pid]) / US_PER_MS };
      },
    });
  }
  // Not counted: it fills the compile cache and the file system's.
  for (const { start } of contenders) await start();
  const taken = contenders.map((): Start[] => []);
  for (let round = 0; round < starts; round++) {
    progress(`start ${round + 1} of ${starts}`);
    for (const [at, { start }] of contenders.entries()) taken[at]?.push(await start());
  }
  return {
    leftOut: envoy.ok ? [] : [`Envoy: ${envoy.reason}`],
    starts,
    bundleKb: await codeKb(dirname(bundle)),
    figures: contenders.map(({ name }, at) => ({
      name,
      readyMs: summarize((taken[at] ?? []).map(({ readyMs }) => readyMs)),
      cpuMs: summarize((taken[at] ?? []).map(({ cpuMs }) => cpuMs)),
    })),
  };
}

/** All of a bundle's code, also what is loaded only when it is asked for; without its native library. */
async function codeKb(folder: string): Promise<number> {
  let bytes = 0;
  for await (const file of glob('{,chunks/}*.mjs', { cwd: folder })) {
    bytes += (await stat(join(folder, file))).size;
  }
  return bytes / 1_024;
}

/** As an operator starts it, with a new token each time; ready means enrolled, configured and listening. */
async function startSidecar(
  command: readonly [string, string],
  {
    lab,
    podIp,
    env,
  }: {
    readonly lab: Lab;
    readonly podIp: string;
    readonly env: Readonly<Record<string, string>>;
  },
): Promise<Start> {
  const { xds, enrolment } = lab.addresses;
  const tokenFile = await lab.tokenFile(await lab.token(CALLED));
  const names = ['--pod', `${CALLED}-0`, '--namespace', NAMESPACE, '--pod-ip', podIp];
  const trust = ['--token-file', tokenFile, '--bundle', lab.bundle];
  const where = ['--xds', xds, '--enrolment', enrolment, '--admin', `${podIp}:0`];
  const inbound = ['--inbound', `${PORT}=127.0.0.1:${PORT}`];
  const from = performance.now();
  const [program, main] = command;
  const child = spawn(program, [main, 'sidecar', ...names, ...trust, ...where, ...inbound], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_COMPILE_CACHE: '', ...env },
  });
  const said: string[] = [];
  child.stderr.on('data', (part: Buffer) => said.push(part.toString()));
  const ended = once(child, 'close');
  const ready = Promise.withResolvers<number>();
  child.stdout.on('data', () => ready.resolve(performance.now()));
  child.on('close', () => ready.reject(new Error(`Cannot start a sidecar: ${said.join('')}`)));
  try {
    const readyMs = (await ready.promise) - from;
    return { readyMs, cpuMs: cpuUsOf([child.pid ?? 0]) / US_PER_MS };
  } finally {
    // The first asks it to end well, which is when compiled code is kept.
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(timer);
  }
}
