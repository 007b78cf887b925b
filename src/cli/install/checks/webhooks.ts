// What must hold of the webhooks: the API server can call each, and those that WorkloadPolicies need are there and asked.
import { IMAGES, WORKLOADS } from '@weft/controlplane/admission/render-webhooks';
import type { KubeClient, KubeObject, KubeResult } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import {
  CLUSTER_WORKLOAD_POLICIES,
  CONFIG_MAPS,
  type KubeResource,
  MUTATING_WEBHOOKS,
  VALIDATING_WEBHOOKS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { conditionOf, CONTROL_PLANE, itemsAt } from '../wait-until.ts';
import { BUNDLE, BUNDLE_KEY, INSTALL } from './control-plane.ts';
import { bad, type Check, type Finding, listAll, ok, unread, warn } from './finding.ts';

const CHECK = 'webhooks';

interface Webhook {
  readonly resource: KubeResource;
  readonly name: string;
  /** Of its absence. */
  readonly effect: string;
}

const ALWAYS: readonly Webhook[] = [
  { resource: MUTATING_WEBHOOKS, name: 'weft-injector', effect: 'no Pod gets a sidecar' },
  {
    resource: VALIDATING_WEBHOOKS,
    name: 'weft-validator',
    effect: 'policies are not reviewed before they are kept',
  },
];

/** Those that a WorkloadPolicy may need, and which do. */
const FOR_WORKLOADS: readonly (Webhook & {
  readonly isNeededBy: (policy: KubeObject) => boolean;
})[] = [
  {
    resource: VALIDATING_WEBHOOKS,
    name: WORKLOADS,
    effect: 'what the API server does not check by itself is asked of no Pod',
    isNeededBy: () => true,
  },
  {
    resource: MUTATING_WEBHOOKS,
    name: IMAGES,
    effect: 'no Pod gets digests for its tags',
    isNeededBy: (policy) =>
      textAt(policy, 'spec', 'images', 'digests') === 'resolve' &&
      (textAt(policy, 'spec', 'mode') ?? 'enforce') === 'enforce',
  },
];

export const checkWebhooks: Check = async ({ client, namespace }) => {
  const own = await client.get(CONFIG_MAPS, { namespace, name: BUNDLE });
  const bundle = own.ok ? (textAt(own.value, 'data', BUNDLE_KEY) ?? '').trim() : undefined;
  const look = `the leader writes it; look: kubectl -n ${namespace} logs deployment/${CONTROL_PLANE} | grep admission`;
  const findings: Finding[] = [];
  for (const webhook of ALWAYS) {
    const found = await client.get(webhook.resource, { name: webhook.name });
    if (found.ok) findings.push(trustOf(webhook, found.value, { bundle, look }));
    else if (found.code !== 404) findings.push(unread(CHECK, found));
    else findings.push(warn(CHECK, `${webhook.name} is not there: ${webhook.effect}`, INSTALL));
  }
  const policies = await acceptedPolicies(client);
  if (!policies.ok) return [...findings, unread(CHECK, policies)];
  for (const webhook of FOR_WORKLOADS) {
    const needing = policies.value.filter(webhook.isNeededBy).length;
    const found = await client.get(webhook.resource, { name: webhook.name });
    if (!found.ok && found.code !== 404) findings.push(unread(CHECK, found));
    else if (!found.ok && needing > 0) {
      const message = `${webhook.name} is not there, and ${needing} WorkloadPolicies need it: ${webhook.effect}`;
      findings.push(bad(CHECK, message, 'install with workloads.enabled=true'));
    } else if (found.ok && itemsAt(found.value, 'webhooks').length > 0) {
      findings.push(trustOf(webhook, found.value, { bundle, look }));
    } else if (found.ok && needing > 0) {
      const message = `${webhook.name} is asked about nothing, and ${needing} WorkloadPolicies need it: ${webhook.effect}`;
      findings.push(bad(CHECK, message, look));
    }
  }
  return findings;
};

function trustOf(
  { name }: Webhook,
  object: KubeObject,
  { bundle, look }: { readonly bundle: string | undefined; readonly look: string },
): Finding {
  const bundles = itemsAt(object, 'webhooks').map((webhook) =>
    Buffer.from(textAt(webhook, 'clientConfig', 'caBundle') ?? '', 'base64')
      .toString('utf8')
      .trim(),
  );
  if (bundles.every((one) => one !== '' && (bundle === undefined || one === bundle)))
    return ok(CHECK, `${name} is trusted by the API server`);
  const why = bundles.includes('') ? 'has no caBundle' : 'does not trust what is issued now';
  return bad(CHECK, `${name} ${why}: the API server cannot call it`, look);
}

/** Of both kinds; the leader asks nobody about those that it cannot read. Where there are no such kinds, that is another check's. */
async function acceptedPolicies(client: KubeClient): Promise<KubeResult<readonly KubeObject[]>> {
  const policies: KubeObject[] = [];
  for (const resource of [WORKLOAD_POLICIES, CLUSTER_WORKLOAD_POLICIES]) {
    const all = await listAll(client, resource);
    if (!all.ok && all.code !== 404) return all;
    if (all.ok) policies.push(...all.value);
  }
  const isAccepted = (policy: KubeObject): boolean =>
    conditionOf(policy, 'Accepted')?.['status'] !== 'False';
  return { ok: true, value: policies.filter(isAccepted) };
}
