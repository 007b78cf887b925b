// Narrows policies to those that can hold in a namespace, once for all workloads of it.
import type { MeshPolicies } from '@weft/model/mesh/mesh';
import type { BrokenPolicy } from '@weft/model/policy/compile';
import { selectBroken, selectPolicies } from '@weft/model/policy/select';
import type { RequestAuthentication } from '@weft/model/policy/token-rules';
import type { AuthorizationPolicy, PeerAuthentication } from '@weft/model/policy/types';

export interface PolicyScope {
  readonly peerAuthentication: readonly PeerAuthentication[];
  policiesFor(labels: ReadonlyMap<string, string>): readonly AuthorizationPolicy[];
  brokenFor(labels: ReadonlyMap<string, string>): readonly BrokenPolicy[];
  tokensFor(labels: ReadonlyMap<string, string>): readonly RequestAuthentication[];
}

/** @returns the scope of a namespace. */
export function createScopes(
  policies: MeshPolicies,
  rootNamespace: string,
): (namespace: string) => PolicyScope {
  const authorization = byNamespace(policies.authorization);
  const peers = byNamespace(policies.peerAuthentication);
  const tokens = byNamespace(policies.requestAuthentication);
  const broken = byNamespace(
    policies.broken.map(({ policy, selector }): BrokenPolicy => ({ ...policy, selector })),
  );
  const scopes = new Map<string, PolicyScope>();
  const create = (namespace: string): PolicyScope => {
    const reach = <T>(lists: ReadonlyMap<string, readonly T[]>): readonly T[] =>
      [...new Set([rootNamespace, namespace])].flatMap((name) => lists.get(name) ?? []);
    const ownAuthorization = reach(authorization);
    const ownBroken = reach(broken);
    const ownTokens = reach(tokens);
    return {
      peerAuthentication: reach(peers),
      policiesFor: (labels) =>
        selectPolicies(ownAuthorization, { namespace, labels }, rootNamespace),
      brokenFor: (labels) => selectBroken(ownBroken, { namespace, labels }, rootNamespace),
      tokensFor: (labels) => selectPolicies(ownTokens, { namespace, labels }, rootNamespace),
    };
  };
  return (namespace) => {
    const scope = scopes.get(namespace) ?? create(namespace);
    scopes.set(namespace, scope);
    return scope;
  };
}

function byNamespace<T extends { readonly namespace: string }>(
  items: readonly T[],
): ReadonlyMap<string, readonly T[]> {
  const lists = new Map<string, T[]>();
  for (const item of items) {
    const list = lists.get(item.namespace);
    if (list === undefined) lists.set(item.namespace, [item]);
    else list.push(item);
  }
  return lists;
}
