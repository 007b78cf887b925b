// A real Kubernetes API for one test file: etcd, API server and controller manager, together or each alone stopped, killed and started again.
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@weft/kube/connect';
import { createKubeClient } from '@weft/kube/https-client';
import type { KubeClient } from '@weft/kube/kube-api';
import { programPath } from './go-tools.ts';
import { kubeconfigText, writeClusterKeys } from './kubelab-keys.ts';
import {
  type ClusterPlan,
  type Part,
  PARTS,
  type PartProcess,
  startPart,
  untilServing,
} from './kubelab-process.ts';

export { kubelabMissing } from './go-tools.ts';
export type { Part } from './kubelab-process.ts';

const PORT = 6443;

export interface KubelabOptions {
  /** For data, keys and kubeconfig; used again when it was used before, and kept. Default: a new one, removed at the end. */
  readonly dir?: string;
  /** Names of controllers; `[]` runs no controller manager. Default: those of everyday life. */
  readonly controllers?: readonly string[];
  /** Default `10.96.0.0/16`. */
  readonly serviceCidr?: string;
  /** More flags of kube-apiserver. */
  readonly apiserverArgs?: readonly string[];
  /** Written before each program and its arguments, such as `['ip', 'netns', 'exec', 'node']`; must end in `exec`. */
  readonly inside?: readonly string[];
  /** Where the API server listens. Default: a loopback address that no other cluster has, port 6443. */
  readonly bindAddress?: string;
  /** Where Pods reach it: the endpoint of the Service `kubernetes`, which has none without this. */
  readonly advertiseAddress?: string;
  /** Where this process reaches it. Default `advertiseAddress`, else where it listens. */
  readonly address?: string;
  /** More DNS names and addresses for its certificate. */
  readonly serverNames?: readonly string[];
}

export interface KubectlOptions {
  /** Standard input. */
  readonly input?: string;
  /** Default: the administrator's. */
  readonly kubeconfig?: string;
  readonly signal?: AbortSignal;
}

export interface KubectlEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Kubelab extends AsyncDisposable {
  /** Also holds `etcd.log`, `apiserver.log`, `controllers.log`. */
  readonly dir: string;
  /** Path of the administrator's kubeconfig; the same after a restart. */
  readonly kubeconfig: string;
  /** `https://ADDRESS:6443`; the same after a restart. */
  readonly server: string;
  /** PEM of the CA that issued the API server's certificate. */
  readonly caPem: string;
  /** The administrator's; lives across restarts. */
  readonly client: KubeClient;
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<KubectlEnd>;
  /** Number of its process. @throws Error when it does not run. */
  pid(part: Part): number;
  /** By SIGTERM, all or one alone; what does not run stays so. */
  stop(part?: Part): Promise<void>;
  /** By SIGKILL. */
  kill(part?: Part): Promise<void>;
  /** On the same address and data what does not run; returns when it is ready, and the API server again if it runs. */
  start(part?: Part): Promise<void>;
  /** `kill`, then `start`. */
  restart(part?: Part): Promise<void>;
}

/** 127.x.y.z: no outgoing connection takes port 6443 of it while the API server is stopped, as it could a free port's. */
const loopbackAddress = (): string =>
  `127.${randomInt(64, 256)}.${randomInt(256)}.${randomInt(1, 255)}`;

/** Of the Service `kubernetes`: the first of the range. */
function firstService(cidr: string): string {
  const [address = ''] = cidr.split('/');
  const last = address.lastIndexOf('.');
  return `${address.slice(0, last)}.${Number(address.slice(last + 1)) + 1}`;
}

function ownAddressOf(dir: string): string {
  const file = join(dir, 'address');
  if (!existsSync(file)) writeFileSync(file, loopbackAddress());
  return readFileSync(file, 'utf8');
}

