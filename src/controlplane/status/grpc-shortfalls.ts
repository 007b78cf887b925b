// Says of every policy what the gRPC servers without a proxy that it selects close of it or do not enforce: as problems, and by workload. Pure.
import type { InboundSpec, Mesh, Workload } from '@weft/model/mesh/mesh';
import type { Named } from '@weft/model/policy/rule-name';
import { selectPolicies, selects } from '@weft/model/policy/select';
import type { PeerAuthentication } from '@weft/model/policy/types';
import type { Problem } from '@weft/model/problem';
import { someOf, warning } from '../compile/problems/warning.ts';
import { serverRules, type Shortfall } from '../resources/grpc/grpc-server-rules.ts';
import type { GrpcLibrary } from '../serve/view-source.ts';

/** By which libraries a workload's own programs serve; by `POD.NAMESPACE`. */
export type GrpcServers = ReadonlyMap<string, ReadonlySet<GrpcLibrary>>;

/** One policy's, for all workloads that fall short alike. */
export interface PolicyShortfall extends Shortfall {
  readonly policy: Named;
  /** `POD.NAMESPACE`, sorted. */
  readonly workloads: readonly string[];
}

export type Told = Pick<Mesh, 'workloads' | 'policies' | 'settings'>;

/** Rules are read once for all replicas, and again only when they change. */
const known = new WeakMap<InboundSpec, Map<GrpcLibrary, readonly Shortfall[]>>();

function shortfallsOf(inbound: InboundSpec, library: GrpcLibrary): readonly Shortfall[] {
  const byLibrary = known.get(inbound) ?? new Map<GrpcLibrary, readonly Shortfall[]>();
  known.set(inbound, byLibrary);
  const found = byLibrary.get(library) ?? serverRules(inbound, library).shortfalls;
  byLibrary.set(library, found);
  return found;
}

export function findShortfalls(mesh: Told, servers: GrpcServers): readonly PolicyShortfall[] {
  const found = new Map<Shortfall, Map<string, Set<string>>>();
  for (const [id, libraries] of servers) {
    const workload = mesh.workloads.get(id);
    if (workload?.isInMesh !== true) continue;
    for (const { shortfall, policy } of ofWorkload(mesh, workload, libraries)) {
      const byPolicy = found.get(shortfall) ?? new Map<string, Set<string>>();
      found.set(shortfall, byPolicy);
      const place = `${policy.namespace}/${policy.name}`;
      byPolicy.set(place, (byPolicy.get(place) ?? new Set()).add(id));
    }
  }
  return joined(found);
}

/** Workloads whose rules are other objects may fall short alike. */
function joined(
  found: ReadonlyMap<Shortfall, ReadonlyMap<string, ReadonlySet<string>>>,
): readonly PolicyShortfall[] {
  const byText = new Map<string, Omit<PolicyShortfall, 'workloads'> & { workloads: Set<string> }>();
  for (const [shortfall, byPolicy] of found) {
    for (const [place, ids] of byPolicy) {
      const [namespace = '', name = ''] = place.split('/');
      const one = { ...shortfall, policy: { namespace, name } };
      const key = JSON.stringify(one);
      const alike = byText.get(key);
      byText.set(key, { ...one, workloads: alike?.workloads.union(ids) ?? new Set(ids) });
    }
  }
  return [...byText.values()].map((one) => ({ ...one, workloads: [...one.workloads].sort() }));
}

interface Concerned {
  readonly shortfall: Shortfall;
  readonly policy: Named;
}

export const ofWorkload = (
  mesh: Told,
  workload: Workload,
  libraries: ReadonlySet<GrpcLibrary>,
): readonly Concerned[] =>
  [...libraries]
    .flatMap((library) => shortfallsOf(workload.inbound, library))
    .flatMap((shortfall) => {
      const { kind, policy } = shortfall;
      const concerned = policy === undefined ? selecting(kind, mesh, workload) : [policy];
      return concerned.map((one) => ({ shortfall, policy: one }));
    });

/** Those of which nobody has written down which of them it was. */
function selecting(kind: Shortfall['kind'], mesh: Told, workload: Workload): readonly Named[] {
  const { requestAuthentication, peerAuthentication } = mesh.policies;
  const { rootNamespace } = mesh.settings;
  switch (kind) {
    case 'RequestAuthentication':
      return selectPolicies(requestAuthentication, workload, rootNamespace).filter(
        ({ rules }) => rules.length > 0,
      );
    case 'PeerAuthentication':
      return peerAuthentication.filter(
        (one) => selects(one, workload, rootNamespace) && isPermissive(one),
      );
    case 'AuthorizationPolicy':
    case 'BasicAuthentication':
    case 'TlsTermination':
    case 'TrafficPolicy':
      return [];
    default:
      return kind satisfies never;
  }
}

const isPermissive = ({ mode, portModes }: PeerAuthentication): boolean =>
  [mode, ...portModes.values()].includes('PERMISSIVE');

export type ShortfallCode = `${Shortfall['effect']}-at-grpc`;

const CURES = {
  closed: 'ask for what gRPC can judge (docs/grpc.md, Servers), or give it a sidecar',
  unenforced: 'give it a sidecar or an Envoy',
} as const;

/** What people are told, one line for each part of a policy. */
export const shortfallProblems = (found: readonly PolicyShortfall[]): readonly Problem[] =>
  found.map(({ kind, policy, field, effect, what, why, workloads }) =>
    warning({ kind, ...policy }, `${effect}-at-grpc` satisfies ShortfallCode, {
      ...(field !== undefined && { field }),
      message: `${what} at ${someOf(workloads)}, gRPC without a proxy: ${why}`,
      cure: CURES[effect],
    }),
  );

/** Of policies (`KIND/NAMESPACE/NAME`) that are not enforced at a workload: why, by `POD.NAMESPACE`. */
export type Unenforced = ReadonlyMap<string, ReadonlyMap<string, string>>;

export function unenforcedOf(found: readonly PolicyShortfall[]): Unenforced {
  const byPolicy = new Map<string, Map<string, string>>();
  for (const { kind, policy, effect, what, why, workloads } of found) {
    if (effect !== 'unenforced') continue;
    const key = `${kind}/${policy.namespace}/${policy.name}`;
    const byWorkload = byPolicy.get(key) ?? new Map<string, string>();
    byPolicy.set(key, byWorkload);
    for (const id of workloads) byWorkload.set(id, `${what}: ${why}`);
  }
  return byPolicy;
}
