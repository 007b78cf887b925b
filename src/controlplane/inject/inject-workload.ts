// Injection of a whole manifest: where each kind of workload keeps its Pod, and the manifest with that Pod injected.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import { injectPod, type Refusal, refused } from './inject-pod.ts';
import { objectAt, textAt } from './pod-shape.ts';
import { type InjectionSettings, whyNever } from './settings.ts';
import { uninjectPod } from './uninject-pod.ts';

export type WorkloadOutcome =
  | {
      readonly kind: 'changed';
      readonly manifest: PlainObject;
      readonly warnings: readonly string[];
    }
  | { readonly kind: 'left'; readonly reason: string }
  | Refusal
  /** No workload: a Service, a ConfigMap, or nothing that Kubernetes knows. */
  | { readonly kind: 'other' };

const TEMPLATE = ['spec', 'template'];

/** By `apiVersion/kind` where the Pod, or its template, is. */
const PODS_OF: ReadonlyMap<string, readonly string[]> = new Map([
  ['v1/Pod', []],
  ['v1/ReplicationController', TEMPLATE],
  ['apps/v1/Deployment', TEMPLATE],
  ['apps/v1/ReplicaSet', TEMPLATE],
  ['apps/v1/StatefulSet', TEMPLATE],
  ['apps/v1/DaemonSet', TEMPLATE],
  ['batch/v1/Job', TEMPLATE],
  ['batch/v1/CronJob', ['spec', 'jobTemplate', 'spec', 'template']],
]);

const DEFAULT_NAMESPACE = 'default';

function podPathOf(manifest: PlainObject): readonly string[] | undefined {
  return PODS_OF.get(`${textAt(manifest, 'apiVersion')}/${textAt(manifest, 'kind')}`);
}

/** Undefined where a part of the way is no mapping. */
function at(manifest: PlainObject, path: readonly string[]): PlainObject | undefined {
  let value: unknown = manifest;
  for (const key of path) value = isPlainObject(value) ? value[key] : undefined;
  return isPlainObject(value) ? value : undefined;
}

function replaced(manifest: PlainObject, path: readonly string[], pod: PlainObject): PlainObject {
  const [key, ...rest] = path;
  if (key === undefined) return pod;
  return { ...manifest, [key]: replaced(objectAt(manifest, key), rest, pod) };
}

const namespaceOf = (manifest: PlainObject): string =>
  textAt(objectAt(manifest, 'metadata'), 'namespace') ?? DEFAULT_NAMESPACE;

/** Problems name fields from the manifest's root. */
const under = (path: readonly string[], problems: readonly Problem[]): readonly Problem[] =>
  problems.map((problem) =>
    problem.field === undefined || path.length === 0
      ? problem
      : { ...problem, field: `${path.join('.')}.${problem.field}` },
  );

export function injectWorkload(
  manifest: PlainObject,
  settings: InjectionSettings,
): WorkloadOutcome {
  const path = podPathOf(manifest);
  if (path === undefined) return { kind: 'other' };
  const never = whyNever(namespaceOf(manifest), settings);
  if (never !== undefined) return { kind: 'left', reason: never };
  const pod = at(manifest, path);
  if (pod === undefined) {
    const field = path.join('.');
    const message = 'there is no Pod template here';
    return refused([{ severity: 'error', code: 'missing-field', field, message }]);
  }
  const outcome = injectPod(pod, settings);
  if (outcome.kind === 'refused') return refused(under(path, outcome.problems));
  if (outcome.kind === 'left') return outcome;
  const { warnings } = outcome;
  return { kind: 'changed', manifest: replaced(manifest, path, outcome.pod), warnings };
}

export function uninjectWorkload(manifest: PlainObject): WorkloadOutcome {
  const path = podPathOf(manifest);
  const pod = path === undefined ? undefined : at(manifest, path);
  if (path === undefined || pod === undefined) return { kind: 'other' };
  const outcome = uninjectPod(pod);
  if (outcome.kind === 'left') return outcome;
  return { kind: 'changed', manifest: replaced(manifest, path, outcome.pod), warnings: [] };
}
