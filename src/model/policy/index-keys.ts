// By which peers and paths a rule can be found: those that alone can match it, where they can be listed.
import type { Permission, Principal } from './rbac.ts';

/** A policy naming more principals or paths than this is not spread over the index. */
const MAX_KEYS = 256;

/** The union of key sets; `undefined` when one of them is open or the union is too large to be an index. */
export function boundedUnion(
  sets: readonly (ReadonlySet<string> | undefined)[],
): ReadonlySet<string> | undefined {
  const union = new Set<string>();
  for (const set of sets) {
    if (set === undefined) return undefined;
    for (const key of set) union.add(key);
    if (union.size > MAX_KEYS) return undefined;
  }
  return union;
}

/** The only peers that can match, or `undefined` when they cannot be listed. */
export function exactPeers(principal: Principal): ReadonlySet<string> | undefined {
  switch (principal.kind) {
    case 'authenticated': {
      const { name } = principal;
      return name?.kind === 'exact' && !name.ignoreCase ? new Set([name.value]) : undefined;
    }
    case 'or':
      return boundedUnion(principal.ids.map(exactPeers));
    case 'and':
      return principal.ids.map(exactPeers).find((set) => set !== undefined);
    default:
      return undefined;
  }
}

export function exactPaths(permission: Permission): ReadonlySet<string> | undefined {
  switch (permission.kind) {
    case 'urlPath': {
      const { path } = permission;
      return path.kind === 'exact' && !path.ignoreCase ? new Set([path.value]) : undefined;
    }
    case 'or':
      return boundedUnion(permission.rules.map(exactPaths));
    case 'and':
      return permission.rules.map(exactPaths).find((set) => set !== undefined);
    default:
      return undefined;
  }
}
