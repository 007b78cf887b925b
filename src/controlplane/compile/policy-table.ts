// Holds the policies in force by namespace, and narrows them to those that can hold in one, once for all workloads of it.
import type { MeshPolicies } from '@weft/model/mesh/mesh';
import type {
  AuthorizationPolicyObject,
  BasicAuthenticationObject,
  BrokenPolicyObject,
  PeerAuthenticationObject,
  RequestAuthenticationObject,
  TlsTerminationObject,
  TrafficPolicyObject,
} from '@weft/model/mesh/objects';
import type { BrokenPolicy } from '@weft/model/policy/compile';
import { selectBroken, selectPolicies } from '@weft/model/policy/select';
import type { RequestAuthentication } from '@weft/model/policy/token-rules';
import type { AuthorizationPolicy, PeerAuthentication } from '@weft/model/policy/types';
import type { BasicAuthentication } from '@weft/model/login/types';
import type { TlsTermination } from '@weft/model/tls/types';
import type { TrafficPolicy } from '@weft/model/traffic/types';
import type { Difference } from '../registry/persistent-map.ts';
import { compareTexts } from './compare-texts.ts';

export type PolicyObject =
  | AuthorizationPolicyObject
  | PeerAuthenticationObject
  | RequestAuthenticationObject
  | BasicAuthenticationObject
  | TrafficPolicyObject
  | TlsTerminationObject
  | BrokenPolicyObject;

/** What holds for a Pod by its labels. */
export interface SelectedPolicies {
  readonly authorization: readonly AuthorizationPolicy[];
  readonly broken: readonly BrokenPolicy[];
  readonly tokens: readonly RequestAuthentication[];
}

/** What can hold in a namespace; the same object until that changes. */
export interface PolicyScope {
  readonly peerAuthentication: readonly PeerAuthentication[];
  readonly hasTokens: boolean;
  readonly logins: readonly BasicAuthentication[];
  /** Also those that are for Services: who is behind them is another question. */
  readonly traffic: readonly TrafficPolicy[];
  readonly terminations: readonly TlsTermination[];
  select(labels: ReadonlyMap<string, string>): SelectedPolicies;
}

/** Of one namespace, by name. */
interface Lists extends MeshPolicies {
  readonly terminations: readonly TlsTermination[];
  /** As they close what they select. */
  readonly closing: readonly BrokenPolicy[];
}

const NO_POLICIES: MeshPolicies = {
  authorization: [],
  peerAuthentication: [],
  requestAuthentication: [],
  basicAuthentication: [],
  terminations: [],
  traffic: [],
  broken: [],
};
const NO_LISTS: Lists = { ...NO_POLICIES, terminations: [], closing: [] };

export class PolicyTable {
  readonly #objects = new Map<string, Map<string, PolicyObject>>();
  readonly #lists = new Map<string, Lists>();
  readonly #rootNamespace: string;
  #scopes = new Map<string, PolicyScope>();
  #all: MeshPolicies = NO_POLICIES;

  constructor(rootNamespace: string) {
    this.#rootNamespace = rootNamespace;
  }

  /** All of the mesh, by namespace and name; a list is the same one until something in it changes. */
  get all(): MeshPolicies {
    return this.#all;
  }

