// A large cluster as its API server sends it: pages of JSON as long as real ones, with all that the mesh has no use for.
import type { KubeClient, KubeObject, WatchEvent } from '@weft/kube/kube-api';
import {
  ENDPOINT_SLICES,
  type KubeResource,
  NAMESPACES,
  PODS,
  resourceName,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '@weft/kube/resource';

export interface ClusterSize {
  readonly pods: number;
  readonly services: number;
}

const NAMESPACE_COUNT = 50;
const FIRST_VERSION = 1_000;
const uidOf = (text: string): string => Buffer.from(text.padEnd(16, '-')).toString('hex');
const namespaceOf = (service: number): string => `team-${service % NAMESPACE_COUNT}`;
const ipOf = (pod: number): string => `10.${(pod >> 16) & 255}.${(pod >> 8) & 255}.${pod & 255}`;
const CREATED = '2026-03-01T08:00:00Z';

const managedFields = (manager: string, fields: readonly string[]): object => ({
  manager,
  operation: 'Update',
  apiVersion: 'v1',
  time: CREATED,
  fieldsType: 'FieldsV1',
  fieldsV1: Object.fromEntries(fields.map((field) => [`f:${field}`, { '.': {}, 'f:name': {} }])),
});

const metaOf = (name: string, namespace: string, more: object = {}): object => ({
  name,
  namespace,
  uid: uidOf(`${namespace}/${name}`),
  resourceVersion: String(FIRST_VERSION),
  creationTimestamp: CREATED,
  managedFields: [managedFields('kube-controller-manager', ['spec', 'metadata', 'labels'])],
  ...more,
});

const CONDITIONS = [
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
];

/** As a Deployment's Pod with a sidecar: about 7 KB of JSON. */
export function podOf(index: number, services: number, version = FIRST_VERSION): KubeObject {
  const service = index % services;
  const app = `app-${service}`;
  const name = `${app}-5d8f7c9b6d-${index.toString(36).padStart(5, '0')}`;
  const env = Array.from({ length: 20 }, (_, n) => ({
    name: `SETTING_${n}`,
    value: `value of ${n} for ${app}`,
  }));
  const container = (of: string): object => ({
    name: of,
    image: `registry.example/${app}/${of}:1.2.3`,
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    env,
    resources: {
      limits: { cpu: '1', memory: '512Mi' },
      requests: { cpu: '100m', memory: '128Mi' },
    },
    readinessProbe: { httpGet: { path: '/ready', port: 8080, scheme: 'HTTP' }, periodSeconds: 10 },
    volumeMounts: [{ name: 'token', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }],
    imagePullPolicy: 'IfNotPresent',
  });
  const statusOf = (of: string): object => ({
    name: of,
    ready: true,
    restartCount: 0,
    image: `registry.example/${app}/${of}:1.2.3`,
    imageID: `registry.example/${app}/${of}@sha256:${uidOf(app)}${uidOf(of)}`,
    containerID: `containerd://${uidOf(name)}${uidOf(of)}`,
    state: { running: { startedAt: CREATED } },
  });
  return {
    metadata: metaOf(name, namespaceOf(service), {
      resourceVersion: String(version),
      generateName: `${app}-5d8f7c9b6d-`,
      labels: {
        app,
        'app.kubernetes.io/name': app,
        'app.kubernetes.io/part-of': 'shop',
        'app.kubernetes.io/version': '1.2.3',
        'pod-template-hash': '5d8f7c9b6d',
      },
      annotations: {
        'weft.dev/injected':
          '{"version":"0.1.0","containers":["weft-sidecar"],"volumes":["weft-token","weft-bundle"]}',
        'prometheus.io/scrape': 'true',
        'example.com/config-checksum': uidOf(app),
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${app}-5d8f7c9b6d`,
          uid: uidOf(app),
          controller: true,
        },
      ],
      managedFields: [
        managedFields('kube-controller-manager', [
          'metadata',
          'spec',
          'labels',
          'containers',
          'env',
        ]),
        managedFields('kubelet', ['status', 'conditions', 'podIP', 'podIPs', 'containerStatuses']),
      ],
    }),
    spec: {
      serviceAccountName: app,
      nodeName: `node-${index % 100}`,
      containers: [container('app'), container('sidecar')],
      volumes: [
        { name: 'token', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
      ],
      tolerations: [
        {
          key: 'node.kubernetes.io/not-ready',
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds: 300,
        },
      ],
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
    },
    status: {
      phase: 'Running',
      podIP: ipOf(index),
      podIPs: [{ ip: ipOf(index) }],
      hostIP: '192.168.0.1',
      qosClass: 'Burstable',
      startTime: CREATED,
      conditions: CONDITIONS.map((type) => ({ type, status: 'True', lastTransitionTime: CREATED })),
      containerStatuses: [statusOf('app'), statusOf('sidecar')],
    },
  };
}

function serviceOf(index: number): KubeObject {
  const app = `app-${index}`;
  return {
    metadata: metaOf(app, namespaceOf(index), { labels: { app } }),
    spec: {
      type: 'ClusterIP',
      clusterIP: `10.96.${index >> 8}.${index & 255}`,
      clusterIPs: [`10.96.${index >> 8}.${index & 255}`],
      selector: { app },
      ports: [{ name: 'http', port: 80, targetPort: 'http', protocol: 'TCP', appProtocol: 'http' }],
    },
  };
}

function sliceOf(index: number, { pods, services }: ClusterSize): KubeObject {
  const app = `app-${index}`;
  const own = Array.from(
    { length: Math.ceil((pods - index) / services) },
    (_, n) => index + n * services,
  );
  return {
    metadata: metaOf(`${app}-x7k2p`, namespaceOf(index), {
      labels: { 'kubernetes.io/service-name': app },
    }),
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP', appProtocol: 'http' }],
    endpoints: own.map((pod) => ({
      addresses: [ipOf(pod)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${pod % 100}`,
      targetRef: {
        kind: 'Pod',
        name: `${app}-5d8f7c9b6d-${pod.toString(36).padStart(5, '0')}`,
        namespace: namespaceOf(index),
        uid: uidOf(`${pod}`),
      },
    })),
  };
}

type Make = (index: number) => KubeObject;

function contentOf(size: ClusterSize): ReadonlyMap<string, readonly [count: number, make: Make]> {
  const { pods, services } = size;
  return new Map<string, readonly [number, Make]>([
    [
      resourceName(NAMESPACES),
      [
        NAMESPACE_COUNT,
        (n) => ({
          metadata: {
            name: `team-${n}`,
            uid: uidOf(`team-${n}`),
            labels: { 'kubernetes.io/metadata.name': `team-${n}` },
          },
        }),
      ],
    ],
    [
      resourceName(SERVICE_ACCOUNTS),
      [services, (n) => ({ metadata: metaOf(`app-${n}`, namespaceOf(n)) })],
    ],
    [resourceName(SERVICES), [services, serviceOf]],
    [resourceName(ENDPOINT_SLICES), [services, (n) => sliceOf(n, size)]],
    [resourceName(PODS), [pods, (n) => podOf(n, services)]],
  ]);
}

export interface PagedCluster {
  readonly client: Pick<KubeClient, 'get' | 'list' | 'watch'>;
  /** Of all pages that were asked for. */
  readonly sent: { pages: number; bytes: number };
  /** As the watch of that resource brings it. */
  send(resource: KubeResource, event: WatchEvent): void;
}

/** Every page is written as JSON and read again, as if it had come over a connection. */
export function createPagedCluster(size: ClusterSize): PagedCluster {
  const contents = contentOf(size);
  const listeners = new Map<string, (event: WatchEvent) => void>();
  const sent = { pages: 0, bytes: 0 };
  return {
    sent,
    send: (resource, event) => listeners.get(resourceName(resource))?.(event),
    client: {
      get: () => Promise.reject(new Error('Cannot get: everything is listed')),
      async list(resource, { limit = 500, continueToken = '0' } = {}) {
        const [count, make] = contents.get(resourceName(resource)) ?? [0, () => ({})];
        const from = Number(continueToken);
        const end = Math.min(from + limit, count);
        const made = Array.from({ length: end - from }, (_, n) => make(from + n));
        const body = Buffer.from(JSON.stringify(made));
        sent.pages += 1;
        sent.bytes += body.length;
        const items = JSON.parse(body.toString('utf8')) as KubeObject[];
        const next = end < count ? String(end) : undefined;
        return {
          ok: true,
          value: { items, resourceVersion: String(FIRST_VERSION), continueToken: next },
        };
      },
      async watch(resource, { onOpen, onEvent, signal }) {
        onOpen?.();
        listeners.set(resourceName(resource), onEvent);
        const { promise, resolve } = Promise.withResolvers<void>();
        signal.addEventListener('abort', () => resolve(), { once: true });
        await promise;
        return { ok: true };
      },
    },
  };
}
