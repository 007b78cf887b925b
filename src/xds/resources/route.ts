// Where an HTTP request goes: route configurations, as Weft emits and reads them.
import type { HashRule } from '@weft/model/traffic/call-types';
import type { RetryPolicy } from './retry.ts';
import { type RouteRule, type TextMatcher, UNRESOLVED_CLUSTER } from './route-rule.ts';

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

export interface RouteMatch {
  /** `separatedPrefix` ends at a `/`, and its value does not; `regex` as in {@link TextMatcher}, without the query. */
  readonly kind: 'prefix' | 'path' | 'separatedPrefix' | 'regex';
  readonly value: string;
  /** All of them, each by any value of its name. Absent: none. */
  readonly headers?: readonly TextMatcher[];
  /** All of them, each with the first value of its name. Absent: none. */
  readonly query?: readonly TextMatcher[];
}

export interface Route {
  readonly match: RouteMatch;
  /** Empty where `rule` says otherwise. */
  readonly cluster: string;
  /** Whole request, 0: no limit. Default 0, as in Istio. */
  readonly timeoutMs: number;
  /** Connect failures and refused streams only: nothing has reached the application then. 0: none. */
  readonly connectRetries: number;
  /** Absent: nothing that may have reached an application is sent again. Present, `connectRetries` is its `retries`. */
  readonly retry?: RetryPolicy;
  /**
   * What of a request chooses the endpoint, where the cluster hashes: all that find something count, one after the other.
   * Absent: nothing does.
   */
  readonly hashPolicies?: readonly HashRule[];
  /** Absent: nothing more. */
  readonly rule?: RouteRule;
}

/** Every cluster that a configuration may send requests to, copies as well. */
export function* clustersOf(configuration: RouteConfiguration): Iterable<string> {
  for (const { routes } of configuration.virtualHosts) {
    for (const { cluster, rule } of routes) {
      if (cluster !== '' && cluster !== UNRESOLVED_CLUSTER) yield cluster;
      for (const one of rule?.clusters ?? []) {
        if (one.cluster !== UNRESOLVED_CLUSTER) yield one.cluster;
      }
      for (const one of rule?.mirrors ?? []) yield one.cluster;
    }
  }
}
