// Says which Pods the API server has to ask the webhooks about, as the WorkloadPolicies want it: about none without them. Pure.
import { resolvesImages } from '@weft/model/admission/check-images';
import { type CheckContext, namespacesOf } from '@weft/model/admission/check-workload';
import { WORKLOAD_KINDS, type WorkloadPolicy } from '@weft/model/admission/types';
import type { PlainObject } from '@weft/model/policy/reader';
import { namespaceSelectorOf, resourceRules } from './render-policies.ts';

export const WORKLOADS = 'weft-workloads';
export const IMAGES = 'weft-images';
/** Asked about what the API server enforces by itself as well: without an answer Pods are made all the same. */
export const CHECKED_PATH = '/workloads/checked';
/** Asked about what nobody else enforces: without an answer no Pod is made. */
export const REQUIRED_PATH = '/workloads/required';
/** Asked to give Pods digests for tags: one that gets none is refused elsewhere. */
export const IMAGES_PATH = '/workloads/images';
/** Below the 10 s that the API server waits for all webhooks by default. */
const TIMEOUT_SECONDS = 5;

export interface WebhookRendering extends Pick<CheckContext, 'rootNamespace'> {
  /** In base64. */
  readonly caBundle: string;
  /** Whether the API server enforces its checks of Pods' fields by itself. */
  readonly isNative: (policy: WorkloadPolicy) => boolean;
  /** Default: the Service of the control plane. */
  readonly clientConfig?: (path: string) => PlainObject;
}

/** Whether it asks what no API server can find out by itself. */
export const asksMore = ({ images, vulnerabilities }: WorkloadPolicy): boolean =>
  images !== undefined || vulnerabilities !== undefined;

/** Whether nothing is made without an answer to that: who does not answer knows of no vulnerability. */
export const isWaitedFor = ({ images, vulnerabilities }: WorkloadPolicy): boolean =>
  images !== undefined || vulnerabilities?.whenUnknown === 'refuse';

/** Whether it refuses anything that the API server does not refuse by itself. */
export const needsWebhook = (policy: WorkloadPolicy, isNative: boolean): boolean =>
  policy.mode === 'enforce' && (!isNative || isWaitedFor(policy));

/** The list `webhooks` of the configuration, defaults written out. */
export function renderWebhooks(
  policies: readonly WorkloadPolicy[],
  rendering: WebhookRendering,
): readonly PlainObject[] {
  const isRequired = (policy: WorkloadPolicy): boolean =>
    needsWebhook(policy, rendering.isNative(policy));
  const parts = [
    { path: CHECKED_PATH, of: policies.filter((policy) => !isRequired(policy)) },
    { path: REQUIRED_PATH, of: policies.filter(isRequired) },
  ];
  return parts.flatMap(({ path, of }) => (of.length === 0 ? [] : [webhook(path, of, rendering)]));
}

function webhook(
  path: string,
  policies: readonly WorkloadPolicy[],
  rendering: WebhookRendering,
): PlainObject {
  const { caBundle, rootNamespace, clientConfig = serviceAt(rootNamespace) } = rendering;
  const kinds = WORKLOAD_KINDS.filter((kind) =>
    policies.some(({ match }) => match.kinds.includes(kind)),
  );
  return {
    name: `${path === CHECKED_PATH ? 'checked' : 'required'}.workloads.weft.dev`,
    admissionReviewVersions: ['v1'],
    clientConfig: { ...clientConfig(path), caBundle },
    rules: resourceRules(kinds),
    failurePolicy: path === CHECKED_PATH ? 'Ignore' : 'Fail',
    matchPolicy: 'Equivalent',
    namespaceSelector: selectorOf(policies, rootNamespace),
    objectSelector: {},
    sideEffects: 'None',
    timeoutSeconds: TIMEOUT_SECONDS,
  };
}

/** The same of the one that changes Pods. */
export function renderImageWebhooks(
  policies: readonly WorkloadPolicy[],
  { caBundle, rootNamespace, clientConfig = serviceAt(rootNamespace) }: WebhookRendering,
): readonly PlainObject[] {
  const asking = policies.filter(resolvesImages);
  if (asking.length === 0) return [];
  const webhook = {
    name: 'images.workloads.weft.dev',
    admissionReviewVersions: ['v1'],
    clientConfig: { ...clientConfig(IMAGES_PATH), caBundle },
    rules: [
      {
        apiGroups: [''],
        apiVersions: ['v1'],
        operations: ['CREATE', 'UPDATE'],
        resources: ['pods', 'pods/ephemeralcontainers'],
        scope: 'Namespaced',
      },
    ],
    failurePolicy: 'Ignore',
    matchPolicy: 'Equivalent',
    namespaceSelector: selectorOf(asking, rootNamespace),
    objectSelector: {},
    // Once more when a later webhook has added a container.
    reinvocationPolicy: 'IfNeeded',
    sideEffects: 'None',
    timeoutSeconds: TIMEOUT_SECONDS,
  };
  return [webhook];
}

const serviceAt =
  (namespace: string) =>
  (path: string): PlainObject => ({
    service: { name: 'weft-control-plane', namespace, path, port: 443 },
  });

/** At least the namespaces of every policy; which of two hold for a Pod is found out when it is asked about. */
function selectorOf(policies: readonly WorkloadPolicy[], rootNamespace: string): PlainObject {
  const [only, ...more] = policies;
  if (only !== undefined && more.length === 0) return namespaceSelectorOf(only, rootNamespace);
  const places = policies.map((policy) => namespacesOf(policy, rootNamespace));
  const key = 'kubernetes.io/metadata.name';
  const names = places.map((place) => place.only);
  if (names.every((one) => one !== undefined)) {
    return {
      matchExpressions: [{ key, operator: 'In', values: [...new Set(names.flat())].sort() }],
    };
  }
  const left = [...new Set(places.flatMap(({ not }) => not))].filter((name) =>
    places.every((place) => place.not.includes(name) || place.only?.includes(name) === false),
  );
  return left.length === 0
    ? {}
    : { matchExpressions: [{ key, operator: 'NotIn', values: left.sort() }] };
}
