// Finds in a snapshot which WorkloadPolicies are in force, and what is known of namespaces.
import type { WorkloadPolicy } from '@weft/model/admission/types';
import type { Snapshot } from '@weft/model/mesh/objects';

/** Asked for with each review; a snapshot is walked once. */
const known = new WeakMap<Snapshot, readonly WorkloadPolicy[]>();

/** In the order of kind, namespace and name: what is told does not depend on what came first. */
export function workloadPoliciesOf(snapshot: Snapshot): readonly WorkloadPolicy[] {
  const found = known.get(snapshot);
  if (found !== undefined) return found;
  const policies: WorkloadPolicy[] = [];
  for (const object of snapshot.objects.values()) {
    if (object.kind === 'WorkloadPolicy') policies.push(object.policy);
  }
  const keyOf = ({ kind, namespace, name }: WorkloadPolicy): string =>
    `${kind}/${namespace}/${name}`;
  policies.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  known.set(snapshot, policies);
  return policies;
}

/** @returns `undefined` when the namespace is not known (yet). */
export function namespaceLabelsIn(
  { objects }: Snapshot,
  namespace: string,
): ReadonlyMap<string, string> | undefined {
  const object = objects.get(`Namespace//${namespace}`);
  return object?.kind === 'Namespace' ? object.meta.labels : undefined;
}
