// Says of each binding where its credentials are in force, and what keeps them from being so; in the form of a policy's report. Pure.
import { selectsWorkload } from '@weft/model/credentials/grants';
import type { CredentialBinding } from '@weft/model/credentials/types';
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import type { Problem } from '@weft/model/problem';
import type { PolicyReport, WorkloadEnforcement } from '../status/policy-status.ts';
import type { BindingIndex } from './binding-index.ts';
import type { CredentialDesk } from './credential-desk.ts';
import type { FoundSource } from './sources/configured-sources.ts';
import type { WatchStream } from './watch-stream.ts';

export interface BindingFacts {
  readonly index: BindingIndex;
  /** Of the mesh, with a sidecar, of the binding's namespace. */
  readonly workloads: readonly Workload[];
  readonly desk: Pick<CredentialDesk, 'streamsOf'>;
  /** At other control planes: names of what is in force at the proxy, for each where it watches. */
  readonly elsewhere: (proxyId: string) => readonly (readonly string[])[];
  readonly find: (binding: CredentialBinding, at: number) => FoundSource;
}

export interface BindingState {
  readonly enforced: readonly WorkloadEnforcement[];
  readonly problems: readonly Problem[];
}

/** Problems of one binding; who has more cures these first. */
const MAX_PROBLEMS = 20;
const NO_PROXY = 'a proxy would do that';

export function bindingState(binding: CredentialBinding, facts: BindingFacts): BindingState {
  const problems = new Map<string, Problem>();
  const find = (at: number, code: string, severity: Problem['severity'], message: string): void => {
    if (problems.size >= MAX_PROBLEMS) return;
    const { namespace, name } = binding;
    const object = { kind: 'CredentialBinding', namespace, name };
    const field = `spec.credentials[${at}]`;
    problems.set(`${at} ${code} ${message}`, { severity, code, field, message, object });
  };
  binding.credentials.forEach((_credential, at) => {
    const found = facts.find(binding, at);
    if (!found.ok) find(at, 'no-source', 'error', `${found.reason}; ${found.cure}`);
  });
  const enforced: WorkloadEnforcement[] = [];
  for (const workload of facts.workloads) {
    if (!selectsWorkload(binding, workload)) continue;
    const { byName } = facts.index.grantsOf(workload);
    const streams = facts.desk.streamsOf(workload.id);
    const not = new Set<NonNullable<WorkloadEnforcement['reason']>>();
    const elsewhere = facts.elsewhere(workload.id);
    if (workload.isProxyless === true) not.add('unsupported');
    else if (streams.length + elsewhere.length === 0) not.add('not-connected');
    binding.credentials.forEach(({ name }, at) => {
      if (byName.get(name)?.binding.name !== binding.name) {
        const message = `${workload.id} has a credential ${name} by another binding`;
        find(at, 'name-taken', 'warning', message);
        return;
      }
      if (workload.isProxyless === true) {
        const message = `Pods of ${workload.serviceAccount} with weft.dev/proxy: none are not handed it: ${NO_PROXY}`;
        find(at, 'no-proxy', 'warning', message);
        return;
      }
      if (elsewhere.some((names) => !names.includes(name))) not.add('not-in-force');
      for (const stream of streams) {
        const { reason, why } = stateAt(stream, name);
        if (why !== undefined) find(at, 'source-unavailable', 'warning', why);
        if (reason !== undefined) not.add(reason);
      }
    });
    const [reason] = not;
    enforced.push({
      proxy: workload.id,
      enforced: reason === undefined,
      by: reason === undefined ? 'confirmed' : 'nothing',
      ...(reason !== undefined && { reason }),
      ...(reason === 'unsupported' && { detail: NO_PROXY }),
    });
  }
  return { enforced, problems: [...problems.values()] };
}

/** By namespace, of those that have bindings. */
export function workloadsWithBindings(
  mesh: Mesh,
  index: BindingIndex,
): ReadonlyMap<string, readonly Workload[]> {
  const found = new Map<string, Workload[]>();
  for (const workload of mesh.workloads.values()) {
    const { namespace, isInMesh } = workload;
    if (!isInMesh || index.in(namespace).length === 0) continue;
    const own = found.get(namespace);
    if (own === undefined) found.set(namespace, [workload]);
    else own.push(workload);
  }
  return found;
}

function stateAt(
  stream: WatchStream,
  name: string,
): {
  readonly reason?: NonNullable<WorkloadEnforcement['reason']>;
  readonly why?: string;
} {
  const granted = stream.grantedAt(name);
  switch (granted?.kind) {
    case undefined:
    case 'pending':
      return { reason: 'not-in-force' };
    case 'gone':
    case 'unavailable':
      return { reason: 'source-unavailable', why: granted.reason };
    case 'values': {
      const { version, unavailable } = granted;
      return {
        ...(!stream.hasInForce(name, version) && { reason: 'not-in-force' as const }),
        ...(unavailable !== undefined && { why: `${unavailable}; what was read last holds` }),
      };
    }
    default:
      return granted satisfies never;
  }
}

export function reportOf(
  { namespace, name }: CredentialBinding,
  enforced: readonly WorkloadEnforcement[],
  since: string,
): PolicyReport {
  const count = enforced.filter((one) => one.enforced).length;
  return {
    kind: 'CredentialBinding',
    namespace,
    name,
    enforced: `${count}/${enforced.length}`,
    isEnforced: count === enforced.length,
    since,
    workloads: enforced,
  };
}
