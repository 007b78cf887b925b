// What a route may say besides one cluster: more to match, answers of its own, shares, changes and copies.

/** The cluster that no control plane has: requests for it are answered with the route's `unresolvedStatus`. */
export const UNRESOLVED_CLUSTER = 'unresolved';

export interface TextMatcher {
  /** In lower case for headers; `:method` is one. */
  readonly name: string;
  /** `regex`: of the dialect of `@weft/model/routes/linear-regex`; the whole text. */
  readonly kind: 'exact' | 'regex';
  readonly value: string;
}

/** Names in lower case. Taken out first, then put in. */
export interface HeaderRules {
  readonly remove: readonly string[];
  /** `isSet`: in place of those that are there. */
  readonly put: readonly {
    readonly name: string;
    readonly value: string;
    readonly isSet: boolean;
  }[];
}

/** The query stays as it is. */
export type PathRewrite =
  | { readonly kind: 'full'; readonly value: string }
  /** In place of what the route's prefix matched. */
  | { readonly kind: 'prefix'; readonly value: string }
  /** Takes out this prefix and the slashes behind it; `/` begins what is left. */
  | { readonly kind: 'strip'; readonly value: string };

export interface RouteRedirect {
  readonly kind: 'redirect';
  readonly status: 301 | 302 | 303 | 307 | 308;
  readonly scheme?: 'http' | 'https';
  readonly host?: string;
  readonly port?: number;
  readonly path?: PathRewrite;
}

/** 200 to 599, without a body. */
export interface RouteResponse {
  readonly kind: 'respond';
  readonly status: number;
}

export interface WeightedCluster {
  readonly cluster: string;
  /** 0: none of the requests. One of them at least has more. */
  readonly weight: number;
  readonly requestHeaders?: HeaderRules;
  readonly responseHeaders?: HeaderRules;
}

export interface RouteMirror {
  readonly cluster: string;
  /** Of a million. */
  readonly share: number;
}

export interface RouteRule {
  /** Answered here; the route's `cluster` is empty then. */
  readonly answer?: RouteRedirect | RouteResponse;
  /** Several; the route's `cluster` is empty then. */
  readonly clusters?: readonly WeightedCluster[];
  readonly unresolvedStatus?: 500 | 503;
  readonly host?: string;
  readonly path?: PathRewrite;
  readonly requestHeaders?: HeaderRules;
  readonly responseHeaders?: HeaderRules;
  readonly mirrors?: readonly RouteMirror[];
}
