// Fills a real API server with a mesh for the benchmark: Pods that nobody runs, with the status that a kubelet would write.
import type { KubeClient, KubeObject, KubeResult } from '@weft/kube/kube-api';
import { NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES } from '@weft/kube/resource';

/** Requests at once: the API server of a benchmark has a core or two. */
const AT_ONCE = 32;
export const NAMESPACE = 'bench';
export const PORT = 8080;
const SERVICE_SIZE = 10;
const APPLY = { fieldManager: 'benchmark', isForced: true } as const;

/** Service account of a Pod: ten Pods share one, as replicas do. */
export const accountOf = (n: number): string => `app-${Math.floor(n / SERVICE_SIZE)}`;
export const podOf = (n: number): string => `pod-${n}`;

/** @throws Error when the API server refuses: a cluster that is not whole measures nothing. */
function must<T>(result: KubeResult<T>): T {
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

async function forEach(count: number, run: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) await run(n);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
}

export async function createNamespace(client: KubeClient, name: string): Promise<void> {
  const labels = { 'weft.dev/injection': 'enabled' };
  must(
    await client.apply(
      NAMESPACES,
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } },
      APPLY,
    ),
  );
}

/** As the injector leaves a Pod, as far as the control plane reads it, with the bulk that a real one has. */
const podObject = (n: number): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: podOf(n),
    namespace: NAMESPACE,
    labels: { app: accountOf(n), version: 'v1' },
    annotations: { 'weft.dev/injected': '{"version":"benchmark"}' },
  },
  spec: {
    serviceAccountName: accountOf(n),
    automountServiceAccountToken: false,
    containers: [
      {
        name: 'app',
        image: 'registry.example/app:1',
        ports: [{ name: 'http', containerPort: PORT }],
        env: Array.from({ length: 10 }, (_, at) => ({
          name: `SETTING_${at}`,
          value: `value ${at}`,
        })),
      },
      { name: 'weft-sidecar', image: 'weft/sidecar:1' },
    ],
  },
});

const ipOf = (n: number): string => `10.${64 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;

const runningStatus = (n: number): object => ({
  status: {
    phase: 'Running',
    podIP: ipOf(n),
    podIPs: [{ ip: ipOf(n) }],
    conditions: ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map((type) => ({
      type,
      status: 'True',
    })),
  },
});

export async function createPod(client: KubeClient, n: number): Promise<void> {
  must(await client.create(PODS, podObject(n)));
  must(
    await client.patch(
      PODS,
      { namespace: NAMESPACE, name: podOf(n) },
      { type: 'merge', patch: runningStatus(n), subresource: 'status' },
    ),
  );
}

/** `pods` of them, ten behind each Service. */
export async function fillCluster(client: KubeClient, pods: number): Promise<void> {
  await createNamespace(client, NAMESPACE);
  const services = Math.ceil(pods / SERVICE_SIZE);
  await forEach(services, async (at) => {
    const name = accountOf(at * SERVICE_SIZE);
    const metadata = { name, namespace: NAMESPACE };
    must(
      await client.apply(
        SERVICE_ACCOUNTS,
        { apiVersion: 'v1', kind: SERVICE_ACCOUNTS.kind, metadata },
        APPLY,
      ),
    );
    const ports = [{ name: 'http', port: 80, targetPort: PORT }];
    const spec = { selector: { app: name }, ports };
    must(
      await client.apply(SERVICES, { apiVersion: 'v1', kind: 'Service', metadata, spec }, APPLY),
    );
  });
  await forEach(pods, (n) => createPod(client, n));
}
