// Applies what a route's rule says to one request: an answer, or another cluster, host, path and headers.
import type { Route } from '@weft/xds/resources/route';
import {
  type HeaderRules,
  type PathRewrite,
  type RouteMirror,
  type RouteRedirect,
  type RouteRule,
  UNRESOLVED_CLUSTER,
  type WeightedCluster,
} from '@weft/xds/resources/route-rule';
import type { HeadEdits } from '../filters/head-edits.ts';
import type { RoutedRequest } from './match-route.ts';

/** What becomes of a request that goes on. */
export interface RuledRequest {
  readonly kind: 'forward';
  /** With the one cluster that was chosen. */
  readonly route: Route;
  readonly target: string;
  /** Absent: as it came. */
  readonly authority: string | undefined;
  /** In their order. */
  readonly answerHeaders: readonly HeaderRules[];
  /** Of those that are chosen for this request. */
  readonly mirrors: readonly string[];
}

/** Answers of routes: no policy has refused anything. */
const REASONS = ['route-response', 'route-redirect', 'no-backend'] as const;

export interface RuledAnswer {
  readonly kind: 'respond';
  readonly status: number;
  readonly reasonCode: (typeof REASONS)[number];
  /** `[name, value, …]`. */
  readonly headers: readonly string[];
}

export const isRouteAnswer = (reasonCode: string): boolean =>
  REASONS.some((reason) => reason === reasonCode);

const NONE: readonly never[] = [];
const MILLION = 1_000_000;

export interface RuleSetting {
  /** Where changes of the request's headers go. */
  readonly edits: () => HeadEdits;
  readonly random: () => number;
}

export function applyRule(
  route: Route,
  rule: RouteRule,
  request: RoutedRequest,
  { edits, random }: RuleSetting,
): RuledRequest | RuledAnswer {
  const { answer, clusters } = rule;
  if (answer !== undefined) {
    const headers = putOf(rule.responseHeaders);
    if (answer.kind === 'redirect') return redirect(route, answer, request, headers);
    return { kind: 'respond', status: answer.status, reasonCode: 'route-response', headers };
  }
  const chosen = clusters && choose(clusters, random);
  const cluster = chosen === undefined ? route.cluster : chosen.cluster;
  if (cluster === UNRESOLVED_CLUSTER) {
    const status = rule.unresolvedStatus ?? 503;
    return { kind: 'respond', status, reasonCode: 'no-backend', headers: NONE };
  }
  for (const rules of [chosen?.requestHeaders, rule.requestHeaders]) {
    if (rules !== undefined) applyHeaders(edits(), rules);
  }
  const { target = '' } = request;
  return {
    kind: 'forward',
    route: chosen === undefined ? route : withCluster(route, chosen),
    target: rule.path === undefined ? target : rewrite(target, rule.path, route),
    authority: rule.host,
    answerHeaders: [chosen?.responseHeaders, rule.responseHeaders].flatMap((rules) => rules ?? []),
    mirrors: rule.mirrors === undefined ? NONE : chooseMirrors(rule.mirrors, random),
  };
}

/** Kept: most requests of a share are like those before. */
const withClusters = new WeakMap<WeightedCluster, Route>();

function withCluster(route: Route, chosen: WeightedCluster): Route {
  let made = withClusters.get(chosen);
  if (made === undefined) {
    made = { ...route, cluster: chosen.cluster };
    withClusters.set(chosen, made);
  }
  return made;
}

function choose(
  clusters: readonly WeightedCluster[],
  random: () => number,
): WeightedCluster | undefined {
  const total = clusters.reduce((sum, { weight }) => sum + weight, 0);
  let left = random() * total;
  for (const one of clusters) {
    left -= one.weight;
    if (left < 0) return one;
  }
  return clusters.findLast(({ weight }) => weight > 0);
}

const chooseMirrors = (mirrors: readonly RouteMirror[], random: () => number): readonly string[] =>
  mirrors.flatMap(({ cluster, share }) => (random() * MILLION < share ? [cluster] : []));

function applyHeaders(edits: HeadEdits, { remove, put }: HeaderRules): void {
  for (const name of remove) edits.remove(name);
  for (const { name, value, isSet } of put) {
    if (isSet) edits.set(name, value);
    else edits.add(name, value);
  }
}

const putOf = (rules: HeaderRules | undefined): readonly string[] =>
  rules?.put.flatMap(({ name, value }) => [name, value]) ?? NONE;

/** @param target with its query, which stays. */
export function rewrite(target: string, change: PathRewrite, { match }: Route): string {
  const start = target.indexOf('?');
  const [path, query] = start === -1 ? [target, ''] : [target.slice(0, start), target.slice(start)];
  return rewritePath(path, change, match) + query;
}

function rewritePath(path: string, { kind, value }: PathRewrite, match: Route['match']): string {
  switch (kind) {
    case 'full':
      return value;
    case 'prefix': {
      const isPrefix = match.kind === 'prefix' || match.kind === 'separatedPrefix';
      return value + (isPrefix ? path.slice(match.value.length) : '');
    }
    case 'strip': {
      if (!path.startsWith(value)) return path;
      let at = value.length;
      while (path[at] === '/') at++;
      return `/${path.slice(at)}`;
    }
    default:
      return kind satisfies never;
  }
}

const WELL_KNOWN = { http: 80, https: 443 } as const;

function redirect(
  route: Route,
  { status, scheme = 'http', host, port, path }: RouteRedirect,
  { authority = '', target = '' }: RoutedRequest,
  headers: readonly string[],
): RuledAnswer {
  const called = splitPort(authority);
  // The port that is plain HTTP's own is no other scheme's.
  const own = called.port === WELL_KNOWN.http ? undefined : called.port;
  const shownPort = port ?? (host === undefined ? own : undefined);
  const isPlain = shownPort === undefined || shownPort === WELL_KNOWN[scheme];
  const where = `${host ?? called.host}${isPlain ? '' : `:${shownPort}`}`;
  const whole = path === undefined ? target : rewrite(target, path, route);
  return {
    kind: 'respond',
    status,
    reasonCode: 'route-redirect',
    headers: ['location', `${scheme}://${where}${whole}`, ...headers],
  };
}

function splitPort(authority: string): { readonly host: string; readonly port?: number } {
  const colon = authority.lastIndexOf(':');
  // The last group of an IPv6 address is within brackets.
  if (colon === -1 || authority.endsWith(']')) return { host: authority };
  const port = Number(authority.slice(colon + 1));
  const host = authority.slice(0, colon);
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? { host, port } : { host };
}
