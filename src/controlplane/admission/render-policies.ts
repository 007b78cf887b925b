// Makes a WorkloadPolicy's checks of Pods into a ValidatingAdmissionPolicy, by which the API server enforces them while Weft is down. Pure.
import { createHash } from 'node:crypto';
import {
  namespacesOf,
  podChecksOf,
  policyName,
  type CheckContext,
} from '@weft/model/admission/check-workload';
import { celVariables, quote, quoteAll } from '@weft/model/admission/finders';
import type { Exemption, WorkloadKind, WorkloadPolicy } from '@weft/model/admission/types';
import { WORKLOAD_PLACES } from '@weft/model/admission/workload';
import type { PlainObject } from '@weft/model/policy/reader';

export const API_VERSION = 'admissionregistration.k8s.io/v1';
/** By which those that Weft made are known from all others. */
export const OWN_LABEL = 'weft.dev/workload-policy';
const MAX_NAME = 253;
/** Of the 5 KiB that the API server takes, with room for characters of several bytes. */
const MAX_MESSAGE = 4_000;

export interface RenderedPolicy {
  readonly name: string;
  readonly policy: PlainObject;
  readonly binding: PlainObject;
}

/** The same for every version of a policy, and another for each policy. */
export function renderedName({ kind, namespace, name }: WorkloadPolicy): string {
  const whole =
    kind === 'ClusterWorkloadPolicy'
      ? `${name}.cluster-workloads.weft.dev`
      : `${namespace}.${name}.workloads.weft.dev`;
  if (whole.length <= MAX_NAME) return whole;
  const digest = createHash('sha256').update(whole).digest('hex');
  return `${digest}.workloads.weft.dev`;
}

/** @returns `undefined` when it asks nothing of a Pod's fields. */
export function renderPolicy(
  policy: WorkloadPolicy,
  context: CheckContext,
): RenderedPolicy | undefined {
  if (policy.pod === undefined && policy.broken === undefined) return undefined;
  const name = renderedName(policy);
  const metadata = {
    name,
    labels: { 'app.kubernetes.io/part-of': 'weft', [OWN_LABEL]: 'rendered' },
  };
  return {
    name,
    policy: {
      apiVersion: API_VERSION,
      kind: 'ValidatingAdmissionPolicy',
      metadata,
      spec: policySpec(policy, context),
    },
    binding: {
      apiVersion: API_VERSION,
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata,
      // Warnings come from the webhook: told by both, each would be read twice.
      spec: {
        policyName: name,
        validationActions: [policy.mode === 'enforce' ? 'Deny' : 'Audit'],
      },
    },
  };
}

/** Defaults are written out, as the API server would: what is read back equals what was sent. */
function policySpec(policy: WorkloadPolicy, context: CheckContext): PlainObject {
  const message = `${policyName(policy)} ${VERBS[policy.mode]} this`;
  const lines = `variables.found.join("; ")`;
  return {
    failurePolicy: policy.mode === 'enforce' ? 'Fail' : 'Ignore',
    matchConstraints: {
      matchPolicy: 'Equivalent',
      namespaceSelector: namespaceSelectorOf(policy, context.rootNamespace),
      objectSelector: {},
      resourceRules: resourceRules(policy.match.kinds),
    },
    variables: variablesOf(policy, context),
    validations: [
      {
        expression: 'variables.skipped || variables.found.size() == 0',
        message: `${message}: more was found than a message holds`,
        messageExpression: `${quote(`${message} `)} + request.kind.kind + ": " + (${lines}.size() > ${MAX_MESSAGE} ? ${lines}.substring(0, ${MAX_MESSAGE}) + "…" : ${lines})`,
        reason: 'Invalid',
      },
    ],
  };
}

const VERBS = { enforce: 'refuses', warn: 'warns of', audit: 'notes' } as const;

/** By name or by labels; also used for webhooks. */
export function namespaceSelectorOf(policy: WorkloadPolicy, rootNamespace: string): PlainObject {
  const key = 'kubernetes.io/metadata.name';
  const { only, not } = namespacesOf(policy, rootNamespace);
  const matchExpressions = [
    ...(only === undefined ? [] : [{ key, operator: 'In', values: only }]),
    ...(not.length === 0 ? [] : [{ key, operator: 'NotIn', values: not }]),
  ];
  const { namespaceLabels } = policy.match;
  return {
    ...(namespaceLabels.size > 0 && { matchLabels: Object.fromEntries(namespaceLabels) }),
    ...(matchExpressions.length > 0 && { matchExpressions }),
  };
}

/** Containers can be added to a Pod that runs, and their resources be changed. */
const POD_PARTS = ['pods/ephemeralcontainers', 'pods/resize'];

/** The rules of an admission policy or webhook that has these kinds made or changed. */
export function resourceRules(kinds: readonly WorkloadKind[]): readonly PlainObject[] {
  const byVersion = new Map<string, string[]>();
  for (const kind of kinds) {
    const { apiVersion, plural } = WORKLOAD_PLACES[kind];
    const parts = kind === 'Pod' ? POD_PARTS : [];
    byVersion.set(apiVersion, [...(byVersion.get(apiVersion) ?? []), plural, ...parts]);
  }
  return [...byVersion].map(([apiVersion, resources]) => {
    const slash = apiVersion.indexOf('/');
    return {
      apiGroups: [slash === -1 ? '' : apiVersion.slice(0, slash)],
      apiVersions: [apiVersion.slice(slash + 1)],
      operations: ['CREATE', 'UPDATE'],
      resources,
      scope: 'Namespaced',
    };
  });
}

