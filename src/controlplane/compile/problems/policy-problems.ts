// Finds policies that are in force and may not do what their author expects: on nothing, on nobody's sidecar, on the wrong port.
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import { peerAuthenticationConflicts, selects } from '@weft/model/policy/select';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { findRuleProblems, loginProblems, tokenProblems } from './rule-problems.ts';
import { customProblems } from './custom-problems.ts';
import { someOf, warning } from './warning.ts';

export interface PolicyProblemInput {
  readonly mesh: Pick<Mesh, 'settings' | 'workloads' | 'policies'>;
  /** Namespaces of policies that are not declared and have nothing else in them. */
  readonly unknownNamespaces: ReadonlySet<string>;
  /**
   * Another object whenever something has changed that is looked at here of the workloads of a namespace, `''` for all
   * of them; what was found under the same one holds still.
   */
  readonly shapes: ReadonlyMap<string, object>;
}

interface Scoped {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly selector: ReadonlyMap<string, string> | undefined;
}

interface Found {
  readonly shape: object | undefined;
  readonly isUnknown: boolean;
  readonly problems: readonly Problem[];
}

/** What was found of a policy, for as long as the policy lives. */
export type PolicyFindings = WeakMap<object, Found>;

type Judge = (selected: readonly Workload[]) => readonly Problem[];

export function findPolicyProblems(
  input: PolicyProblemInput,
  findings: PolicyFindings,
): readonly Problem[] {
  const { mesh, unknownNamespaces, shapes } = input;
  const { authorization, broken, peerAuthentication, requestAuthentication, traffic } =
    mesh.policies;
  const { rootNamespace } = mesh.settings;
  let groups: ReadonlyMap<string, readonly Workload[]> | undefined;
  const select = (policy: Scoped): readonly Workload[] => {
    groups ??= groupWorkloads(mesh.workloads);
    const candidates =
      policy.namespace === rootNamespace
        ? [...groups.values()].flat()
        : (groups.get(policy.namespace) ?? []);
    return candidates.filter((workload) => selects(policy, workload, rootNamespace));
  };
  const problems: Problem[] = [...peerAuthenticationConflicts(peerAuthentication, rootNamespace)];
  const check = (policy: Scoped, source: object, judge: Judge = () => []): void => {
    const isRoot = policy.namespace === rootNamespace;
    const isUnknown = !isRoot && unknownNamespaces.has(policy.namespace);
    const shape = shapes.get(isRoot ? '' : policy.namespace);
    const known = findings.get(source);
    if (known !== undefined && known.shape === shape && known.isUnknown === isUnknown) {
      problems.push(...known.problems);
      return;
    }
    const selected = select(policy);
    const found = [...scopeProblems(policy, selected, isUnknown), ...judge(selected)];
    findings.set(source, { shape, isUnknown, problems: found });
    problems.push(...found);
  };
  for (const policy of authorization) {
    if (policy.targetRefs.length > 0) continue;
    check({ kind: 'AuthorizationPolicy', ...scopeOf(policy) }, policy, (selected) => [
      ...findRuleProblems(policy, selected),
      ...customProblems(policy, selected),
      ...tokenProblems(policy, selected),
      ...loginProblems(policy, selected),
    ]);
  }
  for (const policy of requestAuthentication) {
    if (policy.targetRefs.length > 0) continue;
    check({ kind: 'RequestAuthentication', ...scopeOf(policy) }, policy);
  }
  for (const policy of mesh.policies.basicAuthentication) {
    check({ kind: 'BasicAuthentication', ...scopeOf(policy) }, policy);
  }
  for (const policy of mesh.policies.terminations ?? []) {
    check({ kind: 'TlsTermination', ...scopeOf(policy) }, policy);
  }
  for (const policy of traffic) {
    if (policy.targetRefs.length > 0) continue;
    check({ kind: 'TrafficPolicy', ...scopeOf(policy) }, policy);
  }
  for (const object of broken) {
    const { of, policy, selector } = object;
    check({ kind: of, namespace: policy.namespace, name: policy.name, selector }, object);
  }
  for (const policy of peerAuthentication) {
    check({ kind: 'PeerAuthentication', ...scopeOf(policy) }, policy);
  }
  return problems;
}

const scopeOf = ({ namespace, name, selector }: Omit<Scoped, 'kind'>): Omit<Scoped, 'kind'> => ({
  namespace,
  name,
  selector,
});

/** Namespaces, and workloads in them, by name. */
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
  isUnknown: boolean,
): readonly Problem[] {
  const ref: ObjectRef = { kind: policy.kind, namespace: policy.namespace, name: policy.name };
  if (isUnknown) {
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
