// Builds what callers see of a destination that routes are attached to: its ways in order, and nothing beside them.
import type { RouteSet, Way } from '@weft/model/routes/routing';
import type { DestinationTarget } from '@weft/model/mesh/mesh';
import type { HeaderChanges, PathChange, Redirect, RouteMatch } from '@weft/model/routes/types';
import type { CallTraffic } from '@weft/model/traffic/compose-calls';
import type { RetryPolicy } from '@weft/xds/resources/retry';
import type { Route, RouteConfiguration, RouteMatch as WireMatch } from '@weft/xds/resources/route';
import {
  type HeaderRules,
  type PathRewrite,
  type RouteRedirect,
  type RouteRule,
  UNRESOLVED_CLUSTER,
  type WeightedCluster,
} from '@weft/xds/resources/route-rule';
import { routeRules } from './call-rules.ts';
import { domainsOf } from './outbound.ts';

/** 25 ms, Envoy's default, where a route says nothing of back-off. */
const BACKOFF_MS = 25;
const MAX_BACKOFF_FACTOR = 10;

export const buildRuledRoute = ({ target, ways }: RouteSet): RouteConfiguration => ({
  name: target.name,
  virtualHosts: [
    {
      name: target.name,
      domains: domainsOf(target),
      routes: ways.map((way) => buildWay(way, target)),
    },
  ],
});

function buildWay(way: Way, { calls, port }: DestinationTarget): Route {
  const { rule, isGrpc } = way;
  const match = buildMatch(way.match);
  const responseHeaders = buildHeaders(rule.responseHeaders);
  if (rule.redirect !== undefined) {
    const answer = buildRedirect(rule.redirect, way.match, port);
    return answered(match, { answer, ...(responseHeaders && { responseHeaders }) });
  }
  // What Gateway API asks for where a backend is missing: 500, and of gRPC UNAVAILABLE.
  const unresolvedStatus = isGrpc ? 503 : 500;
  const clusters = buildClusters(way);
  if (clusters.every(({ cluster }) => cluster === UNRESOLVED_CLUSTER)) {
    return answered(match, { answer: { kind: 'respond', status: unresolvedStatus } });
  }
  const requestHeaders = buildHeaders(rule.requestHeaders);
  const path = rule.rewrite?.path && buildPath(rule.rewrite.path, way.match);
  const ruled: RouteRule = {
    ...(!isPlain(clusters) && { clusters }),
    ...(clusters.some(({ cluster }) => cluster === UNRESOLVED_CLUSTER) &&
      unresolvedStatus === 500 && { unresolvedStatus }),
    ...(rule.rewrite?.host !== undefined && { host: rule.rewrite.host }),
    ...(path && { path }),
    ...(requestHeaders && { requestHeaders }),
    ...(responseHeaders && { responseHeaders }),
    ...(way.mirrors.length > 0 && {
      mirrors: way.mirrors.map(({ destination, share }) => ({ cluster: destination, share })),
    }),
  };
  return {
    match,
    cluster: isPlain(clusters) ? (clusters[0]?.cluster ?? '') : '',
    ...buildLimits(way, calls),
    ...(Object.keys(ruled).length > 0 && { rule: ruled }),
  };
}

const answered = (match: WireMatch, rule: RouteRule): Route => ({
  match,
  cluster: '',
  timeoutMs: 0,
  connectRetries: 0,
  rule,
});

const isPlain = (clusters: readonly WeightedCluster[]): boolean =>
  clusters.length === 1 &&
  clusters.every((one) => one.requestHeaders === undefined && one.responseHeaders === undefined);

/** Without those that get nothing. What belongs to one that leads nowhere fails. */
function buildClusters({ rule, backends }: Way): readonly WeightedCluster[] {
  return rule.backends.flatMap((backend, index): readonly WeightedCluster[] => {
    const { weight } = backend;
    if (weight === 0) return [];
    const requestHeaders = buildHeaders(backend.requestHeaders);
    const responseHeaders = buildHeaders(backend.responseHeaders);
    return [
      {
        cluster: backends[index] ?? UNRESOLVED_CLUSTER,
        weight,
        ...(requestHeaders && { requestHeaders }),
        ...(responseHeaders && { responseHeaders }),
      },
    ];
  });
}

