// Takes Weft out of a cluster: webhooks first, so that nothing is blocked by what has gone; policies and CA stay unless they are asked for.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  type KubeResource,
  LEASES,
  NAMESPACES,
  PODS,
  SECRETS,
  VALIDATING_ADMISSION_BINDINGS,
  VALIDATING_ADMISSION_POLICIES,
} from '@weft/kube/resource';
import { OWN_LABEL } from '@weft/controlplane/admission/render-policies';
import { INJECTED_ANNOTATION } from '@weft/controlplane/inject/annotations';
import { type Change, helmReleaseOf, listOwn, removeObject } from './apply-objects.ts';
import { requireNoOther } from './installation.ts';
import { DEPLOYMENTS, INSTALLED_RESOURCES } from './manifest-objects.ts';
import { CONTROL_PLANE } from './wait-until.ts';

export interface RemovalOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Kinds with every policy, the CA, the bundles and the namespace too. */
  readonly isPurge: boolean;
  readonly isDryRun: boolean;
  readonly onChange: (change: Change) => void;
}

const CA_SECRET = 'weft-ca';
const BUNDLE = 'weft-trust-bundle';
const KEPT: ReadonlySet<KubeResource> = new Set([NAMESPACES, CUSTOM_RESOURCE_DEFINITIONS]);
const PAGE = 500;

/** @returns how many Pods still have a sidecar, by namespace. */
export async function injectedPods(client: KubeClient): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  let continueToken: string | undefined;
  do {
    const listed = await client.list(PODS, {
      isMetadataOnly: true,
      limit: PAGE,
      ...(continueToken !== undefined && { continueToken }),
    });
    if (!listed.ok) throw new Error(listed.message);
    for (const pod of listed.value.items) {
      if (objectAt(pod, 'metadata', 'annotations')?.[INJECTED_ANNOTATION] === undefined) continue;
      const namespace = textAt(pod, 'metadata', 'namespace') ?? '';
      counts.set(namespace, (counts.get(namespace) ?? 0) + 1);
    }
    ({ continueToken } = listed.value);
  } while (continueToken !== undefined);
  return counts;
}

/** @throws Error that names verb and resource where the API server says no; the same command goes on from there. */
export async function uninstall(options: RemovalOptions): Promise<void> {
  const { client, namespace, isPurge } = options;
  await requireNoOther(client, namespace, 'uninstall');
  const deployment = await client.get(DEPLOYMENTS, { name: CONTROL_PLANE, namespace });
  const release = deployment.ok ? helmReleaseOf(deployment.value) : undefined;
  if (release !== undefined) {
    throw new Error(`Cannot uninstall what Helm keeps; run: helm uninstall ${release}`);
  }
  for (const resource of INSTALLED_RESOURCES.toReversed()) {
    if (KEPT.has(resource)) continue;
    for (const one of await listOwn(client, resource)) await remove(options, one);
  }
  await removeRendered(options);
  await removeNamed(options, LEASES, CONTROL_PLANE);
  if (!isPurge) return;
  await removeBundles(options);
  await removeNamed(options, SECRETS, CA_SECRET);
  for (const one of await listOwn(client, CUSTOM_RESOURCE_DEFINITIONS)) await remove(options, one);
  await removeOwnNamespace(options);
}

type Found = Parameters<typeof removeObject>[1];

async function remove({ client, isDryRun, onChange }: RemovalOptions, one: Found): Promise<void> {
  const { resource, name, namespace } = one;
  const place = namespace === undefined ? name : `${namespace}/${name}`;
  onChange(
    isDryRun
      ? { object: `${resource.kind} ${place}`, kind: 'removed', fields: [] }
      : await removeObject(client, one),
  );
}

async function removeNamed(
  options: RemovalOptions,
  resource: KubeResource,
  name: string,
): Promise<void> {
  const { client, namespace } = options;
  const found = await client.get(resource, { name, namespace });
  if (!found.ok && found.code !== 404) throw new Error(found.message);
  if (found.ok) await remove(options, { resource, object: found.value, name, namespace });
}

/** They would enforce policies that nobody keeps any more. */
async function removeRendered(options: RemovalOptions): Promise<void> {
  for (const resource of [VALIDATING_ADMISSION_BINDINGS, VALIDATING_ADMISSION_POLICIES]) {
    const listed = await options.client.list(resource, { labelSelector: OWN_LABEL });
    // An API server before 1.30 has none.
    if (!listed.ok && listed.code === 404) continue;
    if (!listed.ok) throw new Error(listed.message);
    for (const object of listed.value.items) {
      const name = textAt(object, 'metadata', 'name') ?? '';
      await remove(options, { resource, object, name, namespace: undefined });
    }
  }
}

async function removeBundles(options: RemovalOptions): Promise<void> {
  const { client } = options;
  const listed = await client.list(CONFIG_MAPS, { fieldSelector: `metadata.name=${BUNDLE}` });
  if (!listed.ok) throw new Error(listed.message);
  for (const object of listed.value.items) {
    const namespace = textAt(object, 'metadata', 'namespace');
    await remove(options, { resource: CONFIG_MAPS, object, name: BUNDLE, namespace });
  }
}

/** One that Weft made: a namespace that somebody else made may hold what is theirs. */
async function removeOwnNamespace(options: RemovalOptions): Promise<void> {
  const { client, namespace } = options;
  const found = await client.get(NAMESPACES, { name: namespace });
  if (!found.ok && found.code !== 404) throw new Error(found.message);
  if (!found.ok || !isOwn(found.value)) return;
  const one = { resource: NAMESPACES, object: found.value, name: namespace, namespace: undefined };
  await remove(options, one);
}

const isOwn = (object: KubeObject): boolean =>
  textAt(object, 'metadata', 'labels', 'app.kubernetes.io/part-of') === 'weft';
