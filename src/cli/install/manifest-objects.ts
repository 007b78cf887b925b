// Reads rendered manifests as objects of known resources, in the order in which a cluster is to get them.
import type { KubeObject } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  CUSTOM_RESOURCE_DEFINITIONS,
  type KubeResource,
  MUTATING_WEBHOOKS,
  NAMESPACES,
  resource,
  SERVICE_ACCOUNTS,
  SERVICES,
  VALIDATING_WEBHOOKS,
} from '@weft/kube/resource';
import { isPlainObject } from '@weft/model/policy/reader';
import { parseAllDocuments } from 'yaml';

export const DEPLOYMENTS = resource('apps/v1', 'Deployment', 'deployments', 'namespaced');

const rbac = (kind: string, plural: string, scope: 'namespaced' | 'cluster'): KubeResource =>
  resource('rbac.authorization.k8s.io/v1', kind, plural, scope);

export const CLUSTER_ROLE_BINDINGS = rbac('ClusterRoleBinding', 'clusterrolebindings', 'cluster');

/** Every resource that the chart makes, in the order of installing: what is needed before what needs it, webhooks last. */
export const INSTALLED_RESOURCES: readonly KubeResource[] = [
  NAMESPACES,
  CUSTOM_RESOURCE_DEFINITIONS,
  resource('scheduling.k8s.io/v1', 'PriorityClass', 'priorityclasses', 'cluster'),
  SERVICE_ACCOUNTS,
  rbac('ClusterRole', 'clusterroles', 'cluster'),
  CLUSTER_ROLE_BINDINGS,
  rbac('Role', 'roles', 'namespaced'),
  rbac('RoleBinding', 'rolebindings', 'namespaced'),
  resource('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies', 'namespaced'),
  resource('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets', 'namespaced'),
  SERVICES,
  DEPLOYMENTS,
  resource('monitoring.coreos.com/v1', 'ServiceMonitor', 'servicemonitors', 'namespaced'),
  MUTATING_WEBHOOKS,
  VALIDATING_WEBHOOKS,
];

export interface InstalledObject {
  readonly resource: KubeResource;
  readonly object: KubeObject;
  readonly name: string;
  readonly namespace: string | undefined;
}

/** `Deployment weft-system/weft-control-plane`, as people say it. */
export const describeObject = (one: Omit<InstalledObject, 'object'>): string =>
  `${one.resource.kind} ${one.namespace === undefined ? '' : `${one.namespace}/`}${one.name}`;

const rankOf = ({ resource: of }: InstalledObject): number => INSTALLED_RESOURCES.indexOf(of);

/** @throws Error when a document is none of what the chart makes. */
export function parseManifests(text: string): readonly InstalledObject[] {
  const objects = parseAllDocuments(text).flatMap((document, index): InstalledObject[] => {
    const [error] = document.errors;
    if (error !== undefined) {
      throw new Error(`Cannot read document ${index + 1} of the manifests: ${error.message}`);
    }
    const object: unknown = document.toJS();
    return isPlainObject(object) ? [installedObject(object)] : [];
  });
  return objects.toSorted((a, b) => rankOf(a) - rankOf(b));
}

function installedObject(object: KubeObject): InstalledObject {
  const apiVersion = textAt(object, 'apiVersion');
  const kind = textAt(object, 'kind');
  const name = textAt(object, 'metadata', 'name');
  const known = INSTALLED_RESOURCES.find(
    (one) => one.kind === kind && apiVersionOf(one) === apiVersion,
  );
  if (known === undefined || name === undefined) {
    throw new Error(`Cannot install ${apiVersion} ${kind} ${name}: Weft's chart makes none`);
  }
  return { resource: known, object, name, namespace: textAt(object, 'metadata', 'namespace') };
}
