// Whether the control plane's service account may do what it must, asked of the API server for each verb and resource.
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  BASIC_AUTHENTICATIONS,
  CONFIG_MAPS,
  CREDENTIAL_BINDINGS,
  CUSTOM_RESOURCE_DEFINITIONS,
  ENDPOINT_SLICES,
  EXTERNAL_SERVICES,
  FEDERATED_TRUST_DOMAINS,
  EVENTS,
  type KubeResource,
  LEASES,
  MESH_CONFIGS,
  MUTATING_WEBHOOKS,
  NAMESPACES,
  PEER_AUTHENTICATIONS,
  PODS,
  REQUEST_AUTHENTICATIONS,
  resource,
  resourceName,
  SECRETS,
  TLS_TERMINATIONS,
  TRAFFIC_POLICIES,
  SERVICE_ACCOUNTS,
  SERVICES,
  TOKEN_REVIEWS,
  TRUST_BUNDLES,
  VALIDATING_WEBHOOKS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { CA_SECRET } from '@weft/ca/store/kubernetes-secret';
import { objectAt } from '@weft/kube/object-fields';
import { DEPLOYMENTS } from '../manifest-objects.ts';
import { CONTROL_PLANE, itemsAt } from '../wait-until.ts';
import { bad, type Check, type CheckContext, type Finding, ok, unread } from './finding.ts';

const SUBJECT_ACCESS_REVIEWS = resource(
  'authorization.k8s.io/v1',
  'SubjectAccessReview',
  'subjectaccessreviews',
  'cluster',
);

interface Right {
  readonly verbs: readonly string[];
  readonly resource: KubeResource;
  readonly subresource?: string;
  /** Of the one object that is meant. */
  readonly name?: string;
  /** `mesh`: in every namespace of the mesh. */
  readonly place: 'cluster' | 'mesh' | 'root';
  /** What does not work without it. */
  readonly effect: string;
}

const FOLLOW = ['list', 'watch'];
const POLICIES = [
  AUTHORIZATION_POLICIES,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  BASIC_AUTHENTICATIONS,
  CREDENTIAL_BINDINGS,
  TLS_TERMINATIONS,
  TRAFFIC_POLICIES,
  EXTERNAL_SERVICES,
  WORKLOAD_POLICIES,
];
const BUNDLE = { resource: CONFIG_MAPS, name: 'weft-trust-bundle', place: 'mesh' } as const;
const STATE = { resource: SECRETS, name: CA_SECRET, place: 'root' } as const;
const NOT_STARTING = 'it does not start to serve';
const NO_STATUS = 'no policy says whether it is enforced';

const RIGHTS: readonly Right[] = [
  ...[SERVICES, SERVICE_ACCOUNTS, PODS, ENDPOINT_SLICES, ...POLICIES].map(
    (followed): Right => ({
      verbs: FOLLOW,
      resource: followed,
      place: 'mesh',
      effect: `${NOT_STARTING}, or does not see changes`,
    }),
  ),
  { verbs: FOLLOW, resource: MESH_CONFIGS, place: 'root', effect: NOT_STARTING },
  { verbs: FOLLOW, resource: FEDERATED_TRUST_DOMAINS, place: 'root', effect: NOT_STARTING },
  ...POLICIES.map(
    (policy): Right => ({
      verbs: ['patch'],
      resource: policy,
      subresource: 'status',
      place: 'mesh',
      effect: NO_STATUS,
    }),
  ),
  { verbs: ['get'], resource: PODS, place: 'mesh', effect: 'no Pod enrols' },
  { verbs: ['create'], resource: TOKEN_REVIEWS, place: 'cluster', effect: 'no Pod enrols' },
  {
    verbs: [...FOLLOW, 'create', 'patch'],
    ...BUNDLE,
    effect: 'Pods wait for the bundle that they mount',
  },
  { verbs: ['create'], resource: EVENTS, place: 'mesh', effect: 'no Events are written' },
  { verbs: ['get', 'watch', 'patch'], ...STATE, effect: 'the CA cannot be kept' },
  {
    verbs: ['get', 'create', 'update'],
    resource: LEASES,
    place: 'root',
    effect: 'no control plane leads',
  },
  ...[
    { resource: MUTATING_WEBHOOKS, name: 'weft-injector' },
    { resource: VALIDATING_WEBHOOKS, name: 'weft-validator' },
  ].map(
    (webhook): Right => ({
      verbs: ['get', 'watch', 'patch'],
      ...webhook,
      place: 'cluster',
      effect: 'the API server does not trust the webhook once roots are changed',
    }),
  ),
  {
    verbs: FOLLOW,
    resource: CUSTOM_RESOURCE_DEFINITIONS,
    place: 'cluster',
    effect: 'kinds that are installed later are noticed late',
  },
  {
    verbs: ['patch'],
    resource: TRUST_BUNDLES,
    subresource: 'status',
    name: 'weft',
    place: 'cluster',
    effect: 'TrustBundle weft does not say how the CA is',
  },
];

