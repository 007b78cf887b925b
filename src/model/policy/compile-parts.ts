// The pieces that compiling each field shares: options, what a compiled field is, and how alternatives are joined.
import { parseCidr } from '../ip.ts';
import type { CidrRange, Permission, Principal } from './rbac.ts';

export interface CompileOptions {
  /** The mesh's own trust domain. */
  readonly trustDomain: string;
  /** Former names of it: principals written with one of them mean all. */
  readonly trustDomainAliases: readonly string[];
  /** Others whose identities are believed; absent: none. Namespaces and accounts of policies are never theirs. */
  readonly federatedTrustDomains?: readonly string[];
  readonly protocol: 'http' | 'tcp';
  /** Names of external authorizers that can be asked; a CUSTOM policy that names another denies all. */
  readonly providers?: ReadonlySet<string>;
}

export type CompiledTest<T> =
  | { readonly kind: 'test'; readonly test: T }
  /** It speaks of HTTP and this is TCP. */
  | { readonly kind: 'http-only' };

export function orPermissions(rules: readonly Permission[]): Permission {
  const [only, ...more] = rules;
  return only !== undefined && more.length === 0 ? only : { kind: 'or', rules };
}

export function orPrincipals(ids: readonly Principal[]): Principal {
  const [only, ...more] = ids;
  return only !== undefined && more.length === 0 ? only : { kind: 'or', ids };
}

/**
 * @throws RangeError for a text the parser would have refused.
 */
export function cidrOf(value: string): CidrRange {
  const range = parseCidr(value);
  if (range === undefined) throw new RangeError(`Cannot compile policy: ${value} is no CIDR`);
  return range;
}
