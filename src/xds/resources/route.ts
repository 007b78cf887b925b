// Where an HTTP request goes: route configurations, as Weft emits and reads them.

/** `envoy.config.route.v3.RouteConfiguration`; its name is that of the destination, `outbound|PORT||HOST`. */
export interface RouteConfiguration {
  readonly name: string;
  readonly virtualHosts: readonly VirtualHost[];
}

/** Chosen by the request's authority: exact, then suffix `*.x`, then prefix `x.*`, then `*`. */
export interface VirtualHost {
  readonly name: string;
  readonly domains: readonly string[];
  /** The first that matches is taken. */
  readonly routes: readonly Route[];
}

export interface Route {
  readonly match: { readonly kind: 'prefix' | 'path'; readonly value: string };
  readonly cluster: string;
  /** Whole request, 0: no limit. Default 0, as in Istio. */
  readonly timeoutMs: number;
  /** Connect failures and refused streams only: nothing has reached the application then. 0: none. */
  readonly connectRetries: number;
}
