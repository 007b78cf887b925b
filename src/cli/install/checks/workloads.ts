// What must hold of Pods in the mesh: they have a sidecar, it is ready, and nothing gets past it.
import { SIDECAR_UID } from '@weft/controlplane/inject/settings';
import { ANNOTATIONS, INJECTED_ANNOTATION } from '@weft/controlplane/inject/annotations';
import type { KubeObject } from '@weft/kube/kube-api';
import { numberAt, objectAt, textAt } from '@weft/kube/object-fields';
import { NAMESPACES, PODS } from '@weft/kube/resource';
import { itemsAt } from '../wait-until.ts';
import { bad, type Check, type Finding, listAll, ok, unread, warn } from './finding.ts';

const INJECT = 'weft.dev/inject';
/** Named one by one; of the others it is said how many there are. */
const MAX_NAMED = 5;
const ENDED: ReadonlySet<string | undefined> = new Set(['Succeeded', 'Failed']);

const nameOf = (object: KubeObject): string => textAt(object, 'metadata', 'name') ?? '';

function named(pods: readonly KubeObject[]): string {
  const names = pods.slice(0, MAX_NAMED).map(nameOf).join(', ');
  return pods.length > MAX_NAMED ? `${names} and ${pods.length - MAX_NAMED} more` : names;
}

const isInjected = (pod: KubeObject): boolean =>
  objectAt(pod, 'metadata', 'annotations')?.[INJECTED_ANNOTATION] !== undefined;

const optsOut = (pod: KubeObject): boolean =>
  (objectAt(pod, 'metadata', 'annotations')?.[INJECT] ??
    objectAt(pod, 'metadata', 'labels')?.[INJECT]) === 'false';

const isHostNetwork = (pod: KubeObject): boolean => objectAt(pod, 'spec')?.['hostNetwork'] === true;

/** An application that runs as the sidecar's user is not captured; without a proxy nothing is. */
function runsAsSidecar(pod: KubeObject): boolean {
  if (objectAt(pod, 'metadata', 'annotations')?.[ANNOTATIONS.proxy.name] === 'none') return false;
  const ofPod = numberAt(pod, 'spec', 'securityContext', 'runAsUser');
  return itemsAt(pod, 'spec', 'containers').some((container) => {
    const own = numberAt(container, 'securityContext', 'runAsUser') ?? ofPod;
    return own === SIDECAR_UID && nameOf({ metadata: container }) !== 'weft-sidecar';
  });
}

/** Ready is what a sidecar becomes when it has a certificate and policies, and has seen that traffic passes through it. */
function isSidecarUnready(pod: KubeObject): boolean {
  const statuses = ['initContainerStatuses', 'containerStatuses'].flatMap((key) =>
    itemsAt(pod, 'status', key),
  );
  const sidecar = statuses.find((status) => status['name'] === 'weft-sidecar');
  return sidecar !== undefined && sidecar['ready'] !== true;
}

export const checkWorkloads: Check = async ({ client }) => {
  const labelled = await listAll(client, NAMESPACES, {
    labelSelector: 'weft.dev/injection=enabled',
  });
  if (!labelled.ok) return [unread('workloads', labelled)];
  if (labelled.value.length === 0) {
    const cure = 'kubectl label namespace NAME weft.dev/injection=enabled';
    return [warn('workloads', 'no namespace has injection switched on', cure)];
  }
  const findings: Finding[] = [];
  for (const namespace of labelled.value.map(nameOf)) {
    const pods = await listAll(client, PODS, { namespace });
    findings.push(...(pods.ok ? findingsOf(namespace, pods.value) : [unread('workloads', pods)]));
  }
  return findings;
};

function findingsOf(namespace: string, all: readonly KubeObject[]): readonly Finding[] {
  const pods = all.filter((pod) => !ENDED.has(textAt(pod, 'status', 'phase')));
  const injected = pods.filter(isInjected);
  const host = pods.filter(isHostNetwork);
  const left = pods.filter((pod) => !isInjected(pod) && !isHostNetwork(pod) && !optsOut(pod));
  const unready = injected.filter(isSidecarUnready);
  const bypassing = pods.filter((pod) => isInjected(pod) && runsAsSidecar(pod));
  const findings: Finding[] = [];
  if (left.length > 0) {
    const cure = `they were created before injection was on: kubectl -n ${namespace} rollout restart deployment,statefulset,daemonset`;
    findings.push(bad('workloads', `${namespace}: no sidecar in ${named(left)}`, cure));
  }
  if (unready.length > 0) {
    const cure = `it says why: kubectl -n ${namespace} logs ${nameOf(unready[0] ?? {})} -c weft-sidecar`;
    const message = `${namespace}: the sidecar is not ready in ${named(unready)}`;
    findings.push(bad('capture', message, cure));
  }
  if (bypassing.length > 0) {
    const message = `${namespace}: an application runs as user ${SIDECAR_UID}, whose traffic is not captured, in ${named(bypassing)}`;
    findings.push(bad('capture', message, 'give it another runAsUser'));
  }
  if (host.length > 0) {
    const message = `${namespace}: on the node's own network, and so outside the mesh: ${named(host)}`;
    findings.push(
      warn('workloads', message, `say that it is meant so: annotate them ${INJECT}: "false"`),
    );
  }
  if (findings.length === 0) {
    findings.push(ok('workloads', `${namespace}: ${injected.length} Pods have a sidecar`));
  }
  return findings;
}