/** What the route says itself holds before what its Service's TrafficPolicy says. */
function buildLimits(
  { rule }: Way,
  calls: CallTraffic | undefined,
): Pick<Route, 'timeoutMs' | 'connectRetries' | 'retry' | 'hashPolicies'> {
  const { hashPolicies, ...of } = routeRules(calls);
  const { timeoutMs = of.timeoutMs, tryTimeoutMs = 0, retry } = rule;
  const hashing = hashPolicies && { hashPolicies };
  if (retry === undefined) {
    if (tryTimeoutMs === 0) return { ...of, timeoutMs, ...hashing };
    if (of.retry !== undefined) {
      const own = { ...of.retry, perTryTimeoutMs: tryTimeoutMs };
      return { ...of, timeoutMs, retry: own, ...hashing };
    }
    // Where nothing is sent twice, the time of one try is that of all.
    const limits = [timeoutMs, tryTimeoutMs].filter((ms) => ms > 0);
    return { ...of, timeoutMs: Math.min(...limits), ...hashing };
  }
  const { attempts, statuses, backoffMs = BACKOFF_MS } = retry;
  const policy: RetryPolicy = {
    on: [
      'connect-failure',
      'refused-stream',
      'reset',
      ...(statuses.length > 0 ? (['retriable-status-codes'] as const) : []),
    ],
    statusCodes: statuses,
    retries: attempts,
    perTryTimeoutMs: tryTimeoutMs,
    backOff: { baseMs: backoffMs, maxMs: backoffMs * MAX_BACKOFF_FACTOR },
    // Whoever writes a retry into a route asks for it, whatever the method.
    methods: [],
  };
  return { timeoutMs, connectRetries: attempts, retry: policy, ...hashing };
}

const KINDS = { exact: 'path', regex: 'regex', prefix: 'separatedPrefix' } as const;

function buildMatch({ path, method, headers, query }: RouteMatch): WireMatch {
  const all = [
    ...(method === undefined ? [] : [{ name: ':method', kind: 'exact', value: method } as const]),
    ...headers,
  ];
  const isAll = path.kind === 'prefix' && path.value === '/';
  return {
    kind: isAll ? 'prefix' : KINDS[path.kind],
    value: path.value,
    ...(all.length > 0 && { headers: all }),
    ...(query.length > 0 && { query }),
  };
}

function buildHeaders(changes: HeaderChanges | undefined): HeaderRules | undefined {
  if (changes === undefined) return undefined;
  const { set, add, remove } = changes;
  const put = [
    ...set.map(([name, value]) => ({ name, value, isSet: true })),
    ...add.map(([name, value]) => ({ name, value, isSet: false })),
  ];
  return put.length + remove.length === 0 ? undefined : { remove, put };
}

/**
 * A prefix is replaced up to the slash behind it, so that `/a/b` becomes `/c/b` and never `/cb`; where nothing takes
 * its place the slash is what is left.
 */
function buildPath(change: PathChange, { path }: RouteMatch): PathRewrite {
  if (change.kind === 'full') return change;
  const { value } = change;
  if (path.value === '/') return value === '/' ? change : { kind: 'prefix', value: `${value}/` };
  return value === '/' ? { kind: 'strip', value: path.value } : change;
}

const WELL_KNOWN = { http: 80, https: 443 } as const;

/** With another scheme the port is that scheme's own, whatever port was called; with another host the one that was. */
function buildRedirect(redirect: Redirect, match: RouteMatch, called: number): RouteRedirect {
  const { status, scheme, host, path } = redirect;
  const own = host === undefined ? undefined : called;
  const meant = redirect.port ?? (scheme === undefined ? own : WELL_KNOWN[scheme]);
  // Said only where a host could be taken for one with another port: Envoy shows what is said.
  const isShown = host === undefined && called !== WELL_KNOWN.http;
  const port = isShown || meant !== WELL_KNOWN[scheme ?? 'http'] ? meant : undefined;
  return {
    kind: 'redirect',
    status,
    ...(scheme !== undefined && { scheme }),
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
    ...(path && { path: buildPath(path, match) }),
  };
}
