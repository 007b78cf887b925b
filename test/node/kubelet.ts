// Watches the Pods of one node and has a worker for each; registers the node and keeps what its Pods are made of.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { CONFIG_MAPS, NODES, PODS, SECRETS } from '@weft/kube/resource';
import { type ObjectCache, startObjectCache } from './object-cache.ts';
import { asPod, type Pod, podKey } from './pod.ts';
import { type NodeContext, PodWorker } from './pod-worker.ts';

export type KubeletOptions = Omit<NodeContext, 'sourcesIn'>;

export interface ContainerLog {
  /** `web-0`: the container and how often it had been started again. */
  readonly key: string;
  readonly text: string;
}

export interface Kubelet extends AsyncDisposable {
  /** @throws Error when no such Pod runs here. */
  pod(namespace: string, name: string): PodWorker;
  pods(): readonly PodWorker[];
  /** Of all containers of a Pod that is here or was. */
  logs(namespace: string, name: string): readonly ContainerLog[];
  /** The API server is back: cuts waits short. */
  retryNow(): void;
}

/** As the API server writes it after the node has told that it is well. */
async function registerNode(client: KubeClient, name: string, address: string): Promise<void> {
  const made = await client.create(NODES, {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux' } },
  });
  if (!made.ok && made.reason !== 'AlreadyExists') throw new Error(made.message);
  const now = new Date().toISOString();
  const ready = { type: 'Ready', status: 'True', reason: 'KubeletReady' };
  const capacity = { cpu: '16', memory: '64Gi', pods: '240' };
  const told = await client.patch(
    NODES,
    { name },
    {
      type: 'merge',
      subresource: 'status',
      patch: {
        status: {
          capacity,
          allocatable: capacity,
          addresses: [
            { type: 'InternalIP', address },
            { type: 'Hostname', address: name },
          ],
          conditions: [{ ...ready, lastHeartbeatTime: now, lastTransitionTime: now }],
        },
      },
    },
  );
  if (!told.ok) throw new Error(told.message);
}

export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { client, name, network, onProblem } = options;
  await registerNode(client, name, network.address);
  const workers = new Map<string, PodWorker>();
  const refreshAll = (): void => {
    for (const worker of workers.values()) {
      worker.refresh().catch((error: unknown) => onProblem(String(error)));
    }
  };
  const cache = (resource: typeof CONFIG_MAPS): ObjectCache =>
    startObjectCache({ client, resource, onChanged: refreshAll });
  const configMaps = cache(CONFIG_MAPS);
  const secrets = cache(SECRETS);
  const context: NodeContext = {
    ...options,
    sourcesIn: (namespace) => ({
      configMap: (name) => configMaps.get(namespace, name),
      secret: (name) => secrets.get(namespace, name),
    }),
  };
  const take = (pod: Pod): void => {
    const { uid } = pod.metadata;
    const known = workers.get(uid);
    if (known !== undefined) {
      known.update(pod);
      return;
    }
    if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return;
    const worker = new PodWorker(pod, context);
    workers.set(uid, worker);
    worker.start();
  };
  const drop = (uid: string): void => {
    const worker = workers.get(uid);
    workers.delete(uid);
    worker?.kill().catch((error: unknown) => onProblem(String(error)));
  };
  const listWatch: ListWatch = startListWatch<Pod>({
    client,
    resources: [PODS],
    fieldSelector: `spec.nodeName=${name}`,
    read: asPod,
    onListed(pods) {
      const uids = new Set(pods.map(({ metadata }) => metadata.uid));
      for (const uid of workers.keys()) if (!uids.has(uid)) drop(uid);
      pods.forEach(take);
    },
    onChanged: take,
    onDeleted: (object: KubeObject) => drop(asPod(object).metadata.uid),
  });
  const find = (namespace: string, podName: string): PodWorker => {
    const key = `${namespace}/${podName}`;
    for (const worker of workers.values()) if (podKey(worker.pod) === key) return worker;
    throw new Error(`Cannot find Pod ${key}: it does not run on this node`);
  };
  return {
    pod: find,
    pods: () => [...workers.values()],
    logs: (namespace, podName) =>
      readLogs(join(options.folder, 'logs'), `${namespace}_${podName}_`),
    retryNow() {
      for (const one of [listWatch, configMaps, secrets]) one.retryNow();
    },
    async [Symbol.asyncDispose]() {
      await listWatch[Symbol.asyncDispose]();
      await Promise.all([...workers.values()].map((worker) => worker.kill()));
      await configMaps[Symbol.asyncDispose]();
      await secrets[Symbol.asyncDispose]();
    },
  };
}

/** In the order of the runs. */
function readLogs(folder: string, prefix: string): readonly ContainerLog[] {
  if (!existsSync(folder)) return [];
  const pods = readdirSync(folder).filter((name) => name.startsWith(prefix));
  const files = pods.flatMap((pod) =>
    readdirSync(join(folder, pod)).map((name) => ({ name, path: join(folder, pod, name) })),
  );
  return files
    .map(({ name, path }) => ({ key: name.slice(0, -'.log'.length), path }))
    .toSorted((a, b) => statSync(a.path).birthtimeMs - statSync(b.path).birthtimeMs)
    .map(({ key, path }) => ({ key, text: readFileSync(path, 'utf8') }));
}
