// A shop in a mesh for one test file: `prices` is called all the time by `loops`, over HTTP and gRPC, and by `web` when it is told to.
import assert from 'node:assert/strict';
import { eventually } from '../support/lab-wait.ts';
import { callerPod, type MeshNode, serviceAccount } from './mesh-node.ts';
import {
  deploymentObject,
  grpcEcho,
  httpEcho,
  type PodSpecFields,
  serviceObject,
} from './objects.ts';
import { type Loop, loopContainer, markTraffic, type Traffic } from './traffic.ts';

export const SHOP = 'shop';
export const LOOPS: readonly Loop[] = [
  { kind: 'http', target: 'http://prices.shop/x' },
  { kind: 'http-kept', target: 'http://prices.shop/x' },
  { kind: 'grpc', target: 'prices.shop:9090' },
  { kind: 'grpc-kept', target: 'prices.shop:9090' },
];

const ROLLING = { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } };
const GONE_MS = 30_000;
const BACK_MS = 60_000;

export interface Certs {
  readonly certificate: {
    readonly serial: string;
    readonly spiffeId: string;
    readonly chain: readonly { readonly subject?: string }[];
  };
  readonly roots: readonly { readonly fingerprint256: string }[];
}

export interface Shop {
  /** Of the loops in the Pod that has them now, or in this one; they run when it returns. */
  traffic(pod?: string): Promise<Traffic>;
  podsOf(app: string): Promise<readonly string[]>;
  /** Waits until these Pods of an app are no more. */
  areGone(app: string, pods: readonly string[]): Promise<void>;
  /** What the sidecar of a Pod has. */
  certsOf(pod: string): Promise<Certs>;
  /** Ends the program of a container so, and waits until it is there and ready again. */
  end(pod: string, container: string, signal: NodeJS.Signals): Promise<void>;
}

interface ContainerStatus {
  readonly name: string;
  readonly restartCount: number;
  readonly ready: boolean;
}

/** HTTP and gRPC; after SIGTERM both go on for so long. */
export const pricesPod = (lameDuckMs: number): PodSpecFields => ({
  serviceAccountName: 'prices',
  containers: [
    httpEcho({ variables: { LAME_DUCK_MS: String(lameDuckMs) } }),
    grpcEcho({ variables: { LAME_DUCK_MS: String(lameDuckMs) } }),
  ],
});

/** @param options.lameDuckMs of `prices`, of which there are two. */
export async function openShop(
  mesh: MeshNode,
  options: { readonly lameDuckMs: number },
): Promise<Shop> {
  const named = (name: string) => ({ name, namespace: SHOP });
  await mesh.namespace(SHOP);
  await mesh.apply(
    serviceAccount(SHOP, 'web'),
    serviceAccount(SHOP, 'prices'),
    deploymentObject(named('prices'), {
      replicas: 2,
      pod: pricesPod(options.lameDuckMs),
      strategy: ROLLING,
    }),
    serviceObject(named('prices'), [
      { name: 'http', port: 80, targetPort: 'http' },
      { name: 'grpc', port: 9090, targetPort: 'grpc' },
    ]),
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'strict', namespace: SHOP },
      spec: { mtls: { mode: 'STRICT' } },
    },
  );
  await mesh.rolledOut(SHOP, 'prices');
  const loops = {
    serviceAccountName: 'web',
    terminationGracePeriodSeconds: 20,
    containers: LOOPS.map(loopContainer),
  };
  await mesh.apply(
    deploymentObject(named('loops'), { replicas: 1, pod: loops, strategy: ROLLING }),
    deploymentObject(named('web'), { replicas: 1, pod: callerPod('web') }),
  );
  for (const name of ['loops', 'web']) await mesh.rolledOut(SHOP, name);
  return shopOf(mesh);
}

function shopOf(mesh: MeshNode): Shop {
  const statusOf = async (pod: string, name: string): Promise<ContainerStatus> => {
    const text = await mesh.kubectl('get', 'pod', pod, '-n', SHOP, '-o=json');
    const { status } = JSON.parse(text);
    const all: ContainerStatus[] = [
      ...(status.initContainerStatuses ?? []),
      ...status.containerStatuses,
    ];
    const found = all.find((one) => one.name === name);
    assert.ok(found, `${pod} has no container ${name}`);
    return found;
  };
  const podsOf = (app: string): Promise<readonly string[]> => mesh.podsOf(SHOP, app);
  return {
    podsOf,
    async traffic(pod) {
      const from = pod ?? (await podsOf('loops'))[0];
      const marked = markTraffic(LOOPS, (name) => mesh.node.logs(`${SHOP}/${from}`, name));
      await marked.flows();
      return marked;
    },
    async areGone(app, pods) {
      const list = ['get', 'pods', '-n', SHOP, '-l', `app=${app}`, '-o=name'];
      await eventually(
        async () => {
          const names = await mesh.kubectl(...list);
          return !pods.some((pod) => names.includes(pod));
        },
        { what: `the end of ${pods.join()}`, withinMs: GONE_MS, everyMs: 100 },
      );
    },
    async certsOf(pod) {
      const argv = ['weft', 'certs'];
      const { code, stdout, stderr } = await mesh.node.exec(`${SHOP}/${pod}`, 'weft-sidecar', argv);
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout);
    },
    async end(pod, name, signal) {
      const { restartCount } = await statusOf(pod, name);
      mesh.node.signal(`${SHOP}/${pod}`, name, signal);
      await eventually(
        async () => {
          const now = await statusOf(pod, name);
          return now.restartCount > restartCount && now.ready;
        },
        { what: `another ${name} in ${pod}`, withinMs: BACK_MS, everyMs: 50 },
      );
    },
  };
}
