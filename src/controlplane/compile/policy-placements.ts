// Says where each policy is to be enforced: the proxies that it selects, and the listener version that carries it there.
import type { ExternalService } from '@weft/model/egress/external-service';
import type { InboundSpec, Mesh, MeshPolicies, Workload } from '@weft/model/mesh/mesh';
import { hasCallSections } from '@weft/model/traffic/compose-calls';
import { isSame } from './structural-sharing.ts';
import { peerAuthenticationConflicts, selects } from '@weft/model/policy/select';

export interface PlacedWorkload {
  readonly proxyId: string;
  /** Of the listener `inbound`; encoded when somebody asks, and empty when it cannot be. */
  readonly listenerVersion: string;
}

export interface PolicyPlacement {
  readonly kind:
    | 'AuthorizationPolicy'
    | 'PeerAuthentication'
    | 'RequestAuthentication'
    | 'BasicAuthentication'
    | 'TlsTermination'
    | 'TrafficPolicy'
    | 'ExternalService';
  readonly namespace: string;
  readonly name: string;
  /** Of an AuthorizationPolicy. */
  readonly action?: string;
  /** The same objects as before where the same is let in there as before. */
  readonly workloads: readonly PlacedWorkload[];
  /** Whose callers follow it: `outbound|PORT||HOST`, sorted. Absent where it says nothing to callers. */
  readonly destinations?: readonly string[];
}

/** A mesh, and what tells without looking that placements are what they were. */
export interface PlacedMesh {
  readonly mesh: Pick<Mesh, 'settings' | 'workloads' | 'policies' | 'destinations' | 'egress'>;
  /** Another object whenever a workload of a namespace lets in something else; `''` for all namespaces. */
  readonly rulings: ReadonlyMap<string, object>;
}

class Placed implements PlacedWorkload {
  readonly proxyId: string;
  readonly inbound: InboundSpec;
  readonly #version: (spec: InboundSpec) => string;

  constructor({ id, inbound }: Workload, version: (spec: InboundSpec) => string) {
    this.proxyId = id;
    this.inbound = inbound;
    this.#version = version;
  }

  get listenerVersion(): string {
    return this.#version(this.inbound);
  }
}

interface Known {
  readonly ruling: object | undefined;
  readonly isIdle: boolean;
  readonly placement: PolicyPlacement;
}

interface Asked extends Omit<PolicyPlacement, 'workloads'> {
  readonly selector: ReadonlyMap<string, string> | undefined;
  /** It holds for no sidecar: a dry run, one for gateways, or one that loses to an older one. */
  readonly isIdle: boolean;
  readonly destinations?: readonly string[];
  /** Where a selector does not say it all. */
  readonly holdsFor?: (this: void, workload: Workload) => boolean;
}

/** Places policies again and again; of those that hold for what they held before nothing is made anew. */
export class PolicyPlacements {
  readonly #version: (spec: InboundSpec) => string;
  readonly #known = new WeakMap<object, Known>();
  readonly #placed = new Map<string, Placed>();
  #last: { readonly of: PlacedMesh; readonly placements: readonly PolicyPlacement[] } | undefined;

  /** @param version of the listener that is made of what a workload lets in */
  constructor(version: (spec: InboundSpec) => string) {
    this.#version = version;
  }

  /** @returns the same list when nothing has changed in it. */
  place(of: PlacedMesh): readonly PolicyPlacement[] {
    const last = this.#last;
    const isSame =
      last !== undefined &&
      last.of.rulings === of.rulings &&
      last.of.mesh.settings === of.mesh.settings &&
      areSamePolicies(last.of.mesh.policies, of.mesh.policies) &&
      last.of.mesh.egress === of.mesh.egress &&
      (last.of.mesh.destinations === of.mesh.destinations ||
        !of.mesh.policies.traffic.some(hasCallSections));
    const placements = isSame ? last.placements : this.#placeAll(of);
    this.#last = { of, placements };
    return placements;
  }

