// Kubernetes objects for tests on a node, with what most of them have in common already said.
import type { KubeObject } from '@weft/kube/kube-api';

export interface Named {
  readonly name: string;
  readonly namespace: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export type PodSpecFields = Readonly<Record<string, unknown>>;

/** A container of an image of the test applications; further fields as they are. */
export const container = (name: string, image: string, fields: PodSpecFields = {}): object => ({
  name,
  image,
  ...fields,
});

/** One second of period: the node's own shorter one takes its place. */
export const httpProbe = (path: string, port: number | string, fields: object = {}): object => ({
  httpGet: { path, port },
  periodSeconds: 1,
  ...fields,
});

/** Killed when that fails, but not while it starts, and not by a machine that is slow for a while. */
export const livesBy = (action: object): PodSpecFields => ({
  startupProbe: { ...action, periodSeconds: 1, failureThreshold: 60 },
  livenessProbe: { ...action, periodSeconds: 1, timeoutSeconds: 10 },
});

export const env = (values: Readonly<Record<string, string>>): readonly object[] =>
  Object.entries(values).map(([name, value]) => ({ name, value }));

interface EchoFields {
  /** Beside the port, which is theirs. */
  readonly variables?: Readonly<Record<string, string>>;
  readonly fields?: PodSpecFields;
}

/** Answers HTTP at 8080, its port `http`, and is ready while its `/readyz` says so. */
export const httpEcho = ({ variables, fields }: EchoFields = {}): object =>
  container('http', 'test/http-echo', {
    env: env({ PORT: '8080', ...variables }),
    ports: [{ name: 'http', containerPort: 8080 }],
    readinessProbe: httpProbe('/readyz', 'http'),
    ...fields,
  });

/** Answers gRPC at 9090, its port `grpc`, and is ready when its health service says so. */
export const grpcEcho = ({ variables, fields }: EchoFields = {}): object =>
  container('grpc', 'test/grpc-echo', {
    env: env({ PORT: '9090', ...variables }),
    ports: [{ name: 'grpc', containerPort: 9090 }],
    readinessProbe: { grpc: { port: 9090 }, periodSeconds: 1 },
    ...fields,
  });

/** Sends back what it reads at 7070, its port `tcp`. */
export const tcpEcho = ({ variables, fields }: EchoFields = {}): object =>
  container('tcp', 'test/tcp-echo', {
    env: env({ PORT: '7070', ...variables }),
    ports: [{ name: 'tcp', containerPort: 7070 }],
    ...fields,
  });

export const namespaceObject = (name: string, labels: Readonly<Record<string, string>> = {}) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
});

export const podObject = (metadata: Named, spec: PodSpecFields): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata,
  spec,
});

/** Its Pods have the label `app` with its name. */
export const deploymentObject = (
  { name, namespace, annotations }: Named,
  {
    replicas,
    pod,
    ...more
  }: { readonly replicas: number; readonly pod: PodSpecFields; readonly strategy?: object },
): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name }, annotations: annotations ?? {} }, spec: pod },
    ...more,
  },
});

/** Of the Pods with the label `app`; by name of port, number and target. */
export const serviceObject = (
  { name, namespace }: Named,
  ports: readonly object[],
  fields: PodSpecFields = {},
): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec: { selector: { app: name }, ports, ...fields },
});
