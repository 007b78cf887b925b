// Finds policies that are in force and may not do what their author expects: on nothing, on nobody's sidecar, on the wrong port.
import type { Mesh, MeshPolicies, Workload } from '@weft/model/mesh/mesh';
import { peerAuthenticationConflicts, selects } from '@weft/model/policy/select';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { findRuleProblems, tokenProblems } from './rule-problems.ts';
import { customProblems } from './custom-problems.ts';
import { someOf, warning } from './warning.ts';

export interface PolicyProblemInput {
  readonly mesh: Pick<Mesh, 'settings' | 'workloads'>;
  readonly policies: MeshPolicies;
  /** Namespaces that are declared or have something in them. */
  readonly namespaces: ReadonlySet<string>;
}

interface Scoped {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly selector: ReadonlyMap<string, string> | undefined;
}

export function findPolicyProblems(input: PolicyProblemInput): readonly Problem[] {
  const { authorization, broken, peerAuthentication, requestAuthentication } = input.policies;
  const { rootNamespace } = input.mesh.settings;
  const byNamespace = groupWorkloads(input.mesh.workloads);
  const problems: Problem[] = [...peerAuthenticationConflicts(peerAuthentication, rootNamespace)];
  const check = (policy: Scoped): readonly Workload[] => {
    const candidates =
      policy.namespace === rootNamespace
        ? [...input.mesh.workloads.values()]
        : (byNamespace.get(policy.namespace) ?? []);
    const selected = candidates.filter((workload) => selects(policy, workload, rootNamespace));
    problems.push(...scopeProblems(policy, selected, input));
    return selected;
  };
  for (const policy of authorization) {
    if (policy.targetRefs.length > 0) continue;
    const { namespace, name, selector } = policy;
    const selected = check({ kind: 'AuthorizationPolicy', namespace, name, selector });
    problems.push(
      ...findRuleProblems(policy, selected),
      ...customProblems(policy, selected),
      ...tokenProblems(policy, selected),
    );
  }
  for (const { namespace, name, selector, targetRefs } of requestAuthentication) {
    if (targetRefs.length > 0) continue;
    check({ kind: 'RequestAuthentication', namespace, name, selector });
  }
  for (const { of, policy, selector } of broken) {
    check({ kind: of, namespace: policy.namespace, name: policy.name, selector });
  }
  for (const { namespace, name, selector } of peerAuthentication) {
    check({ kind: 'PeerAuthentication', namespace, name, selector });
  }
  return problems;
}

function groupWorkloads(
  workloads: ReadonlyMap<string, Workload>,
): ReadonlyMap<string, readonly Workload[]> {
  const groups = new Map<string, Workload[]>();
  for (const workload of workloads.values()) {
    const group = groups.get(workload.namespace);
    if (group === undefined) groups.set(workload.namespace, [workload]);
    else group.push(workload);
  }
  return groups;
}

function scopeProblems(
  policy: Scoped,
  selected: readonly Workload[],
  { namespaces, mesh }: PolicyProblemInput,
): readonly Problem[] {
  const ref: ObjectRef = { kind: policy.kind, namespace: policy.namespace, name: policy.name };
  const isRoot = policy.namespace === mesh.settings.rootNamespace;
  if (!isRoot && !namespaces.has(policy.namespace)) {
    const message = `is in namespace ${policy.namespace}, of which nothing else is known`;
    const cure = 'a policy holds for the workloads of its own namespace: check the name';
    return [warning(ref, 'unknown-namespace', { field: 'metadata.namespace', message, cure })];
  }
  if (selected.length === 0 && policy.selector !== undefined) {
    const labels = [...policy.selector].map(([key, value]) => `${key}=${value}`).sort();
    const message = `selects no workload with ${labels.join(', ')}`;
    const cure = 'compare it with the labels of the Pods';
    return [warning(ref, 'selects-nothing', { field: 'spec.selector', message, cure })];
  }
  // What holds for a whole namespace says nothing about the Pods in it that are meant to stay out.
  if (policy.kind === 'PeerAuthentication' && policy.selector === undefined) return [];
  const outside = selected.filter(({ isInMesh }) => !isInMesh);
  if (outside.length === 0) return [];
  const names = someOf(outside.map(({ name }) => name));
  const message = `is not enforced for ${names}: there is no sidecar`;
  return [warning(ref, 'not-enforced', { message, cure: 'remove weft.dev/inject: "false" there' })];
}