function planOf(dir: string, options: KubelabOptions): ClusterPlan {
  const { serviceCidr = '10.96.0.0/16', advertiseAddress, serverNames = [] } = options;
  const ownAddress = ownAddressOf(dir);
  const bindAddress = options.bindAddress ?? ownAddress;
  const address = options.address ?? advertiseAddress ?? bindAddress;
  const server = `https://${address.includes(':') ? `[${address}]` : address}:${PORT}`;
  const inCluster = ['', '.default', '.default.svc', '.default.svc.cluster.local'];
  const keys = writeClusterKeys(join(dir, 'keys'), [
    ...inCluster.map((end) => `kubernetes${end}`),
    ...new Set([firstService(serviceCidr), ownAddress, address, ...serverNames]),
  ]);
  const kubeconfig = join(dir, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigText(server, keys.caPem, keys.admin), { mode: 0o600 });
  return {
    dir,
    keys,
    kubeconfig,
    server,
    port: PORT,
    bindAddress,
    advertiseAddress,
    ownAddress,
    serviceCidr,
    controllers: options.controllers,
    apiserverArgs: options.apiserverArgs ?? [],
    inside: options.inside ?? [],
  };
}

function runKubectl(
  dir: string,
  args: readonly string[],
  options: KubectlOptions & { readonly kubeconfig: string },
): Promise<KubectlEnd> {
  const program = programPath('kubectl');
  if (program === undefined) throw new Error('Cannot run kubectl: there is none');
  const { kubeconfig, input = '', signal } = options;
  const child = spawn(program, args, {
    // HOME: its cache, and no preferences of whoever runs the tests.
    env: { ...process.env, KUBECONFIG: kubeconfig, HOME: dir },
    ...(signal !== undefined && { signal }),
  });
  const told = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (told.stderr += text));
  // It may end without having read all: what it then says is the answer.
  child.stdin.on('error', () => undefined).end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? -1, ...told }));
  });
}

class Parts {
  readonly #plan: ClusterPlan;
  readonly #all: readonly Part[];
  readonly #running = new Map<Part, PartProcess>();

  constructor(plan: ClusterPlan) {
    this.#plan = plan;
    const hasControllers = plan.controllers === undefined || plan.controllers.length > 0;
    this.#all = hasControllers ? PARTS : PARTS.filter((part) => part !== 'controllers');
  }

  #chosen(part: Part | undefined): readonly Part[] {
    return part === undefined ? this.#all : [part];
  }

  #isRunning(part: Part): boolean {
    return this.#running.get(part)?.isRunning() ?? false;
  }

  pid(part: Part): number {
    const found = this.#running.get(part);
    if (found === undefined || !found.isRunning()) throw new Error(`No ${part} is running`);
    return found.pid;
  }

  /** The API server's last words need etcd: the other way round than they started. */
  async stop(part?: Part): Promise<void> {
    for (const one of this.#chosen(part).toReversed()) await this.#running.get(one)?.end('SIGTERM');
  }

  async kill(part?: Part): Promise<void> {
    const all = this.#chosen(part).flatMap((one) => this.#running.get(one) ?? []);
    await Promise.all(all.map((one) => one.end('SIGKILL')));
  }

  async start(part?: Part): Promise<void> {
    for (const one of this.#chosen(part)) {
      if (!this.#isRunning(one)) this.#running.set(one, await startPart(this.#plan, one));
    }
    if (this.#isRunning('apiserver')) await untilServing(this.#plan);
  }
}

/** @throws Error when it is not ready in time; ask `kubelabMissing()` first. */
export async function startKubelab(options: KubelabOptions = {}): Promise<Kubelab> {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'weft-kubelab-'));
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const plan = planOf(dir, options);
  const { kubeconfig, server, keys } = plan;
  const parts = new Parts(plan);
  const end = async (): Promise<void> => {
    await parts.kill();
    if (options.dir === undefined) rmSync(dir, { recursive: true, force: true });
  };
  try {
    await parts.start();
  } catch (error) {
    await end();
    throw error;
  }
  const connection = connect({ kubeconfig });
  const client = createKubeClient(connection);
  return {
    dir,
    kubeconfig,
    server,
    caPem: keys.caPem,
    client,
    kubectl: (args, more) => runKubectl(dir, args, { kubeconfig, ...more }),
    pid: (part) => parts.pid(part),
    stop: (part) => parts.stop(part),
    kill: (part) => parts.kill(part),
    start: (part) => parts.start(part),
    async restart(part) {
      await parts.kill(part);
      await parts.start(part);
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      connection[Symbol.dispose]();
      await end();
    },
  };
}
