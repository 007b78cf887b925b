// RequestAuthentication as it was written, and what of it holds for one workload: which tokens are read, from where, and by which keys.
import { formatJwks, type VerificationKey } from './jwks.ts';
import type { TargetRef } from './types.ts';

/** Source: istio.io API `security/v1beta1/request_authentication.proto`. */
export interface RequestAuthentication {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly selector: ReadonlyMap<string, string> | undefined;
  readonly targetRefs: readonly TargetRef[];
  readonly rules: readonly JwtRule[];
}

/** Where a rule's keys come from. */
export type KeySource =
  | { readonly kind: 'inline'; readonly keys: readonly VerificationKey[] }
  | RemoteKeySource;

export interface RemoteKeySource {
  /** `discovery`: the address is the issuer's OpenID configuration, which says where the keys are. */
  readonly kind: 'jwks' | 'discovery';
  readonly uri: string;
  readonly timeoutMs: number;
}

export interface TokenHeader {
  /** In lower case. */
  readonly name: string;
  /** What stands before the token; empty for none. */
  readonly prefix: string;
}

export interface ClaimHeader {
  /** In lower case. */
  readonly header: string;
  /** `claim`, or `outer.inner` for a nested one. */
  readonly claim: string;
}

/** What a rule says of tokens besides its keys. */
export interface TokenTerms {
  /** Empty: any. */
  readonly issuer: string;
  /** Empty: any. */
  readonly audiences: readonly string[];
  readonly fromHeaders: readonly TokenHeader[];
  readonly fromParams: readonly string[];
  readonly fromCookies: readonly string[];
  /** In lower case. */
  readonly outputPayloadToHeader: string | undefined;
  readonly outputClaimToHeaders: readonly ClaimHeader[];
  readonly isForwarded: boolean;
  /** Besides `scope` and `permission`. */
  readonly spaceDelimitedClaims: readonly string[];
}

export interface JwtRule extends TokenTerms {
  readonly source: KeySource;
}

/** A rule with its keys: what a proxy enforces. */
export interface TokenRule extends TokenTerms {
  /** A canonical JWK set. Without keys every token of the rule is refused. */
  readonly jwks: string;
}

/** By `keyOf`; absent: not fetched yet, or never successfully. */
export type FetchedKeys = ReadonlyMap<string, readonly VerificationKey[]>;

export const NO_KEYS: FetchedKeys = new Map();

/** Two rules that ask for the same document share one. */
export const keyOf = ({ kind, uri }: RemoteKeySource): string => `${kind} ${uri}`;

/** Claims that are always lists of words, as Istio has them. */
export const SPACE_DELIMITED: readonly string[] = ['scope', 'permission'];

/** Where tokens are looked for when a rule does not say. */
const DEFAULT_HEADERS: readonly TokenHeader[] = [{ name: 'authorization', prefix: 'Bearer ' }];
const DEFAULT_PARAMS: readonly string[] = ['access_token'];

/**
 * The rules of all policies that select a workload, by issuer as every proxy tries them; of one issuer in the order
 * of the policies. A rule whose keys are not there yet stands without any: its tokens are refused, and no other key
 * takes their place (CVE-2026-31837).
 */
export function composeTokenRules(
  policies: readonly RequestAuthentication[],
  fetched: FetchedKeys,
): readonly TokenRule[] {
  const rules = policies.flatMap((policy) => policy.rules).map((rule) => withKeys(rule, fetched));
  return rules
    .map((rule, index) => ({ rule, index }))
    .sort((a, b) => compare(a.rule.issuer, b.rule.issuer) || a.index - b.index)
    .map(({ rule }) => rule);
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function withKeys({ source, ...terms }: JwtRule, fetched: FetchedKeys): TokenRule {
  const keys = source.kind === 'inline' ? source.keys : (fetched.get(keyOf(source)) ?? []);
  const { fromHeaders, fromParams, fromCookies } = terms;
  const isDefault = fromHeaders.length + fromParams.length + fromCookies.length === 0;
  return {
    ...terms,
    ...(isDefault && { fromHeaders: DEFAULT_HEADERS, fromParams: DEFAULT_PARAMS }),
    jwks: formatJwks(keys),
  };
}

/** The documents that rules need, each once. */
export function remoteSources(
  policies: readonly RequestAuthentication[],
): ReadonlyMap<string, RemoteKeySource> {
  const sources = new Map<string, RemoteKeySource>();
  for (const { rules } of policies) {
    for (const { source } of rules) {
      if (source.kind === 'inline') continue;
      const known = sources.get(keyOf(source));
      const isLonger = known === undefined || source.timeoutMs > known.timeoutMs;
      if (isLonger) sources.set(keyOf(source), source);
    }
  }
  return sources;
}
