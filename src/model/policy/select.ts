// Which policies hold for a workload, and which mTLS mode its ports have.
import type { Problem } from '../problem.ts';
import type { BrokenPolicy } from './compile.ts';
import type { RequestAuthentication } from './token-rules.ts';
import type { AuthorizationPolicy, MtlsMode, PeerAuthentication } from './types.ts';

export interface WorkloadRef {
  readonly namespace: string;
  readonly labels: ReadonlyMap<string, string>;
}

interface Scoped {
  readonly namespace: string;
  readonly selector?: ReadonlyMap<string, string> | undefined;
}

/** In the root namespace a policy holds for every namespace, elsewhere for its own; a selector narrows either. */
export function selects(policy: Scoped, workload: WorkloadRef, rootNamespace: string): boolean {
  if (policy.namespace !== rootNamespace && policy.namespace !== workload.namespace) return false;
  return matchesLabels(policy.selector, workload.labels);
}

export function matchesLabels(
  selector: ReadonlyMap<string, string> | undefined,
  labels: ReadonlyMap<string, string>,
): boolean {
  for (const [key, value] of selector ?? []) if (labels.get(key) !== value) return false;
  return true;
}

/** The policies a sidecar enforces. Those with `targetRefs` are for gateways and waypoints and hold for no workload. */
export const selectPolicies = <T extends AuthorizationPolicy | RequestAuthentication>(
  policies: readonly T[],
  workload: WorkloadRef,
  rootNamespace: string,
): readonly T[] =>
  policies.filter(
    (policy) => policy.targetRefs.length === 0 && selects(policy, workload, rootNamespace),
  );

/** The broken policies that close a workload. */
export const selectBroken = (
  broken: readonly BrokenPolicy[],
  workload: WorkloadRef,
  rootNamespace: string,
): readonly BrokenPolicy[] => broken.filter((policy) => selects(policy, workload, rootNamespace));

/** The composed modes of a workload. */
export interface MtlsModes {
  readonly mode: MtlsMode;
  /** Ports with a mode of their own, by workload port. */
  readonly portModes: ReadonlyMap<number, MtlsMode>;
}

export const modeOfPort = (modes: MtlsModes, port: number): MtlsMode =>
  modes.portModes.get(port) ?? modes.mode;

const byAge = (a: PeerAuthentication, b: PeerAuthentication): number =>
  a.createdAtMs - b.createdAtMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/**
 * Mesh, then namespace, then workload, then port; UNSET inherits and the last resort is PERMISSIVE. Of several at one
 * level the oldest holds, then the first by name.
 * Source: Istio's `ComposePeerAuthentication`.
 */
export function composePeerAuthentication(
  policies: readonly PeerAuthentication[],
  workload: WorkloadRef,
  rootNamespace: string,
): MtlsModes {
  const oldest = policies.filter((policy) => selects(policy, workload, rootNamespace)).sort(byAge);
  const isRoot = (policy: PeerAuthentication): boolean => policy.namespace === rootNamespace;
  const mesh = oldest.find((policy) => isRoot(policy) && policy.selector === undefined);
  const namespace = oldest.find((policy) => !isRoot(policy) && policy.selector === undefined);
  const own = oldest.find((policy) => !isRoot(policy) && policy.selector !== undefined);
  const mode = own?.mode ?? namespace?.mode ?? mesh?.mode ?? 'PERMISSIVE';
  const portModes = new Map<number, MtlsMode>();
  for (const [port, portMode] of own?.portModes ?? []) portModes.set(port, portMode ?? mode);
  return { mode, portModes };
}

/** PeerAuthentications that have no effect, as warnings: those that lose to an older one, and selectors in the root namespace. */
export function peerAuthenticationConflicts(
  policies: readonly PeerAuthentication[],
  rootNamespace: string,
): readonly Problem[] {
  const problems: Problem[] = [];
  const warn = (policy: PeerAuthentication, code: string, message: string, cure: string): void => {
    const object = { kind: 'PeerAuthentication', namespace: policy.namespace, name: policy.name };
    problems.push({ severity: 'warning', code, message, cure, object });
  };
  const firstByScope = new Map<string, PeerAuthentication>();
  for (const policy of [...policies].sort(byAge)) {
    if (policy.namespace === rootNamespace && policy.selector !== undefined) {
      warn(
        policy,
        'selector-in-root',
        `has a selector in the root namespace ${rootNamespace} and is ignored`,
        "move it to the workload's namespace",
      );
      continue;
    }
    const labels = [...(policy.selector ?? [])].map(([key, value]) => `${key}=${value}`).sort();
    const scope = `${policy.namespace}\0${labels.join('\0')}`;
    const first = firstByScope.get(scope);
    if (first === undefined) firstByScope.set(scope, policy);
    else {
      warn(
        policy,
        'conflicting-peer-authentication',
        `is ignored: ${first.namespace}/${first.name} is older and has the same scope`,
        'keep one of them',
      );
    }
  }
  return problems;
}