  #placeAll({ mesh, rulings }: PlacedMesh): readonly PolicyPlacement[] {
    const { rootNamespace } = mesh.settings;
    let groups: ReadonlyMap<string, readonly Workload[]> | undefined;
    const placeOne = (source: object, asked: Asked): PolicyPlacement => {
      const { selector, isIdle, holdsFor = () => true, ...policy } = asked;
      const isRoot = policy.namespace === rootNamespace;
      const ruling = rulings.get(isRoot ? '' : policy.namespace);
      const known = this.#known.get(source);
      if (
        known !== undefined &&
        known.ruling === ruling &&
        known.isIdle === isIdle &&
        isSame(known.placement.destinations, asked.destinations)
      ) {
        return known.placement;
      }
      groups ??= this.#group(mesh.workloads);
      const near = isRoot ? [...groups.values()].flat() : (groups.get(policy.namespace) ?? []);
      const scope = { namespace: policy.namespace, selector };
      const held = isIdle
        ? []
        : near.filter((one) => selects(scope, one, rootNamespace) && holdsFor(one));
      const placement = { ...policy, workloads: held.map((one) => this.#placedOf(one)) };
      this.#known.set(source, { ruling, isIdle, placement });
      return placement;
    };
    return askedOf(mesh).map(([source, asked]) => placeOne(source, asked));
  }

  /** Those in the mesh, by namespace and name; the others are forgotten. */
  #group(workloads: ReadonlyMap<string, Workload>): ReadonlyMap<string, readonly Workload[]> {
    const groups = new Map<string, Workload[]>();
    for (const workload of workloads.values()) {
      if (!workload.isInMesh) continue;
      const group = groups.get(workload.namespace);
      if (group === undefined) groups.set(workload.namespace, [workload]);
      else group.push(workload);
    }
    if (this.#placed.size > 2 * workloads.size) {
      for (const id of this.#placed.keys()) if (!workloads.has(id)) this.#placed.delete(id);
    }
    return groups;
  }

  #placedOf(workload: Workload): Placed {
    const known = this.#placed.get(workload.id);
    if (known?.inbound === workload.inbound) return known;
    const placed = new Placed(workload, this.#version);
    this.#placed.set(workload.id, placed);
    return placed;
  }
}

const areSamePolicies = (a: MeshPolicies, b: MeshPolicies): boolean =>
  a.authorization === b.authorization &&
  a.broken === b.broken &&
  a.requestAuthentication === b.requestAuthentication &&
  a.basicAuthentication === b.basicAuthentication &&
  a.traffic === b.traffic &&
  a.terminations === b.terminations &&
  a.peerAuthentication === b.peerAuthentication;

function askedOf({
  policies,
  settings,
  destinations,
  egress,
}: PlacedMesh['mesh']): readonly (readonly [object, Asked])[] {
  const { authorization, peerAuthentication, requestAuthentication, traffic, broken } = policies;
  const { basicAuthentication } = policies;
  const conflicts = peerAuthenticationConflicts(peerAuthentication, settings.rootNamespace);
  const called = traffic.some(hasCallSections) ? calledBySource(destinations) : undefined;
  const losers = new Set(conflicts.map(({ object }) => `${object?.namespace}/${object?.name}`));
  return [
    ...authorization.map((policy) => {
      const { namespace, name, action, selector } = policy;
      const isIdle = policy.isDryRun || policy.targetRefs.length > 0;
      const kind = 'AuthorizationPolicy' as const;
      return [policy, { kind, namespace, name, action, selector, isIdle }] as const;
    }),
    ...broken.map((object) => {
      const { of: kind, selector } = object;
      const { namespace, name, action } = object.policy;
      const asked = { kind, namespace, name, ...(action && { action }), selector, isIdle: false };
      return [object, asked] as const;
    }),
    ...requestAuthentication.map((policy) => {
      const { namespace, name, selector, targetRefs } = policy;
      const isIdle = targetRefs.length > 0;
      const kind = 'RequestAuthentication' as const;
      return [policy, { kind, namespace, name, selector, isIdle }] as const;
    }),
    ...basicAuthentication.map((policy) => {
      const { namespace, name, selector } = policy;
      const holdsFor = ({ inbound }: Workload): boolean =>
        inbound.login?.source === `${namespace}/${name}`;
      const kind = 'BasicAuthentication' as const;
      return [policy, { kind, namespace, name, selector, isIdle: false, holdsFor }] as const;
    }),
    ...(policies.terminations ?? []).map((policy) => {
      const { namespace, name, selector } = policy;
      const kind = 'TlsTermination' as const;
      return [policy, { kind, namespace, name, selector, isIdle: false }] as const;
    }),
    ...traffic.map((policy) => {
      const { namespace, name, selector } = policy;
      const holdsFor = ({ inbound }: Workload): boolean =>
        inbound.traffic?.sources.includes(`${namespace}/${name}`) === true;
      const kind = 'TrafficPolicy' as const;
      const asked = { kind, namespace, name, selector, isIdle: false, holdsFor };
      if (!hasCallSections(policy)) return [policy, asked] as const;
      const followed = called?.get(`${namespace}/${name}`) ?? [];
      return [policy, { ...asked, destinations: followed }] as const;
    }),
    ...portsOutside(egress).map(([service, names]) => {
      const { namespace, name } = service;
      const kind = 'ExternalService' as const;
      const asked = { kind, namespace, name, selector: undefined, isIdle: true };
      return [service, { ...asked, destinations: names }] as const;
    }),
    ...peerAuthentication.map((policy) => {
      const { namespace, name, selector } = policy;
      const isIdle = losers.has(`${namespace}/${name}`);
      const kind = 'PeerAuthentication' as const;
      return [policy, { kind, namespace, name, selector, isIdle }] as const;
    }),
  ];
}

/** Names of destinations outside, by who describes them. */
function portsOutside(
  egress: Mesh['egress'],
): readonly (readonly [ExternalService, readonly string[]])[] {
  const names = new Map<ExternalService, string[]>();
  for (const [name, all] of egress?.destinations ?? []) {
    for (const { service } of all) {
      const known = names.get(service);
      if (known === undefined) names.set(service, [name]);
      else known.push(name);
    }
  }
  return [...names];
}

/** Names of destinations by the policies that their callers follow, `NAMESPACE/NAME`. */
function calledBySource(
  destinations: Mesh['destinations'],
): ReadonlyMap<string, readonly string[]> {
  const called = new Map<string, string[]>();
  for (const [name, { target }] of destinations) {
    for (const source of target.calls?.sources ?? []) {
      const names = called.get(source);
      if (names === undefined) called.set(source, [name]);
      else names.push(name);
    }
  }
  return called;
}
