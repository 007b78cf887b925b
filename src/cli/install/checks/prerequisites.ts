// What must hold before Weft is installed: the API server's version, the operator's rights, the clock, and no other mesh in the way.
import { objectAt, textAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  MUTATING_WEBHOOKS,
  NAMESPACES,
  resourceName,
  SELF_SUBJECT_ACCESS_REVIEWS,
} from '@weft/kube/resource';
import { KUBERNETES_MIN } from '../chart-files.ts';
import { INSTALLED_RESOURCES } from '../manifest-objects.ts';
import { itemsAt } from '../wait-until.ts';
import { bad, type Check, type Finding, ok, unread } from './finding.ts';
import { selects } from './label-selector.ts';

/** Certificates are issued from five minutes ago: a machine that is further behind takes them for those of the future. */
const CLOCK_MAX_MS = 60_000;

const minorOf = (text: string): number => Number.parseInt(text, 10);

export const checkVersion: Check = async ({ client }) => {
  const answer = await client.read('/version');
  if (!answer.ok) {
    return [
      bad(
        'version',
        answer.message,
        'see that --kubeconfig and --context name the cluster that you mean',
      ),
    ];
  }
  const major = minorOf(textAt(answer.value, 'major') ?? '');
  const minor = minorOf(textAt(answer.value, 'minor') ?? '');
  const name = textAt(answer.value, 'gitVersion') ?? `${major}.${minor}`;
  const [needMajor = 1, needMinor = 0] = KUBERNETES_MIN.split('.').map(Number);
  const isEnough = major > needMajor || (major === needMajor && minor >= needMinor);
  return [
    isEnough
      ? ok('version', `Kubernetes ${name} at ${client.server}`)
      : bad(
          'version',
          `Kubernetes ${name} has no native sidecars`,
          `upgrade the cluster to ${KUBERNETES_MIN} or later`,
        ),
  ];
};

const isOptional = (group: string): boolean => group === 'monitoring.coreos.com';

/** Server-side apply needs `patch`, and `create` for what is not there; both are asked for each kind that the chart makes. */
export const checkPermissions: Check = async ({ client, namespace }) => {
  const missing: string[] = [];
  for (const resource of INSTALLED_RESOURCES.filter(({ group }) => !isOptional(group))) {
    for (const verb of ['get', 'list', 'create', 'patch', 'delete']) {
      const review = await client.create(SELF_SUBJECT_ACCESS_REVIEWS, {
        apiVersion: apiVersionOf(SELF_SUBJECT_ACCESS_REVIEWS),
        kind: SELF_SUBJECT_ACCESS_REVIEWS.kind,
        spec: {
          resourceAttributes: {
            verb,
            group: resource.group,
            resource: resource.plural,
            ...(resource.isNamespaced && { namespace }),
          },
        },
      });
      if (!review.ok) return [unread('permissions', review)];
      if (objectAt(review.value, 'status')?.['allowed'] !== true) {
        missing.push(`${verb} ${resourceName(resource)}`);
      }
    }
  }
  return [
    missing.length === 0
      ? ok('permissions', 'you may make everything that the chart makes')
      : bad(
          'permissions',
          `you may not ${missing.join(', ')}`,
          'install as a cluster administrator: a control plane gets rights in the whole cluster, which only who has them may give',
        ),
  ];
};

/** The API server says what time it is in what it would have made. */
export const checkClock: Check = async ({ client, now }) => {
  const before = now();
  const answer = await client.create(
    NAMESPACES,
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { generateName: 'weft-check-' },
    },
    { isDryRun: true },
  );
  if (!answer.ok) return [unread('clock', answer)];
  const server = Date.parse(textAt(answer.value, 'metadata', 'creationTimestamp') ?? '');
  // It is told in whole seconds, and was somewhere between question and answer.
  const differenceMs = server + 500 - (before + now()) / 2;
  const seconds = Math.round(Math.abs(differenceMs) / 1_000);
  if (Math.abs(differenceMs) <= CLOCK_MAX_MS) {
    return [ok('clock', `this machine and the API server differ by ${seconds} s`)];
  }
  const side = differenceMs > 0 ? 'behind' : 'ahead of';
  return [
    bad(
      'clock',
      `this machine is ${seconds} s ${side} the API server`,
      'set both by NTP: certificates and tokens of an hour do not bear it',
    ),
  ];
};

/** Meshes that put proxies into Pods, by what the names of their webhook configurations begin with. */
const OTHER_MESHES: readonly (readonly [string, string])[] = [
  ['istio-', 'Istio'],
  ['linkerd-proxy-injector', 'Linkerd'],
  ['kuma-', 'Kuma'],
  ['consul-', 'Consul'],
  ['osm-', 'Open Service Mesh'],
];

/** Two proxies in a Pod redirect each other's traffic. */
export const checkOtherMeshes: Check = async ({ client, namespace }) => {
  const configurations = await client.list(MUTATING_WEBHOOKS);
  if (!configurations.ok) return [unread('other-meshes', configurations)];
  const labelled = await client.list(NAMESPACES, { labelSelector: 'weft.dev/injection=enabled' });
  if (!labelled.ok) return [unread('other-meshes', labelled)];
  const findings: Finding[] = [];
  for (const configuration of configurations.value.items) {
    const name = textAt(configuration, 'metadata', 'name') ?? '';
    if (name === 'weft-injector') findings.push(...otherWeft(configuration, namespace));
    const mesh = OTHER_MESHES.find(([prefix]) => name.startsWith(prefix))?.[1];
    if (mesh === undefined) continue;
    const both = labelled.value.items
      .filter((one) =>
        itemsAt(configuration, 'webhooks').some((webhook) => mayInject(webhook, one)),
      )
      .map((one) => textAt(one, 'metadata', 'name') ?? '');
    if (both.length === 0) continue;
    findings.push(
      bad(
        'other-meshes',
        `${mesh} (${name}) may inject Pods of ${both.join(', ')} too: each of both proxies would take the other for the application`,
        `choose one mesh for a namespace: kubectl label namespace ${both[0]} weft.dev/injection- (or the label that ${mesh} goes by)`,
      ),
    );
  }
  return findings.length > 0
    ? findings
    : [ok('other-meshes', 'no other mesh injects the same Pods')];
};

type KubeThing = Parameters<typeof textAt>[0];

/** Only one that asks for a label of the namespace or the Pod can be said to leave others alone. */
function mayInject(webhook: KubeThing, namespace: KubeThing): boolean {
  const objectSelector = objectAt(webhook, 'objectSelector');
  const isByPod = objectSelector !== undefined && !selects(objectSelector, {});
  return !isByPod && selects(objectAt(webhook, 'namespaceSelector'), labelsOf(namespace));
}

const labelsOf = (object: KubeThing): Readonly<Record<string, unknown>> =>
  objectAt(object, 'metadata', 'labels') ?? {};

function otherWeft(configuration: KubeThing, namespace: string): readonly Finding[] {
  const [webhook] = configuration === undefined ? [] : itemsAt(configuration, 'webhooks');
  const home = textAt(webhook, 'clientConfig', 'service', 'namespace');
  if (home === undefined || home === namespace) return [];
  return [
    bad(
      'other-meshes',
      `a Weft is installed in namespace ${home}`,
      `look at that one with: weft check --namespace ${home}; a cluster has one, whose watchNamespaces say which namespaces are in it`,
    ),
  ];
}
