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

export const env = (values: Readonly<Record<string, string>>): readonly object[] =>
  Object.entries(values).map(([name, value]) => ({ name, value }));

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