  namespaces(): readonly string[] {
    return [...this.#lists.keys()];
  }

  apply(changes: readonly Difference<PolicyObject>[]): void {
    if (changes.length === 0) return;
    const touched = new Set<string>();
    for (const { key, before, after } of changes) {
      if (before !== undefined) {
        this.#objects.get(before.policy.namespace)?.delete(key);
        touched.add(before.policy.namespace);
      }
      if (after === undefined) continue;
      const { namespace } = after.policy;
      const objects = this.#objects.get(namespace) ?? new Map<string, PolicyObject>();
      this.#objects.set(namespace, objects.set(key, after));
      touched.add(namespace);
    }
    for (const namespace of touched) this.#list(namespace);
    if (touched.has(this.#rootNamespace)) this.#scopes = new Map();
    else for (const namespace of touched) this.#scopes.delete(namespace);
    this.#all = this.#joinAll();
  }

  #list(namespace: string): void {
    const objects = this.#objects.get(namespace);
    if (objects === undefined || objects.size === 0) {
      this.#objects.delete(namespace);
      this.#lists.delete(namespace);
      return;
    }
    const sorted = [...objects]
      .sort(
        ([a, one], [b, other]) =>
          compareTexts(one.policy.name, other.policy.name) || compareTexts(a, b),
      )
      .map(([, object]) => object);
    const broken = sorted.filter((object) => object.kind === 'BrokenPolicy');
    this.#lists.set(namespace, {
      authorization: sorted.flatMap((one) =>
        one.kind === 'AuthorizationPolicy' ? one.policy : [],
      ),
      peerAuthentication: sorted.flatMap((one) =>
        one.kind === 'PeerAuthentication' ? one.policy : [],
      ),
      requestAuthentication: sorted.flatMap((one) =>
        one.kind === 'RequestAuthentication' ? one.policy : [],
      ),
      basicAuthentication: sorted.flatMap((one) =>
        one.kind === 'BasicAuthentication' ? one.policy : [],
      ),
      traffic: sorted.flatMap((one) => (one.kind === 'TrafficPolicy' ? one.policy : [])),
      terminations: sorted.flatMap((one) => (one.kind === 'TlsTermination' ? one.policy : [])),
      broken,
      closing: broken.map(({ policy, selector }) => ({ ...policy, selector })),
    });
  }

  #joinAll(): MeshPolicies {
    const lists = [...this.#lists].sort(([a], [b]) => compareTexts(a, b)).map(([, one]) => one);
    const before = this.#all;
    return {
      authorization: joined(
        before.authorization,
        lists.map((one) => one.authorization),
      ),
      peerAuthentication: joined(
        before.peerAuthentication,
        lists.map((one) => one.peerAuthentication),
      ),
      requestAuthentication: joined(
        before.requestAuthentication,
        lists.map((one) => one.requestAuthentication),
      ),
      basicAuthentication: joined(
        before.basicAuthentication,
        lists.map((one) => one.basicAuthentication),
      ),
      traffic: joined(
        before.traffic,
        lists.map((one) => one.traffic),
      ),
      terminations: joined(
        before.terminations ?? [],
        lists.map((one) => one.terminations),
      ),
      broken: joined(
        before.broken,
        lists.map((one) => one.broken),
      ),
    };
  }

  /** Those of the root namespace come first. */
  scope(namespace: string): PolicyScope {
    const rootNamespace = this.#rootNamespace;
    const known = this.#scopes.get(namespace);
    if (known !== undefined) return known;
    const reaching = [...new Set([rootNamespace, namespace])].map(
      (name) => this.#lists.get(name) ?? NO_LISTS,
    );
    const authorization = reaching.flatMap((lists) => lists.authorization);
    const closing = reaching.flatMap((lists) => lists.closing);
    const tokens = reaching.flatMap((lists) => lists.requestAuthentication);
    const scope: PolicyScope = {
      peerAuthentication: reaching.flatMap((lists) => lists.peerAuthentication),
      hasTokens: tokens.length > 0,
      logins: reaching.flatMap((lists) => lists.basicAuthentication),
      traffic: reaching.flatMap((lists) => lists.traffic),
      // Its Secrets are those of its namespace: from elsewhere none would be found.
      terminations: this.#lists.get(namespace)?.terminations ?? [],
      select: (labels) => ({
        authorization: selectPolicies(authorization, { namespace, labels }, rootNamespace),
        broken: selectBroken(closing, { namespace, labels }, rootNamespace),
        tokens: selectPolicies(tokens, { namespace, labels }, rootNamespace),
      }),
    };
    this.#scopes.set(namespace, scope);
    return scope;
  }
}

function joined<T>(before: readonly T[], lists: readonly (readonly T[])[]): readonly T[] {
  const all = lists.flat();
  const isSame = all.length === before.length && all.every((one, at) => one === before[at]);
  return isSame ? before : all;
}
