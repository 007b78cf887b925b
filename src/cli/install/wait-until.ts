// Waits until what was applied is at work, and says what it is that keeps it from that.
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { numberAt, objectAt, textAt } from '@weft/kube/object-fields';
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  MUTATING_WEBHOOKS,
  PODS,
  VALIDATING_WEBHOOKS,
} from '@weft/kube/resource';
import { isPlainObject } from '@weft/model/policy/reader';
import { DEPLOYMENTS } from './manifest-objects.ts';

export interface Waiting {
  readonly timeoutMs: number;
  /** How often is looked; default 500 ms. */
  readonly everyMs?: number;
  /** Told when what is missing has changed. */
  readonly onMissing?: (missing: string) => void;
}

export const CONTROL_PLANE = 'weft-control-plane';
const SELECTOR = 'app.kubernetes.io/name=weft,app.kubernetes.io/component=control-plane';
const EVERY_MS = 500;

export const itemsAt = (
  object: KubeObject | undefined,
  ...path: readonly string[]
): readonly KubeObject[] => {
  const last = path.at(-1) ?? '';
  const list = objectAt(object, ...path.slice(0, -1))?.[last];
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};

/**
 * @param look what is missing; `undefined` when nothing is
 * @throws Error with what is missing at the end
 */
export async function until(
  what: string,
  look: () => Promise<string | undefined>,
  { timeoutMs, everyMs = EVERY_MS, onMissing }: Waiting,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let said: string | undefined;
  for (;;) {
    const missing = await look();
    if (missing === undefined) return;
    if (missing !== said) onMissing?.(missing);
    said = missing;
    if (performance.now() + everyMs > deadline) {
      throw new Error(`Cannot wait longer than ${timeoutMs / 1_000} s for ${what}: ${missing}`);
    }
    await delay(everyMs);
  }
}

export const conditionOf = (object: KubeObject, type: string): KubeObject | undefined =>
  itemsAt(object, 'status', 'conditions').find((one) => one['type'] === type);

export function untilEstablished(
  client: KubeClient,
  names: readonly string[],
  waiting: Waiting,
): Promise<void> {
  return until(
    'the CustomResourceDefinitions',
    async () => {
      for (const name of names) {
        const found = await client.get(CUSTOM_RESOURCE_DEFINITIONS, { name });
        if (!found.ok) return found.message;
        if (conditionOf(found.value, 'Established')?.['status'] !== 'True') {
          return `${name} is not served yet`;
        }
      }
      return undefined;
    },
    waiting,
  );
}

/** Rolled out: every replica is of the newest template and ready. */
export function untilAvailable(
  client: KubeClient,
  namespace: string,
  waiting: Waiting,
): Promise<void> {
  return until(
    'the control plane',
    async () => {
      const found = await client.get(DEPLOYMENTS, { name: CONTROL_PLANE, namespace });
      if (!found.ok) return found.message;
      const missing = rolloutOf(found.value);
      if (missing === undefined) return undefined;
      const why = await whyPodsWait(client, namespace);
      return why === undefined ? missing : `${missing}; ${why}`;
    },
    waiting,
  );
}

/** What a roll-out still waits for. */
export function rolloutOf(deployment: KubeObject): string | undefined {
  const wanted = numberAt(deployment, 'spec', 'replicas') ?? 1;
  const observed = numberAt(deployment, 'status', 'observedGeneration') ?? 0;
  const updated = numberAt(deployment, 'status', 'updatedReplicas') ?? 0;
  const available = numberAt(deployment, 'status', 'availableReplicas') ?? 0;
  const total = numberAt(deployment, 'status', 'replicas') ?? 0;
  if (observed < (numberAt(deployment, 'metadata', 'generation') ?? 0)) {
    return 'the Deployment has not been looked at yet; does the cluster have a controller manager?';
  }
  if (updated < wanted) return `${updated} of ${wanted} replicas are of the new template`;
  if (available < wanted) return `${available} of ${wanted} replicas are ready`;
  if (total > updated) return `${total - updated} replicas of the old template are still there`;
  return undefined;
}

/** The first reason that a Pod of the control plane gives for not being ready. */
export async function whyPodsWait(
  client: KubeClient,
  namespace: string,
): Promise<string | undefined> {
  const pods = await client.list(PODS, { namespace, labelSelector: SELECTOR });
  if (!pods.ok) return pods.message;
  for (const pod of pods.value.items) {
    const name = textAt(pod, 'metadata', 'name') ?? '';
    const scheduled = conditionOf(pod, 'PodScheduled');
    if (scheduled?.['status'] === 'False') {
      return `Pod ${name} has no node: ${textAt(scheduled, 'message') ?? ''}`;
    }
    for (const status of itemsAt(pod, 'status', 'containerStatuses')) {
      const waits = objectAt(status, 'state', 'waiting') ?? objectAt(status, 'state', 'terminated');
      const reason = textAt(waits, 'reason');
      if (reason !== undefined && reason !== 'ContainerCreating') {
        const message = lastWordsOf(status) ?? textAt(waits, 'message') ?? '';
        return `Pod ${name}: ${reason} ${message}; look: kubectl -n ${namespace} logs ${name}`;
      }
    }
  }
  return undefined;
}

/** What a program said last is why it ended; that it is started again is not. */
const lastWordsOf = (status: KubeObject): string | undefined =>
  ['state', 'lastState']
    .map((key) => textAt(status, key, 'terminated', 'message')?.trimEnd().split('\n').at(-1))
    .find((line) => line !== undefined && line !== '');

/** Both webhooks can be called: the leader has written what their certificate is checked with. */
export function untilTrusted(client: KubeClient, waiting: Waiting): Promise<void> {
  return until(
    'the webhooks',
    async () => {
      for (const [resource, name] of [
        [MUTATING_WEBHOOKS, 'weft-injector'],
        [VALIDATING_WEBHOOKS, 'weft-validator'],
      ] as const) {
        const found = await client.get(resource, { name });
        // Switched off.
        if (!found.ok && found.code === 404) continue;
        if (!found.ok) return found.message;
        for (const webhook of itemsAt(found.value, 'webhooks')) {
          if ((textAt(webhook, 'clientConfig', 'caBundle') ?? '') === '') {
            return `${resource.kind} ${name} has no caBundle yet, which the leader of the control planes writes`;
          }
        }
      }
      return undefined;
    },
    waiting,
  );
}