interface Variable {
  readonly name: string;
  readonly expression: string;
}

/** From an object of any of the kinds to its Pod. */
function podOf(object: string): string {
  const way = (kind: WorkloadKind): string => [object, ...WORKLOAD_PLACES[kind].path].join('.');
  return `(request.kind.kind == "Pod" ? ${way('Pod')} : request.kind.kind == "CronJob" ? ${way('CronJob')} : request.kind.kind == "PodTemplate" ? ${way('PodTemplate')} : ${way('Deployment')})`;
}

const mapOf = (pod: string, key: string): string => `${pod}.?metadata.?${key}.orValue({})`;

function variablesOf(policy: WorkloadPolicy, context: CheckContext): readonly Variable[] {
  const captureImage = policy.pod?.allowWeftCapture === true ? context.captureImage : undefined;
  const matches = (labels: string): string => hasAll(labels, policy.match.labels);
  const leftOut = policy.exemptions.flatMap((exemption, index) =>
    context.nowMs >= exemption.expiresAtMs ? [] : [{ exemption, name: `exempt${index}` }],
  );
  const isNothingNew = [
    'request.operation == "UPDATE"',
    'variables.before.spec == variables.spec',
    `${mapOf('variables.before', 'annotations')} == variables.annotations`,
    `(has(object.metadata.deletionTimestamp) || (${[
      matches('variables.labelsBefore'),
      ...leftOut.map(
        ({ exemption, name }) =>
          `(!(${exemptionCel(exemption, 'variables.labelsBefore')}) || variables.${name})`,
      ),
    ].join(' && ')}))`,
  ].join(' && ');
  const checks = podChecksOf(policy);
  return [
    { name: 'pod', expression: podOf('object') },
    { name: 'spec', expression: 'variables.pod.spec' },
    { name: 'labels', expression: mapOf('variables.pod', 'labels') },
    { name: 'annotations', expression: mapOf('variables.pod', 'annotations') },
    { name: 'before', expression: podOf('oldObject') },
    { name: 'labelsBefore', expression: mapOf('variables.before', 'labels') },
    ...leftOut.map(({ exemption, name }) => ({
      name,
      expression: exemptionCel(exemption, 'variables.labels'),
    })),
    {
      name: 'skipped',
      expression: `!(${matches('variables.labels')}) || (${isNothingNew})`,
    },
    ...celVariables(captureImage),
    ...checks.map(({ id, rule, cure, finder }, index) => ({
      name: `found${index}`,
      expression: leavingOut(
        leftOut.filter(({ exemption: { checks: of } }) => of.length === 0 || of.includes(id)),
        `(${finder.cel}).map(t, t + ${quote(` (${id}, ${rule}) — ${cure}`)})`,
      ),
    })),
    {
      name: 'found',
      expression:
        policy.broken === undefined
          ? checks.map((_, index) => `variables.found${index}`).join(' + ')
          : `[${quote(`${policy.broken} (policy, spec) — correct or delete ${policyName(policy)}`)}]`,
    },
  ];
}

const leavingOut = (exemptions: readonly { readonly name: string }[], found: string): string =>
  exemptions.length === 0
    ? found
    : `${exemptions.map(({ name }) => `variables.${name}`).join(' || ')} ? [] : ${found}`;

const hasAll = (labels: string, wanted: ReadonlyMap<string, string>): string =>
  wanted.size === 0
    ? 'true'
    : `(${[...wanted]
        .map(
          ([key, value]) =>
            `${quote(key)} in ${labels} && ${labels}[${quote(key)}] == ${quote(value)}`,
        )
        .join(' && ')})`;

/**
 * Who is made while nobody renders anew is asked by the API server's own clock whether the exemption still holds;
 * what is changed is left out until it is rendered anew.
 */
function exemptionCel(exemption: Exemption, labels: string): string {
  const { namespaces, serviceAccounts, users, groups, expiresAtMs } = exemption;
  const end = new Date(expiresAtMs).toISOString();
  const account = 'variables.spec.?serviceAccountName.orValue("")';
  return [
    `(request.operation != "CREATE" || timestamp(object.metadata.creationTimestamp) < timestamp(${quote(end)}))`,
    hasAll(labels, exemption.labels),
    ...(namespaces.length > 0 ? [`request.namespace in ${quoteAll(namespaces)}`] : []),
    ...(serviceAccounts.length > 0
      ? [`(${account} == "" ? "default" : ${account}) in ${quoteAll(serviceAccounts)}`]
      : []),
    ...(users.length > 0 ? [`request.userInfo.username in ${quoteAll(users)}`] : []),
    ...(groups.length > 0
      ? [`request.userInfo.?groups.orValue([]).exists(g, g in ${quoteAll(groups)})`]
      : []),
  ].join(' && ');
}
