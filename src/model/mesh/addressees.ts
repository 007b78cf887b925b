// Finds which ports of which workloads a name means: a Pod's, a Service's, or those of an app.
import { shown } from '../policy/reader.ts';
import type { Problem, Result } from '../problem.ts';
import type { Mesh, Workload } from './mesh.ts';
import type { PodObject, ServiceObject, ServicePortSpec, Snapshot } from './objects.ts';
import { matchesLabels } from '../policy/select.ts';

/** One port of one workload that is called. */
export interface Addressee {
  readonly workload: Workload;
  readonly port: number;
  /** `NAME.NAMESPACE` of the Service that was meant: what callers write as the host. */
  readonly host: string;
}

/** A mesh, and the objects it was compiled from. */
export interface Registry {
  readonly mesh: Mesh;
  readonly snapshot: Snapshot;
}

/** Labels by which an app is known when neither a Pod nor a Service has the name. */
const APP_LABELS: readonly string[] = ['app', 'app.kubernetes.io/name'];

/**
 * @param to `NAMESPACE/NAME` of a Pod, a Service or an app (label `app`), or `NAMESPACE/KEY=VALUE,…` for labels.
 * @param port the Service's or the workload's; absent: every port that is declared.
 */
export function findAddressees(
  registry: Registry,
  to: string,
  port: number | undefined,
): Result<readonly Addressee[]> {
  const [namespace = '', name = '', ...rest] = to.split('/');
  if (namespace === '' || name === '' || rest.length > 0) {
    return refuse('bad-name', `${shown(to)} names nothing`, 'write NAMESPACE/NAME: shop/web');
  }
  const own = [...registry.mesh.workloads.values()].filter((one) => one.namespace === namespace);
  const pod = own.find((one) => one.name === name);
  if (pod !== undefined) return ofWorkloads([pod], port, `${name}.${namespace}`);
  const service = findService(registry.snapshot, namespace, name);
  if (service !== undefined) return ofService({ service, workloads: own, port, registry });
  const labels = labelsOf(name);
  const apps =
    labels === undefined
      ? own.filter((one) => APP_LABELS.some((label) => one.labels.get(label) === name))
      : own.filter((one) => matchesLabels(labels, one.labels));
  if (apps.length > 0) return ofWorkloads(apps, port, `${name}.${namespace}`);
  const known = [...new Set(own.map((one) => one.labels.get('app') ?? one.name))].slice(0, 8);
  return refuse(
    'unknown-workload',
    `no Pod, Service or app ${shown(to)} is known`,
    known.length > 0
      ? `in ${namespace} there are ${known.join(', ')}`
      : `nothing is known in namespace ${namespace}: check its spelling`,
  );
}

const refuse = (code: string, message: string, cure: string): Result<never> => {
  const problem: Problem = { severity: 'error', code, message, cure };
  return { ok: false, problems: [problem] };
};

/** `app=web,tier=front`. */
function labelsOf(text: string): ReadonlyMap<string, string> | undefined {
  if (!text.includes('=')) return undefined;
  return new Map(
    text.split(',').map((pair) => {
      const at = pair.indexOf('=');
      return at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function ofWorkloads(
  workloads: readonly Workload[],
  port: number | undefined,
  host: string,
): Result<readonly Addressee[]> {
  const found = workloads.flatMap((workload) => {
    const ports = port === undefined ? workload.inbound.ports.map((one) => one.port) : [port];
    return ports.map((one) => ({ workload, port: one, host }));
  });
  if (found.length > 0) return { ok: true, value: found, problems: [] };
  const names = workloads.map(({ id }) => id).join(', ');
  return refuse('no-port', `${names} declares no port`, 'name one with --port');
}

function findService(
  { objects }: Snapshot,
  namespace: string,
  name: string,
): ServiceObject | undefined {
  for (const object of objects.values()) {
    if (object.kind !== 'Service' || object.meta.name !== name) continue;
    if (object.meta.namespace === namespace) return object;
  }
  return undefined;
}

function ofService(asked: {
  readonly service: ServiceObject;
  readonly workloads: readonly Workload[];
  readonly port: number | undefined;
  readonly registry: Registry;
}): Result<readonly Addressee[]> {
  const { service, workloads, port, registry } = asked;
  const { namespace, name } = service.meta;
  const { selector } = service;
  const members =
    selector === undefined ? [] : workloads.filter((one) => matchesLabels(selector, one.labels));
  if (members.length === 0) {
    const cure = 'compare its selector with the labels of the Pods';
    return refuse('no-endpoints', `Service ${namespace}/${name} selects no Pod`, cure);
  }
  const host = `${name}.${namespace}`;
  const ports = service.ports.filter((one) => port === undefined || one.port === port);
  const isNamed = ports.some(({ targetPort }) => typeof targetPort === 'string');
  const pods = isNamed ? podsOf(registry.snapshot, namespace) : new Map<string, PodObject>();
  const found = members.flatMap((workload) =>
    ports.flatMap((spec) => {
      const target = targetOf(spec, pods.get(workload.name));
      return target === undefined ? [] : [{ workload, port: target, host }];
    }),
  );
  /** No port of the Service: then it is meant as the workload's. */
  if (found.length > 0) return { ok: true, value: found, problems: [] };
  return ofWorkloads(members, port, host);
}

function podsOf({ objects }: Snapshot, namespace: string): ReadonlyMap<string, PodObject> {
  const pods = new Map<string, PodObject>();
  for (const object of objects.values()) {
    if (object.kind !== 'Pod' || object.meta.namespace !== namespace) continue;
    pods.set(object.meta.name, object);
  }
  return pods;
}

/** A named target port is the container's of that name. */
const targetOf = (spec: ServicePortSpec, pod: PodObject | undefined): number | undefined =>
  typeof spec.targetPort === 'number'
    ? spec.targetPort
    : pod?.ports.find(({ name }) => name === spec.targetPort)?.port;
