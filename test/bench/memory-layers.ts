// Says what an idle sidecar's memory is made of: bare Node, then with one thing more each time, up to the enrolled sidecar.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { openLab } from '../support/lab.ts';
import { memoryOf } from './accounting.ts';
import { buildBundle, weftFromBundle } from './memory-proxies.ts';
import { writeMesh } from './memory-mesh.ts';
import { issueIdentities } from './identities.ts';
import { NAMESPACE } from '../support/lab-manifests.ts';
import { CALLED } from './policies.ts';
import { type Row, spread, table } from './report.ts';
import { type Summary, summarize } from './statistics.ts';

/** As in the memory benchmark: a sidecar has given back what its start took. */
const SETTLE_MS = 3_000;
/** Nobody asks it: its application need not run. */
const PORT = 8080;

export interface LayerFigures {
  readonly name: string;
  /** The layer that it is one thing more than. */
  readonly on: string | undefined;
  readonly dirtyMb: Summary;
}

export interface LayersResult {
  readonly reads: number;
  readonly layers: readonly LayerFigures[];
}

interface Layer {
  readonly name: string;
  readonly on: string | undefined;
  /** The process is ended when what is returned is. */
  readonly start: () => Promise<AsyncDisposable & { readonly pid: number }>;
}

/** Collects as a sidecar does after its start, and says so. */
const COLLECT = `
  setTimeout(() => {
    const v8 = require('node:v8');
    for (const flag of ['--expose-gc', '--stress-flush-code']) v8.setFlagsFromString(flag);
    require('node:vm').runInNewContext('gc')({ flavor: 'last-resort' });
    process.stdout.write('collected\\n');
    setInterval(() => {}, 1e9);
  }, 500);`;
const LISTEN = "require('node:tls').createServer({}).listen(0, '127.0.0.1');";
const FROM_NODE = ['node:http', 'node:http2', 'node:crypto'];

const fromXds = createRequire(new URL('../../src/xds/package.json', import.meta.url));
const packageOf = (name: string): string => fromXds.resolve(name);
const requires = (modules: readonly string[]): string =>
  modules.map((module) => `require(${JSON.stringify(module)});`).join('');

const nodeWith = (name: string, on: string | undefined, code: string): Layer => ({
  name,
  on,
  start: () => startNode(['--eval', `${code}${COLLECT}`]),
});

/** Ready when it has written its word. */
async function startNode(args: readonly string[]): Promise<AsyncDisposable & { pid: number }> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'collected') break;
  }
  return {
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

export async function measureMemoryLayers(
  reads: number,
  progress: (what: string) => void,
): Promise<LayersResult> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await openLab());
  progress("the sidecar's bundle");
  const bundles = await buildBundle(lab.root);
  const identities = await issueIdentities({
    stateDir: lab.state,
    namespace: NAMESPACE,
    accounts: [CALLED],
  });
  const podIp = lab.nextIp();
  await writeMesh(lab, { services: 1, port: PORT, called: [podIp], callers: [] });
  await lab.startControlPlane();
  const place = { lab, identities, podIp, serviceAccount: CALLED, port: PORT, services: 1 };
  const main = join(bundles, 'sidecar', 'weft.mjs');
  const help = `process.argv.push(${JSON.stringify(main)}, 'sidecar', '--help'); import(${JSON.stringify(main)});`;
  const base = 'and its modules for HTTP and HTTP/2';
  const modules = "the bundle's modules, nothing started";
  const protobuf = [...FROM_NODE, packageOf('protobufjs/light.js')];
  const grpcJs = [...FROM_NODE, packageOf('@grpc/grpc-js')];
  const layers: readonly Layer[] = [
    nodeWith('Node alone', undefined, ''),
    nodeWith('and a TLS server', 'Node alone', LISTEN),
    nodeWith(base, 'and a TLS server', requires(FROM_NODE) + LISTEN),
    nodeWith('and protobufjs', base, requires(protobuf) + LISTEN),
    nodeWith('and grpc-js in its place (no sidecar has it)', base, requires(grpcJs) + LISTEN),
    nodeWith(modules, base, help + LISTEN),
    {
      name: 'the sidecar, enrolled and configured',
      on: modules,
      async start() {
        const sidecar = await weftFromBundle(bundles).start({ ...place, pod: `${CALLED}-0` });
        await delay(SETTLE_MS);
        return sidecar;
      },
    },
  ];
  const taken = layers.map((): number[] => []);
  for (let read = 0; read < reads; read++) {
    for (const [at, { name, start }] of layers.entries()) {
      progress(`${name}, ${read + 1} of ${reads}`);
      await using running = await start();
      taken[at]?.push(memoryOf(running.pid).dirtyMb);
    }
  }
  return {
    reads,
    layers: layers.map(({ name, on }, at) => ({
      name,
      on,
      dirtyMb: summarize(taken[at] ?? []),
    })),
  };
}

export function layersText({ reads, layers }: LayersResult): string {
  const mbByName = new Map(layers.map(({ name, dirtyMb }) => [name, dirtyMb.median]));
  const rows = layers.map(({ name, on, dirtyMb }): Row => {
    const before = on === undefined ? undefined : mbByName.get(on);
    const more = before === undefined ? '' : (dirtyMb.median - before).toFixed(1);
    return [name, spread(dirtyMb), more, before === undefined ? '' : `than ${on}`];
  });
  return [
    `Memory of an idle process by what is in it, after one full collection: median of ${reads} (lowest–highest)`,
    table(['', 'dirty MB', 'more', ''], rows),
  ].join('\n');
}
