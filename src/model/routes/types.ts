// What HTTPRoutes and GRPCRoutes that are attached to Services say, as far as a mesh applies it.

/** How a text is asked for: whole, or by an expression of the dialect (`linear-regex.ts`). */
export interface TextMatch {
  /** In lower case for headers. */
  readonly name: string;
  readonly kind: 'exact' | 'regex';
  readonly value: string;
}

export interface PathMatch {
  /** `prefix` ends at a `/`: `/a` is none of `/ab`. Its value has no `/` at its end, except for `/` itself. */
  readonly kind: 'exact' | 'prefix' | 'regex';
  readonly value: string;
}

export interface RouteMatch {
  readonly path: PathMatch;
  readonly method?: string;
  readonly headers: readonly TextMatch[];
  readonly query: readonly TextMatch[];
}

/** `[name, value]`, names in lower case. */
export interface HeaderChanges {
  readonly set: readonly (readonly [string, string])[];
  readonly add: readonly (readonly [string, string])[];
  readonly remove: readonly string[];
}

export type PathChange =
  | { readonly kind: 'full'; readonly value: string }
  /** In place of the prefix that matched. */
  | { readonly kind: 'prefix'; readonly value: string };

export interface Redirect {
  readonly scheme?: 'http' | 'https';
  readonly host?: string;
  readonly port?: number;
  readonly path?: PathChange;
  readonly status: RedirectStatus;
}
export type RedirectStatus = 301 | 302 | 303 | 307 | 308;

export interface Rewrite {
  readonly host?: string;
  readonly path?: PathChange;
}

/** A Service, as a route names it. */
export interface BackendName {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

export interface BackendRef {
  /** Absent: of a kind that the mesh cannot call; `why` says what it is. */
  readonly service: BackendName | undefined;
  readonly why: string;
  readonly field: string;
  /** From 0; 0: none of the requests. */
  readonly weight: number;
  readonly requestHeaders?: HeaderChanges;
  readonly responseHeaders?: HeaderChanges;
}

export interface MirrorRef extends Pick<BackendRef, 'service' | 'why' | 'field'> {
  /** Of a million. */
  readonly share: number;
}

export interface RetryRule {
  readonly statuses: readonly number[];
  readonly attempts: number;
  readonly backoffMs?: number;
}

export interface RouteRule {
  /** At least one: any of them. */
  readonly matches: readonly RouteMatch[];
  readonly backends: readonly BackendRef[];
  readonly requestHeaders?: HeaderChanges;
  readonly responseHeaders?: HeaderChanges;
  readonly redirect?: Redirect;
  readonly rewrite?: Rewrite;
  readonly mirrors: readonly MirrorRef[];
  /** Of the whole answer, with all tries. 0: no limit. Absent: it says nothing. */
  readonly timeoutMs?: number;
  /** Of one try; as before. */
  readonly tryTimeoutMs?: number;
  readonly retry?: RetryRule;
}

/** A Service that a route is attached to. */
export interface RouteParent {
  /** Where it stands in `spec.parentRefs`. */
  readonly index: number;
  readonly namespace: string;
  readonly name: string;
  /** Absent: all ports. */
  readonly port?: number;
  readonly sectionName?: string;
  /** As it is written, for statuses. */
  readonly ref: ParentRef;
}

export interface ParentRef {
  readonly group: string;
  readonly kind: 'Service';
  readonly name: string;
  readonly namespace?: string;
  readonly port?: number;
  readonly sectionName?: string;
}

export const ROUTE_KINDS = ['HTTPRoute', 'GRPCRoute'] as const;
export type RouteKind = (typeof ROUTE_KINDS)[number];

export interface ServiceRoute {
  readonly kind: RouteKind;
  readonly namespace: string;
  readonly name: string;
  /** 0 when the manifest has none. */
  readonly createdAtMs: number;
  /** At least one. */
  readonly parents: readonly RouteParent[];
  /** Empty for one that is broken. */
  readonly rules: readonly RouteRule[];
  /** No version of it could be read: nothing of it is in force. */
  readonly isBroken?: true;
}

/** Who of other namespaces may name Services here: a ReferenceGrant, as far as routes are concerned. */
export interface RouteGrant {
  readonly namespace: string;
  readonly name: string;
  readonly from: readonly { readonly kind: RouteKind; readonly namespace: string }[];
  /** Names of Services; absent: all. */
  readonly services: ReadonlySet<string> | undefined;
}
