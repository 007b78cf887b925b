// A Kubernetes cluster of one node for one test file: a real API server, and a kubelet, scheduler, proxy and resolver for real processes.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KubeClient } from '@weft/kube/kube-api';
import { PODS } from '@weft/kube/resource';
import {
  type Kubelab,
  type KubelabOptions,
  kubelabMissing,
  type KubectlEnd,
  type KubectlOptions,
  startKubelab,
} from '../support/kubelab.ts';
import { type CallEnd, type CallKind, readCallEnd } from './apps/calls.ts';
import { answerName } from './cluster-names.ts';
import { NO_PRIVILEGES, startContainer } from './container-process.ts';
import { startDnsServer } from './dns-server.ts';
import { CALLER, type Images, TEST_APPS } from './images.ts';
import { type Kubelet, startKubelet } from './kubelet.ts';
import { createNodeNetwork, type NodeNetwork } from './network.ts';
import {
  run,
  type CommandEnd,
  type CommandOptions,
  runToEnd,
  DIES_WITH_US,
} from './run-command.ts';
import { startScheduler } from './scheduler.ts';
import { startServiceProxy } from './service-proxy.ts';

export interface NodeOptions {
  /** Beside the test applications. */
  readonly images?: Images;
  /** Probes that have passed once come at least so often, before that every 100 ms. Default 500 ms. */
  readonly probePeriodMs?: number;
  readonly apiserverArgs?: KubelabOptions['apiserverArgs'];
  readonly controllers?: KubelabOptions['controllers'];
}

/** `namespace/name`; without a namespace it is `default`. */
export type PodName = string;

export interface CallFrom {
  readonly pod: PodName;
  readonly container: string;
}

export interface TestNode extends AsyncDisposable {
  readonly name: string;
  /** The node's own address: Pods' gateway, where probes and webhook calls come from. */
  readonly address: string;
  readonly podCidr: string;
  /** The administrator's. */
  readonly client: KubeClient;
  readonly kubeconfig: string;
  readonly cluster: Kubelab;
  /** Temporary folder of this node: `logs` and `pods`. */
  readonly folder: string;
  /** What went wrong that no status of a Pod tells. */
  readonly problems: readonly string[];
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<KubectlEnd>;
  /** A command in a container that runs, as its user. */
  exec(
    pod: PodName,
    container: string,
    argv: readonly string[],
    options?: CommandOptions,
  ): Promise<CommandEnd>;
  /** A command of this machine in the Pod's network, as root. */
  inNetworkOf(pod: PodName, argv: readonly string[], options?: CommandOptions): Promise<CommandEnd>;
  /** A command of this machine in the node's network, as root. */
  inNodeNetwork(argv: readonly string[], options?: CommandOptions): Promise<CommandEnd>;
  /** All that the container has written, over all its runs and, for a Pod of this name that came again, all its Pods. */
  logs(pod: PodName, container: string): string;
  /** A call by the test application `caller` from inside a container of its image. */
  call(from: CallFrom, kind: CallKind, target: string, text?: string): Promise<CallEnd>;
  podIp(pod: PodName): string;
  signal(pod: PodName, container: string, name: NodeJS.Signals): void;
  /** All its processes are killed at once, and the Pod is gone without an end of its own. */
  killPod(pod: PodName): Promise<void>;
  /** Its projected tokens are replaced, as a kubelet does before they expire. */
  rotateToken(pod: PodName): Promise<void>;
  stopApiServer(): Promise<void>;
  startApiServer(): Promise<void>;
  restartEtcd(): Promise<void>;
}

const NODE_NAME = 'node-1';
const PROBE_PERIOD_MS = 500;
const MAX_PROBLEMS = 1_000;

/** @returns why no node can be made here, or `undefined` when one can. */
export async function nodeMissing(): Promise<string | undefined> {
  const missing = kubelabMissing();
  if (missing !== undefined) return missing;
  if (process.getuid?.() !== 0) return 'a node of namespaces needs root';
  for (const command of [
    'ip',
    'iptables-restore',
    'unshare',
    'nsenter',
    'setpriv',
    'mount',
    'sysctl',
  ]) {
    const paths = (process.env['PATH'] ?? '').split(':');
    if (!paths.some((path) => existsSync(join(path, command)))) {
      return `a node of namespaces needs the command ${command} (Debian: apt-get install iproute2 iptables util-linux mount procps)`;
    }
  }
  try {
    await using network = await createNodeNetwork();
    return await whyNoContainers(network);
  } catch (error) {
    return `a node of namespaces cannot be made here: ${String(error)}`;
  }
}

