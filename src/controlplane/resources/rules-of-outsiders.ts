// The rules as they hold for clients outside the mesh: whatever their certificates say, none of them is somebody of the mesh.
import type { Principal, RbacRules } from '@weft/model/policy/rbac';

type Filter =
  | { readonly kind: 'rbac'; readonly rules: RbacRules }
  | { readonly kind: 'shadowRbac'; readonly shadow: { readonly rules: RbacRules } };

const NOBODY: Principal = { kind: 'not', id: { kind: 'any' } };

/**
 * Takes every identity out of a filter's rules: an Envoy compares them with any certificate that it has verified, also
 * with one in which a foreign authority wrote an identity of the mesh.
 */
export function withoutPeers<T extends { readonly kind: string }>(filter: T): T {
  if (isRbac(filter)) return { ...filter, rules: rulesWithoutPeers(filter.rules) };
  if (isShadow(filter)) {
    const { shadow } = filter;
    return { ...filter, shadow: { ...shadow, rules: rulesWithoutPeers(shadow.rules) } };
  }
  return filter;
}

const isRbac = <T extends { readonly kind: string }>(
  filter: T,
): filter is T & Extract<Filter, { readonly kind: 'rbac' }> => filter.kind === 'rbac';

const isShadow = <T extends { readonly kind: string }>(
  filter: T,
): filter is T & Extract<Filter, { readonly kind: 'shadowRbac' }> => filter.kind === 'shadowRbac';

export const rulesWithoutPeers = (rules: RbacRules): RbacRules => ({
  ...rules,
  policies: rules.policies.map((policy) => ({
    ...policy,
    principals: policy.principals.map(withoutPeer),
  })),
});

function withoutPeer(principal: Principal): Principal {
  switch (principal.kind) {
    case 'authenticated':
      return NOBODY;
    case 'and':
    case 'or':
      return { ...principal, ids: principal.ids.map(withoutPeer) };
    case 'not':
      return { ...principal, id: withoutPeer(principal.id) };
    default:
      return principal;
  }
}