/** Seen in what the Deployment is told; absent: the whole cluster. */
async function watchedNamespaces({
  client,
  namespace,
}: CheckContext): Promise<readonly string[] | undefined> {
  const found = await client.get(DEPLOYMENTS, { name: CONTROL_PLANE, namespace });
  if (!found.ok) return undefined;
  const [container] = itemsAt(found.value, 'spec', 'template', 'spec', 'containers');
  const args: readonly unknown[] = Array.isArray(container?.['args']) ? container['args'] : [];
  const at = args.indexOf('--watch-namespace');
  if (at === -1) return undefined;
  const rest = args.slice(at + 1).map(String);
  const end = rest.findIndex((arg) => arg.startsWith('-'));
  return [...new Set([...rest.slice(0, end === -1 ? rest.length : end), namespace])];
}

/** @returns the places in which the right is needed and missing, or why that cannot be told. */
async function missingIn(
  right: Right & { readonly verb: string },
  places: readonly (string | undefined)[],
  { client, namespace: home }: CheckContext,
): Promise<readonly string[] | Finding> {
  const { verb, name, subresource, resource: on } = right;
  const missing: string[] = [];
  for (const place of places) {
    const review = await client.create(SUBJECT_ACCESS_REVIEWS, {
      apiVersion: apiVersionOf(SUBJECT_ACCESS_REVIEWS),
      kind: SUBJECT_ACCESS_REVIEWS.kind,
      spec: {
        user: `system:serviceaccount:${home}:${CONTROL_PLANE}`,
        groups: [
          'system:serviceaccounts',
          `system:serviceaccounts:${home}`,
          'system:authenticated',
        ],
        resourceAttributes: {
          verb,
          group: on.group,
          resource: on.plural,
          ...(subresource !== undefined && { subresource }),
          ...(name !== undefined && { name }),
          ...(place !== undefined && { namespace: place }),
        },
      },
    });
    if (!review.ok) return unread('rights', review);
    if (objectAt(review.value, 'status')?.['allowed'] !== true) missing.push(place ?? '');
  }
  return missing;
}

export const checkRights: Check = async (context) => {
  const { namespace } = context;
  const found = await context.client.get(SERVICE_ACCOUNTS, { name: CONTROL_PLANE, namespace });
  // Said by the check of the control plane.
  if (!found.ok) return [];
  const watched = await watchedNamespaces(context);
  const namespaces: Right = {
    verbs: FOLLOW,
    resource: NAMESPACES,
    place: 'cluster',
    effect: NOT_STARTING,
  };
  const findings: Finding[] = [];
  for (const right of watched === undefined ? [namespaces, ...RIGHTS] : RIGHTS) {
    const { place, effect, subresource, resource: on } = right;
    const places = { cluster: [undefined], root: [namespace], mesh: watched ?? [undefined] }[place];
    const outcomes = await Promise.all(
      right.verbs.map((verb) => missingIn({ ...right, verb }, places, context)),
    );
    for (const [index, outcome] of outcomes.entries()) {
      if ('state' in outcome) return [outcome];
      if (outcome.length === 0) continue;
      const where = outcome.filter((one) => one !== '').map((one) => ` in namespace ${one}`);
      const what = `${resourceName(on)}${subresource === undefined ? '' : `/${subresource}`}`;
      findings.push(
        bad(
          'rights',
          `the control plane may not ${right.verbs[index]} ${what}${where.join(',')}: ${effect}`,
          'give its roles back what the chart gives them: weft upgrade (or: helm upgrade)',
        ),
      );
    }
  }
  return findings.length > 0
    ? findings
    : [ok('rights', 'the control plane may do what it must, and it was asked of each verb')];
};
