// Says where each policy is to be enforced: the proxies that it selects, and the listener version that carries it there.
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import { peerAuthenticationConflicts, selects } from '@weft/model/policy/select';
import type { RequestAuthentication } from '@weft/model/policy/token-rules';

export interface PolicyPlacement {
  readonly kind: 'AuthorizationPolicy' | 'PeerAuthentication' | 'RequestAuthentication';
  readonly namespace: string;
  readonly name: string;
  /** Of an AuthorizationPolicy. */
  readonly action?: string;
  readonly workloads: readonly {
    readonly proxyId: string;
    /** Of the listener `inbound`. */
    readonly listenerVersion: string;
  }[];
}

/** Policies that hold for no sidecar (dry runs, those of gateways, those that lose to an older one) select none. */
export function placePolicies(
  mesh: Mesh,
  listenerVersion: (workload: Workload) => string,
): readonly PolicyPlacement[] {
  const { authorization, peerAuthentication, requestAuthentication, broken } = mesh.policies;
  const { rootNamespace } = mesh.settings;
  const inMesh = [...mesh.workloads.values()].filter(({ isInMesh }) => isInMesh);
  const place = (workloads: readonly Workload[]): PolicyPlacement['workloads'] =>
    workloads.map((workload) => ({
      proxyId: workload.id,
      listenerVersion: listenerVersion(workload),
    }));
  const conflicts = peerAuthenticationConflicts(peerAuthentication, rootNamespace);
  const losers = new Set(conflicts.map(({ object }) => `${object?.namespace}/${object?.name}`));
  const holders = holdersByPolicy(inMesh);
  return [
    ...authorization.map((policy): PolicyPlacement => {
      const { namespace, name, action } = policy;
      const held = policy.isDryRun ? [] : (holders.get(`${namespace}/${name}`) ?? []);
      return { kind: 'AuthorizationPolicy', namespace, name, action, workloads: place(held) };
    }),
    ...broken.map(({ of, policy, selector }): PolicyPlacement => {
      const { namespace, name, action } = policy;
      const held = inMesh.filter((workload) =>
        selects({ namespace, selector }, workload, rootNamespace),
      );
      return { kind: of, namespace, name, ...(action && { action }), workloads: place(held) };
    }),
    ...requestAuthentication.map((policy): PolicyPlacement => {
      const { namespace, name } = policy;
      const held = selectHolders(inMesh, policy, rootNamespace);
      return { kind: 'RequestAuthentication', namespace, name, workloads: place(held) };
    }),
    ...peerAuthentication.map((policy): PolicyPlacement => {
      const { namespace, name } = policy;
      const isLost = losers.has(`${namespace}/${name}`);
      const held = inMesh.filter((workload) => !isLost && selects(policy, workload, rootNamespace));
      return { kind: 'PeerAuthentication', namespace, name, workloads: place(held) };
    }),
  ];
}

const selectHolders = (
  workloads: readonly Workload[],
  policy: RequestAuthentication,
  rootNamespace: string,
): readonly Workload[] =>
  policy.targetRefs.length > 0
    ? []
    : workloads.filter((workload) => selects(policy, workload, rootNamespace));

function holdersByPolicy(workloads: readonly Workload[]): ReadonlyMap<string, readonly Workload[]> {
  const holders = new Map<string, Set<Workload>>();
  for (const workload of workloads) {
    for (const { namespace, name } of workload.inbound.policies) {
      const key = `${namespace}/${name}`;
      const held = holders.get(key) ?? new Set<Workload>();
      holders.set(key, held.add(workload));
    }
  }
  return new Map([...holders].map(([key, held]) => [key, [...held]]));
}
