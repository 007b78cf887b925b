// Brings a cluster to what manifests say, by server-side apply and in order, or says what that would change.
import type { KubeClient, KubeFailure, KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { CUSTOM_RESOURCE_DEFINITIONS, type KubeResource, NAMESPACES } from '@weft/kube/resource';
import { changedFields } from './changed-fields.ts';
import { describeObject, INSTALLED_RESOURCES, type InstalledObject } from './manifest-objects.ts';
import { untilEstablished, type Waiting } from './wait-until.ts';

/** What Weft's own installer owns of an object: fields of others, such as caBundle, are left to them. */
export const FIELD_MANAGER = 'weft-install';
export const OWN_LABELS = 'app.kubernetes.io/part-of=weft,app.kubernetes.io/name=weft';
const CRD_LABELS = 'app.kubernetes.io/name=weft,app.kubernetes.io/component=crds';

export interface Change {
  readonly object: string;
  readonly kind: 'created' | 'changed' | 'unchanged' | 'removed';
  /** Of a change: field by field. */
  readonly fields: readonly string[];
}

export interface ApplyPlan {
  readonly client: KubeClient;
  readonly objects: readonly InstalledObject[];
  readonly isDryRun: boolean;
  readonly waiting: Waiting;
  readonly onChange: (change: Change) => void;
}

const unwrap = <T>(answer: { readonly ok: true; readonly value: T } | KubeFailure): T => {
  if (!answer.ok) throw new Error(answer.message);
  return answer.value;
};

/** @throws Error that names verb and resource where the API server says no; what was applied before stays. */
export async function applyObjects(plan: ApplyPlan): Promise<void> {
  const { client, objects, isDryRun, waiting, onChange } = plan;
  const missing = new Set<string>();
  for (const one of objects) {
    onChange(await applyOne(client, one, isDryRun, missing));
    const next = objects[objects.indexOf(one) + 1];
    const isLastCrd =
      one.resource === CUSTOM_RESOURCE_DEFINITIONS && next?.resource !== one.resource;
    if (isLastCrd && !isDryRun) {
      const crds = objects.filter(({ resource }) => resource === CUSTOM_RESOURCE_DEFINITIONS);
      await untilEstablished(
        client,
        crds.map(({ name }) => name),
        waiting,
      );
    }
  }
}

async function applyOne(
  client: KubeClient,
  one: InstalledObject,
  isDryRun: boolean,
  missing: Set<string>,
): Promise<Change> {
  const { resource, object, name, namespace } = one;
  const found = await client.get(resource, { name, namespace });
  if (!found.ok && found.code !== 404) throw new Error(found.message);
  if (!found.ok && resource === NAMESPACES) missing.add(name);
  const described = describeObject(one);
  // In a namespace that is not there yet, the API server can try nothing.
  if (isDryRun && namespace !== undefined && missing.has(namespace)) {
    return { object: described, kind: 'created', fields: [] };
  }
  const applied = unwrap(
    await client.apply(resource, object, { fieldManager: FIELD_MANAGER, isForced: true, isDryRun }),
  );
  if (!found.ok) return { object: described, kind: 'created', fields: [] };
  const fields = changedFields(found.value, applied);
  return { object: described, kind: fields.length === 0 ? 'unchanged' : 'changed', fields };
}

/** Objects of an earlier version, or of values that were different, that the manifests no longer have. */
export async function staleObjects(
  client: KubeClient,
  objects: readonly InstalledObject[],
): Promise<readonly InstalledObject[]> {
  const wanted = new Set(objects.map(describeObject));
  const stale: InstalledObject[] = [];
  // What holds the work of others is never removed by the way.
  const removable = INSTALLED_RESOURCES.filter(
    (one) => one !== NAMESPACES && one !== CUSTOM_RESOURCE_DEFINITIONS,
  );
  for (const resource of removable) {
    const found = await listOwn(client, resource);
    stale.push(...found.filter((one) => !wanted.has(describeObject(one))));
  }
  return stale;
}

/** What Weft's labels are on. A kind that is not installed has none. */
export async function listOwn(
  client: KubeClient,
  resource: KubeResource,
): Promise<readonly InstalledObject[]> {
  const isCrd = resource === CUSTOM_RESOURCE_DEFINITIONS;
  const labelSelector = isCrd ? CRD_LABELS : OWN_LABELS;
  const listed = await client.list(resource, { labelSelector });
  if (!listed.ok) {
    if (listed.code === 404) return [];
    throw new Error(listed.message);
  }
  return listed.value.items.flatMap((object): InstalledObject[] => {
    const name = textAt(object, 'metadata', 'name');
    const namespace = textAt(object, 'metadata', 'namespace');
    return name === undefined ? [] : [{ resource, object, name, namespace }];
  });
}

export async function removeObject(client: KubeClient, one: InstalledObject): Promise<Change> {
  const answer = await client.delete(one.resource, { name: one.name, namespace: one.namespace });
  if (!answer.ok && answer.code !== 404) throw new Error(answer.message);
  return { object: describeObject(one), kind: 'removed', fields: [] };
}

/** The release, when Helm installed it: Helm must then do the rest too. */
export function helmReleaseOf(object: KubeObject): string | undefined {
  if (textAt(objectAt(object, 'metadata', 'labels'), 'app.kubernetes.io/managed-by') !== 'Helm') {
    return undefined;
  }
  const annotations = objectAt(object, 'metadata', 'annotations');
  const release = textAt(annotations, 'meta.helm.sh/release-name') ?? 'weft';
  const namespace = textAt(annotations, 'meta.helm.sh/release-namespace');
  return namespace === undefined ? release : `${release} -n ${namespace}`;
}
