// Where everything of the demo is: addresses, ports and folders, and the Pods that go with them.
import net from 'node:net';

export type WorkloadName = 'web' | 'prices' | 'stock';
export const WORKLOADS: readonly WorkloadName[] = ['web', 'prices', 'stock'];

/** The workload's port, as others call it and policies name it. */
export const WORKLOAD_PORT: Readonly<Record<WorkloadName, number>> = {
  web: 8080,
  prices: 9090,
  stock: 7070,
};
/** Where the application listens; only its own sidecar goes there. */
export const APP_PORT: Readonly<Record<WorkloadName, number>> = {
  web: 18_080,
  prices: 19_090,
  stock: 17_070,
};
/** Local ports through which a workload reaches the others. */
export const OUTBOUND_PORT: Readonly<Record<WorkloadName, number>> = {
  web: 9_000,
  prices: 9_001,
  stock: 9_002,
};
export const SERVICE: Readonly<Record<WorkloadName, string>> = {
  web: 'web.shop:80',
  prices: 'prices.shop:80',
  stock: 'stock.shop:7000',
};
/** An HTTP proxy for the workload's own calls. */
export const HTTP_PROXY_PORT = 9_080;
export const ADMIN_PORT = 15_000;

export interface Layout {
  readonly addressOf: Readonly<Record<WorkloadName, string>>;
  /** Where the control plane listens. */
  readonly controlPlane: string;
}

const HOST_NUMBER: Readonly<Record<WorkloadName, number>> = { web: 2, prices: 3, stock: 4 };

const layoutAt = (base: string): Layout => ({
  controlPlane: `${base}.1`,
  addressOf: {
    web: `${base}.${HOST_NUMBER.web}`,
    prices: `${base}.${HOST_NUMBER.prices}`,
    stock: `${base}.${HOST_NUMBER.stock}`,
  },
});

/** Networks of 127.0.0.0/8 that are tried. */
const FIRST_NETWORK = 10;
const LAST_NETWORK = 60;

/** The first loopback network whose ports nobody else uses, so that several demos run side by side. */
export async function findLayout(): Promise<Layout> {
  for (let network = FIRST_NETWORK; network <= LAST_NETWORK; network++) {
    const layout = layoutAt(`127.${network}.0`);
    if (await isFree(layout.addressOf.web, WORKLOAD_PORT.web)) return layout;
  }
  throw new Error(
    `Cannot run the demo: no free loopback address for port ${WORKLOAD_PORT.web}; is something bound to 0.0.0.0:${WORKLOAD_PORT.web}?`,
  );
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** The Pods of the three services, as the manifests' last file. */
export function podManifests(layout: Pick<Layout, 'addressOf'>): string {
  return WORKLOADS.map((name) => {
    const port = WORKLOAD_PORT[name];
    return `apiVersion: v1
kind: Pod
metadata:
  name: ${name}-0
  namespace: shop
  labels: { app: ${name} }
spec:
  serviceAccountName: ${name}
  containers:
    - name: app
      ports: [{ containerPort: ${port} }]
status:
  phase: Running
  podIP: ${layout.addressOf[name]}
`;
  }).join('---\n');
}