/** Runs one that does nothing. */
async function whyNoContainers(network: NodeNetwork): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-node-'));
  try {
    const { ended } = await startContainer({
      argv: ['true'],
      env: {},
      workingDir: '/',
      hostname: 'probe',
      mounts: [],
      isRootReadOnly: true,
      privileges: NO_PRIVILEGES,
      enter: network.enter,
      etcFiles: {},
      stage: folder,
      logFile: join(folder, 'log'),
    });
    const { exitCode, setupFailure } = await ended;
    if (exitCode === 0) return undefined;
    return `containers cannot be made here: ${setupFailure ?? `code ${exitCode}`}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const split = (pod: PodName): readonly [namespace: string, name: string] => {
  const slash = pod.indexOf('/');
  return slash === -1 ? ['default', pod] : [pod.slice(0, slash), pod.slice(slash + 1)];
};

/** Port 53 of the node is this process's resolver. */
const leadDns = (network: NodeNetwork, port: number): Promise<string> =>
  run(
    [...network.enter, 'iptables-restore', '--noflush'],
    [
      '*nat',
      ...['PREROUTING', 'OUTPUT'].flatMap((chain) =>
        ['udp', 'tcp'].map(
          (protocol) =>
            `-A ${chain} -d ${network.address}/32 -p ${protocol} --dport 53 -j DNAT --to-destination ${network.testAddress}:${port}`,
        ),
      ),
      'COMMIT',
      '',
    ].join('\n'),
  );

/** @throws Error when it cannot be made; ask `nodeMissing()` first. */
export async function startNode(options: NodeOptions = {}): Promise<TestNode> {
  await using making = new AsyncDisposableStack();
  const problems: string[] = [];
  const onProblem = (text: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push(text);
  };
  const folder = mkdtempSync(join(tmpdir(), 'weft-node-'));
  making.defer(() => rmSync(folder, { recursive: true, force: true }));
  const stage = join(folder, 'stage');
  mkdirSync(stage);
  const network = making.use(await createNodeNetwork());
  const cluster = making.use(
    await startKubelab({
      inside: network.enter,
      bindAddress: '0.0.0.0',
      advertiseAddress: network.address,
      ...(options.apiserverArgs !== undefined && { apiserverArgs: options.apiserverArgs }),
      ...(options.controllers !== undefined && { controllers: options.controllers }),
    }),
  );
  const { client } = cluster;
  const proxy = making.use(await startServiceProxy({ client, network, onProblem }));
  const dns = making.use(
    await startDnsServer({
      address: network.testAddress,
      answer: (name, type) => answerName(proxy, name, type),
    }),
  );
  await leadDns(network, dns.port);
  const kubelet = making.use(
    await startKubelet({
      name: NODE_NAME,
      client,
      network,
      images: { ...TEST_APPS, ...options.images },
      clusterEnv: {
        KUBERNETES_SERVICE_HOST: '10.96.0.1',
        KUBERNETES_SERVICE_PORT: '443',
        KUBERNETES_SERVICE_PORT_HTTPS: '443',
      },
      folder,
      stage,
      probePeriodMs: options.probePeriodMs ?? PROBE_PERIOD_MS,
      onProblem,
    }),
  );
  const scheduler = making.use(startScheduler({ client, nodeName: NODE_NAME, onProblem }));
  const retryAll = (): void => {
    for (const one of [proxy, kubelet, scheduler]) one.retryNow();
  };
  const owned = making.move();
  return {
    name: NODE_NAME,
    address: network.address,
    podCidr: network.podCidr,
    client,
    kubeconfig: cluster.kubeconfig,
    cluster,
    folder,
    problems,
    kubectl: (args, more) => cluster.kubectl(args, more),
    ...podCalls(kubelet, client),
    inNodeNetwork: (argv, more) => runToEnd([...DIES_WITH_US, ...network.enter, ...argv], more),
    // In order it would wait for its watches, which last for minutes.
    stopApiServer: () => cluster.kill('apiserver'),
    async startApiServer() {
      await cluster.start('apiserver');
      retryAll();
    },
    async restartEtcd() {
      await cluster.restart('etcd');
      retryAll();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type PodCalls = Pick<
  TestNode,
  'call' | 'exec' | 'inNetworkOf' | 'logs' | 'podIp' | 'signal' | 'killPod' | 'rotateToken'
>;

function podCalls(kubelet: Kubelet, client: KubeClient): PodCalls {
  const find = (pod: PodName) => kubelet.pod(...split(pod));
  return {
    exec: (pod, container, argv, options) => find(pod).container(container).exec(argv, options),
    inNetworkOf: (pod, argv, options) =>
      runToEnd([...DIES_WITH_US, ...find(pod).enter, ...argv], options),
    logs(pod, container) {
      const all = kubelet.logs(...split(pod));
      const isOf = (key: string): boolean => key.slice(0, key.lastIndexOf('-')) === container;
      return all
        .filter(({ key }) => isOf(key))
        .map(({ text }) => text)
        .join('');
    },
    async call({ pod, container }, kind, target, text) {
      const argv = [...CALLER, 'once', kind, target, ...(text === undefined ? [] : [text])];
      const { code, stdout, stderr } = await find(pod).container(container).exec(argv);
      if (code !== 0) throw new Error(`Cannot call ${target} from ${pod}: ${stderr}`);
      return readCallEnd(stdout);
    },
    podIp: (pod) => find(pod).address ?? '',
    signal: (pod, container, name) => find(pod).container(container).signal(name),
    async killPod(pod) {
      const worker = find(pod);
      const [namespace, name] = split(pod);
      await worker.kill();
      const gone = await client.delete(PODS, { namespace, name }, { gracePeriodSeconds: 0 });
      if (!gone.ok && gone.code !== 404) throw new Error(gone.message);
    },
    rotateToken: (pod) => find(pod).renewTokens(),
  };
}
