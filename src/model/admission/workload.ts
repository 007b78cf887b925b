// Finds the Pod in whatever makes Pods: its fields, its labels, and by what name people know the object.
import { isPlainObject, type PlainObject } from '../policy/reader.ts';
import { WORKLOAD_KINDS, type WorkloadKind } from './types.ts';

export interface Workload {
  readonly kind: WorkloadKind;
  readonly namespace: string;
  /** Of one whose name the API server has yet to make up, what it begins with. */
  readonly name: string;
  /** Of the Pods that it makes. */
  readonly labels: PlainObject;
  readonly annotations: PlainObject;
  /** Of the Pod. */
  readonly spec: PlainObject;
  readonly isDeleting: boolean;
}

const TEMPLATE = ['spec', 'template'];

interface Place {
  readonly apiVersion: string;
  /** What the API server calls its collection. */
  readonly plural: string;
  /** From the object to the Pod, or the template of one. */
  readonly path: readonly string[];
}

export const WORKLOAD_PLACES: Readonly<Record<WorkloadKind, Place>> = {
  Pod: { apiVersion: 'v1', plural: 'pods', path: [] },
  Deployment: { apiVersion: 'apps/v1', plural: 'deployments', path: TEMPLATE },
  StatefulSet: { apiVersion: 'apps/v1', plural: 'statefulsets', path: TEMPLATE },
  DaemonSet: { apiVersion: 'apps/v1', plural: 'daemonsets', path: TEMPLATE },
  ReplicaSet: { apiVersion: 'apps/v1', plural: 'replicasets', path: TEMPLATE },
  ReplicationController: { apiVersion: 'v1', plural: 'replicationcontrollers', path: TEMPLATE },
  Job: { apiVersion: 'batch/v1', plural: 'jobs', path: TEMPLATE },
  CronJob: {
    apiVersion: 'batch/v1',
    plural: 'cronjobs',
    path: ['spec', 'jobTemplate', 'spec', 'template'],
  },
  PodTemplate: { apiVersion: 'v1', plural: 'podtemplates', path: ['template'] },
};

/** A mapping; what is absent, or none, is empty. */
export function objectIn(owner: PlainObject, ...path: readonly string[]): PlainObject {
  let value: unknown = owner;
  for (const key of path) value = isPlainObject(value) ? value[key] : undefined;
  return isPlainObject(value) ? value : {};
}

const textIn = (owner: PlainObject, key: string): string => {
  const value = owner[key];
  return typeof value === 'string' ? value : '';
};

/** Namespace of a manifest that names none, as with kubectl. */
const DEFAULT_NAMESPACE = 'default';

/** @returns `undefined` when it makes no Pods. */
export function readWorkload(object: PlainObject): Workload | undefined {
  const kind = WORKLOAD_KINDS.find(
    (known) =>
      known === object['kind'] && WORKLOAD_PLACES[known].apiVersion === object['apiVersion'],
  );
  if (kind === undefined) return undefined;
  const metadata = objectIn(object, 'metadata');
  const { path } = WORKLOAD_PLACES[kind];
  const pod = objectIn(object, ...path);
  const name = textIn(metadata, 'name');
  return {
    kind,
    namespace: textIn(metadata, 'namespace') || DEFAULT_NAMESPACE,
    name: name === '' ? `${textIn(metadata, 'generateName')}…` : name,
    labels: objectIn(pod, 'metadata', 'labels'),
    annotations: objectIn(pod, 'metadata', 'annotations'),
    spec: objectIn(pod, 'spec'),
    isDeleting: typeof metadata['deletionTimestamp'] === 'string',
  };
}

export type ContainerList = 'initContainers' | 'containers' | 'ephemeralContainers';
const LISTS: readonly ContainerList[] = ['initContainers', 'containers', 'ephemeralContainers'];

/** One container, and in which list it stands. */
export interface PodContainer {
  readonly list: ContainerList;
  readonly name: string;
  readonly container: PlainObject;
}

/** A list's mappings. What is no list has none; the API server lets nothing of the kind by. */
export const listIn = (owner: PlainObject, key: string): readonly PlainObject[] => {
  const list = owner[key];
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};

export const containersOf = (spec: PlainObject): readonly PodContainer[] =>
  LISTS.flatMap((list) =>
    listIn(spec, list).map((container) => ({ list, name: textIn(container, 'name'), container })),
  );
