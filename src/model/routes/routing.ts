// What the routes of one destination come to: the ways that requests may take, in the order in which they are tried.
import type { DestinationTarget } from '../mesh/mesh.ts';
import type { RouteMatch, RouteRule } from './types.ts';

/** One match of one rule. */
export interface Way {
  readonly match: RouteMatch;
  readonly rule: RouteRule;
  readonly isGrpc: boolean;
  /** Of each backend of the rule its destination; absent: it leads nowhere. */
  readonly backends: readonly (string | undefined)[];
  /** Of those copies that lead somewhere. */
  readonly mirrors: readonly { readonly destination: string; readonly share: number }[];
}

/** What matches none of them goes nowhere. */
export interface RouteSet {
  readonly target: DestinationTarget;
  readonly ways: readonly Way[];
}

export interface DestinationRoutes {
  /** For callers of namespaces that have no routes of their own; absent: there are none. */
  readonly producer: RouteSet | undefined;
  /** By the callers' namespace. */
  readonly consumers: ReadonlyMap<string, RouteSet>;
}

/** @returns those that hold for callers of a namespace; `undefined` where the destination is called as it is. */
export const routesFor = (
  routes: DestinationRoutes | undefined,
  namespace: string | undefined,
): RouteSet | undefined =>
  (namespace === undefined ? undefined : routes?.consumers.get(namespace)) ?? routes?.producer;
