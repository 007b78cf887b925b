// Reads from a cluster what a report is about: policies, namespaces, and the Pods that run.
import { readRunningPod } from '@weft/controlplane/vulnerabilities/running-pods';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  CLUSTER_WORKLOAD_POLICIES,
  type KubeResource,
  NAMESPACES,
  PODS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import {
  parseWorkloadPolicy,
  readBrokenWorkloadPolicy,
} from '@weft/model/admission/parse-workload-policy';
import type { WorkloadPolicy, WorkloadPolicyKind } from '@weft/model/admission/types';
import { readWorkload } from '@weft/model/admission/workload';
import { formatProblem } from '@weft/model/problem';
import type { Asked } from './judge-workloads.ts';

const PAGE = 500;

export interface ClusterPolicies {
  readonly policies: readonly WorkloadPolicy[];
  /** What is wrong with those that cannot be read. */
  readonly problems: readonly string[];
}

/** @throws Error that names verb, resource and cure. */
export async function readClusterPolicies(client: KubeClient): Promise<ClusterPolicies> {
  const policies: WorkloadPolicy[] = [];
  const problems: string[] = [];
  const kinds: readonly (readonly [KubeResource, WorkloadPolicyKind])[] = [
    [CLUSTER_WORKLOAD_POLICIES, 'ClusterWorkloadPolicy'],
    [WORKLOAD_POLICIES, 'WorkloadPolicy'],
  ];
  for (const [resource, kind] of kinds) {
    for await (const object of itemsOf(client, resource)) {
      const whole = { ...object, apiVersion: apiVersionOf(resource), kind };
      const parsed = parseWorkloadPolicy(whole, kind);
      if (parsed.ok) policies.push(parsed.value);
      else {
        const name = textAt(object, 'metadata', 'name') ?? '';
        const namespace = textAt(object, 'metadata', 'namespace');
        const ref = { kind, name, ...(namespace !== undefined && { namespace }) };
        problems.push(...parsed.problems.map((one) => formatProblem({ ...one, object: ref })));
        const closed = readBrokenWorkloadPolicy(whole, kind);
        if (closed !== undefined) policies.push(closed);
      }
    }
  }
  return { policies, problems };
}

const ENDED: ReadonlySet<string | undefined> = new Set(['Succeeded', 'Failed']);

/** Those that run or will. @throws Error that names verb, resource and cure. */
export async function* runningPods(
  client: KubeClient,
  namespace: string | undefined,
): AsyncGenerator<Asked> {
  const labels = new Map<string, ReadonlyMap<string, string>>();
  for await (const object of itemsOf(client, NAMESPACES)) {
    labels.set(textAt(object, 'metadata', 'name') ?? '', labelsOf(object));
  }
  for await (const object of itemsOf(client, PODS, namespace)) {
    if (ENDED.has(textAt(object, 'status', 'phase'))) continue;
    const workload = readWorkload({ ...object, apiVersion: 'v1', kind: 'Pod' });
    if (workload === undefined) continue;
    const own = labels.get(workload.namespace);
    const pod = readRunningPod(object);
    yield { workload, ...(own && { namespaceLabels: own }), ...(pod && { pod }) };
  }
}

function labelsOf(object: KubeObject): ReadonlyMap<string, string> {
  const labels = Object.entries(objectAt(object, 'metadata', 'labels') ?? {});
  return new Map(
    labels.flatMap(([key, value]) => (typeof value === 'string' ? [[key, value]] : [])),
  );
}

async function* itemsOf(
  client: KubeClient,
  resource: KubeResource,
  namespace?: string,
): AsyncGenerator<KubeObject> {
  let continueToken: string | undefined;
  do {
    const listed = await client.list(resource, {
      limit: PAGE,
      ...(namespace !== undefined && { namespace }),
      ...(continueToken !== undefined && { continueToken }),
    });
    if (!listed.ok) throw new Error(listed.message);
    yield* listed.value.items;
    ({ continueToken } = listed.value);
  } while (continueToken !== undefined);
}
