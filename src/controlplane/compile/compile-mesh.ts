// Compiles a snapshot into the mesh: one pure function, which keeps of the mesh before all that did not change.
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import type { Snapshot } from '@weft/model/mesh/objects';
import { NO_KEYS, type FetchedKeys } from '@weft/model/policy/token-rules';
import { compileDestinations } from './destinations.ts';
import { compileSettings, type MeshIdentity } from './mesh-settings.ts';
import { findPolicyProblems } from './problems/policy-problems.ts';
import { findRegistryProblems } from './problems/registry-problems.ts';
import { orderObjects, type OrderedObjects } from './ordered-objects.ts';
import { indexPods } from './pod-index.ts';
import { findMembers } from './service-members.ts';
import { keep } from './structural-sharing.ts';
import { compileWorkloads } from './workloads.ts';

export interface MeshInput extends Snapshot {
  /** Keys of token issuers, as far as they were fetched. */
  readonly keys?: FetchedKeys;
}

/**
 * The same objects give the same mesh, in whatever order they come; `previous` decides only which objects are
 * shared with it, never what they say.
 */
export function compileMesh(snapshot: MeshInput, identity: MeshIdentity, previous?: Mesh): Mesh {
  const objects = orderObjects(snapshot);
  const compiled = compileSettings(objects.configs, identity);
  const settings = keep(previous?.settings, compiled.settings);
  const index = indexPods(objects.pods);
  const services = findMembers(objects.services, objects.slices, index);
  const { workloads, problems } = compileWorkloads({
    objects,
    index,
    services,
    settings,
    membership: identity.membership ?? 'all',
    keys: snapshot.keys ?? NO_KEYS,
    previous,
  });
  const outbound = compileDestinations({ services, workloads, settings, previous });
  const workloadsByIp = indexByIp(workloads);
  const mesh = { settings, workloads, workloadsByIp };
  return {
    revision: snapshot.revision,
    ...mesh,
    destinations: outbound.destinations,
    destinationsByAddress: outbound.byAddress,
    policies: objects.policies,
    problems: [
      ...compiled.problems,
      ...problems,
      ...outbound.problems,
      ...findRegistryProblems(mesh, services),
      ...findPolicyProblems({
        mesh,
        policies: objects.policies,
        namespaces: namespacesOf(objects),
      }),
    ],
  };
}

/** A policy alone makes no namespace. */
const namespacesOf = ({ namespaces, pods, services }: OrderedObjects): ReadonlySet<string> =>
  new Set([...namespaces.keys(), ...[...pods, ...services].map(({ meta }) => meta.namespace)]);

function indexByIp(workloads: ReadonlyMap<string, Workload>): Mesh['workloadsByIp'] {
  const byIp = new Map<string, Workload[]>();
  for (const workload of workloads.values()) {
    for (const ip of new Set(workload.ips)) {
      const list = byIp.get(ip);
      if (list === undefined) byIp.set(ip, [workload]);
      else list.push(workload);
    }
  }
  return byIp;
}
