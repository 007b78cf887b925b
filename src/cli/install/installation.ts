// Installs and upgrades: renders, applies in order, removes what is no longer made, and waits until it is at work.
import type { KubeClient } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import {
  applyObjects,
  type Change,
  helmReleaseOf,
  removeObject,
  staleObjects,
} from './apply-objects.ts';
import {
  CLUSTER_ROLE_BINDINGS,
  DEPLOYMENTS,
  describeObject,
  parseManifests,
} from './manifest-objects.ts';
import { type RenderOptions, renderManifests } from './render.ts';
import {
  CONTROL_PLANE,
  itemsAt,
  untilAvailable,
  untilTrusted,
  type Waiting,
} from './wait-until.ts';

export interface InstallOptions {
  readonly client: KubeClient;
  readonly render: RenderOptions;
  readonly isDryRun: boolean;
  /** Whether nothing is to be there yet, or something. */
  readonly mode: 'install' | 'upgrade';
  readonly isWaiting: boolean;
  readonly waiting: Waiting;
  readonly onChange: (change: Change) => void;
  readonly say: (line: string) => void;
}

/** @throws Error with the cure; what was applied before stays, and the same command goes on from there. */
export async function install(options: InstallOptions): Promise<void> {
  const { client, render, isDryRun, isWaiting, waiting, onChange, say } = options;
  const { namespace } = render;
  await checkMode(options);
  const { by, text } = await renderManifests(render);
  if (by === 'defaults') say('Helm is not here: the plain manifests with the defaults are applied');
  const objects = parseManifests(text);
  await applyObjects({ client, objects, isDryRun, waiting, onChange });
  for (const stale of await staleObjects(client, objects)) {
    if (!isDryRun) await removeObject(client, stale);
    onChange({ object: describeObject(stale), kind: 'removed', fields: [] });
  }
  if (isDryRun || !isWaiting) return;
  say('waiting for the control plane');
  await untilAvailable(client, namespace, waiting);
  say('waiting for the webhooks to be trusted');
  await untilTrusted(client, waiting);
}

/**
 * A cluster has one Weft: its rights and webhooks are the cluster's, and a second one would take them over.
 * @throws Error when there is one in another namespace
 */
export async function requireNoOther(
  client: KubeClient,
  namespace: string,
  verb: 'install' | 'upgrade' | 'uninstall',
): Promise<void> {
  const found = await client.get(CLUSTER_ROLE_BINDINGS, { name: CONTROL_PLANE });
  if (!found.ok) {
    if (found.code === 404) return;
    throw new Error(found.message);
  }
  const [subject] = itemsAt(found.value, 'subjects');
  const home = textAt(subject, 'namespace');
  if (home === undefined || home === namespace) return;
  throw new Error(
    `Cannot ${verb} in namespace ${namespace}: the Weft of this cluster is in ${home}, and a cluster has one; run the same with --namespace ${home} (which namespaces are in its mesh is said by the value watchNamespaces)`,
  );
}

/** An upgrade of nothing, or of what Helm keeps, is a mistake. */
async function checkMode({ client, render, mode }: InstallOptions): Promise<void> {
  const { namespace } = render;
  await requireNoOther(client, namespace, mode);
  const found = await client.get(DEPLOYMENTS, { name: CONTROL_PLANE, namespace });
  if (!found.ok && found.code !== 404) throw new Error(found.message);
  if (!found.ok) {
    if (mode === 'install') return;
    throw new Error(
      `Cannot upgrade: there is no control plane in namespace ${namespace}; to install one, run: weft install`,
    );
  }
  const release = helmReleaseOf(found.value);
  if (release !== undefined) {
    throw new Error(
      `Cannot ${mode}: this control plane is kept by Helm; run: helm upgrade ${release} ...`,
    );
  }
}

/** The version that runs, as its objects are labelled. */
export async function installedVersion(
  client: KubeClient,
  namespace: string,
): Promise<string | undefined> {
  const found = await client.get(DEPLOYMENTS, { name: CONTROL_PLANE, namespace });
  if (!found.ok) return undefined;
  return textAt(found.value, 'metadata', 'labels', 'app.kubernetes.io/version');
}
