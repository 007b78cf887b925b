// The rules a proxy enforces, as plain data: the part of Envoy's RBAC message that Weft emits and reads.
// Policies are compiled into it (control plane), the xDS codec writes and reads it, closures are made of it (sidecar).

/**
 * A piece of a glob: literal text, or a wildcard.
 * `any` is `.*`, `some` is `.+`, `segment` is `[^/]*`. Matching is linear; no RegExp is ever built.
 */
export type GlobPart =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'some' }
  | { readonly kind: 'segment' };

/** The filter whose metadata holds a verified token's claims, under `payload`. */
export const JWT_FILTER = 'envoy.filters.http.jwt_authn';

export type StringMatcher =
  | {
      readonly kind: 'exact' | 'prefix' | 'suffix' | 'contains';
      readonly value: string;
      readonly ignoreCase: boolean;
    }
  /** Anchored at both ends. On the wire a `safe_regex` of quoted literals, `.*`, `.+` and `[^/]*` only. */
  | { readonly kind: 'glob'; readonly parts: readonly GlobPart[] };

/** A header's name is in lower case; `:authority`, `:method` and `:path` are the pseudo-headers. */
export interface HeaderMatcher {
  readonly name: string;
  readonly match:
    | { readonly kind: 'present' }
    | { readonly kind: 'string'; readonly string: StringMatcher };
  readonly invert: boolean;
}

/** How a value of dynamic metadata (JWT claims) is matched. A list matches when one element does. */
export type ValueMatcher =
  | { readonly kind: 'string'; readonly string: StringMatcher }
  | { readonly kind: 'present' }
  | { readonly kind: 'list'; readonly oneOf: ValueMatcher }
  | { readonly kind: 'or'; readonly values: readonly ValueMatcher[] };

export interface MetadataMatcher {
  /** The filter that wrote it, for JWTs `JWT_FILTER`. */
  readonly filter: string;
  readonly path: readonly string[];
  readonly value: ValueMatcher;
  readonly invert: boolean;
}

/** `address` in canonical text (RFC 5952 for IPv6), `prefixLength` 0–32 or 0–128. */
export interface CidrRange {
  readonly address: string;
  readonly prefixLength: number;
}

export type Permission =
  | { readonly kind: 'any' }
  | { readonly kind: 'and' | 'or'; readonly rules: readonly Permission[] }
  | { readonly kind: 'not'; readonly rule: Permission }
  | { readonly kind: 'header'; readonly header: HeaderMatcher }
  | { readonly kind: 'urlPath'; readonly path: StringMatcher }
  /** Weft's path template in Istio's spelling: `/store/{**}/cart`. */
  | { readonly kind: 'uriTemplate'; readonly template: string }
  | { readonly kind: 'destinationIp'; readonly cidr: CidrRange }
  | { readonly kind: 'destinationPort'; readonly port: number }
  | { readonly kind: 'requestedServerName'; readonly name: StringMatcher }
  | { readonly kind: 'metadata'; readonly metadata: MetadataMatcher };

export type Principal =
  | { readonly kind: 'any' }
  | { readonly kind: 'and' | 'or'; readonly ids: readonly Principal[] }
  | { readonly kind: 'not'; readonly id: Principal }
  /** The peer's URI SAN, `spiffe://…`; with no `name`, any peer verified by mutual TLS. */
  | { readonly kind: 'authenticated'; readonly name?: StringMatcher }
  /** The TCP peer's address. */
  | { readonly kind: 'directRemoteIp'; readonly cidr: CidrRange }
  /** The client's address after X-Forwarded-For by trusted hops. */
  | { readonly kind: 'remoteIp'; readonly cidr: CidrRange }
  | { readonly kind: 'header'; readonly header: HeaderMatcher }
  | { readonly kind: 'urlPath'; readonly path: StringMatcher }
  | { readonly kind: 'metadata'; readonly metadata: MetadataMatcher };

/** Matches when one permission and one principal match. */
export interface RbacPolicy {
  /** `ns[NAMESPACE]-policy[NAME]-rule[INDEX]`: what access logs and `explain` name. */
  readonly name: string;
  readonly permissions: readonly Permission[];
  readonly principals: readonly Principal[];
}

/** `ALLOW` with no policies denies everything; `DENY` with none denies nothing; `LOG` never denies. */
export interface RbacRules {
  readonly action: 'ALLOW' | 'DENY' | 'LOG';
  readonly policies: readonly RbacPolicy[];
}

/** All rule sets of one port in evaluation order: DENY before ALLOW. Absent sets decide nothing. */
export type RbacChain = readonly RbacRules[];
