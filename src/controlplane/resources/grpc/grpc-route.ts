// Says a route configuration in what gRPC clients understand: what they do not is left out, and what they would refuse is never sent.
import type { RetryCondition } from '@weft/model/traffic/retry-conditions';
import { encodeHashPolicy } from '@weft/xds/codec/hash-policy';
import { encodeRouteMatch } from '@weft/xds/codec/route-match';
import { encodeDuration, encodeUint } from '@weft/xds/codec/well-known';
import type { PlainMessage } from '@weft/xds/registry';
import type { RetryPolicy } from '@weft/xds/resources/retry';
import type { Route, RouteConfiguration, RouteMatch } from '@weft/xds/resources/route';
import { UNRESOLVED_CLUSTER } from '@weft/xds/resources/route-rule';
import type { GrpcLibrary } from '../../serve/view-source.ts';

export const encodeGrpcRoutes = (
  { name, virtualHosts }: RouteConfiguration,
  library: GrpcLibrary,
): PlainMessage => ({
  name,
  virtual_hosts: virtualHosts.map((host) => ({
    name: host.name,
    domains: host.domains,
    routes: host.routes.flatMap((route) => encodeRoute(route, library)),
  })),
});

/** Every call of gRPC. */
const METHOD = 'POST';

/** One route becomes none where no call of gRPC could match it, or two where it ends at a slash. */
function encodeRoute(route: Route, library: GrpcLibrary): readonly PlainMessage[] {
  const action = encodeAction(route, library);
  return matchesOf(route.match).map((match) => ({ match: encodeRouteMatch(match), route: action }));
}

function matchesOf({ headers = [], query = [], ...match }: RouteMatch): readonly RouteMatch[] {
  // No call has a query, and clients would pass such a route over themselves.
  if (query.length > 0) return [];
  const methods = headers.filter(({ name }) => name === ':method');
  if (methods.some(({ kind, value }) => kind !== 'exact' || value !== METHOD)) return [];
  const rest = headers.filter(({ name }) => name !== ':method');
  const more = rest.length === 0 ? {} : { headers: rest };
  if (match.kind !== 'separatedPrefix') return [{ ...match, ...more }];
  const { value } = match;
  return [
    { kind: 'path', value, ...more },
    { kind: 'prefix', value: `${value}/`, ...more },
  ];
}

/** What is answered by the route itself (redirects, missing backends) is no answer to gRPC: such calls fail. */
function encodeAction(
  { cluster, timeoutMs, retry, hashPolicies = [], rule }: Route,
  library: GrpcLibrary,
): PlainMessage {
  const weighted = rule?.clusters?.filter(({ weight }) => weight > 0) ?? [];
  const hashes = hashPolicies.filter(({ kind }) => kind === 'header');
  const limits = {
    max_stream_duration: timeoutMs === 0 ? undefined : encodeLimit(timeoutMs, library),
    retry_policy: retry && encodeGrpcRetry(retry),
    hash_policy: hashes.length === 0 ? undefined : hashes.map(encodeHashPolicy),
  };
  if (weighted.length === 0)
    return { cluster: cluster === '' ? UNRESOLVED_CLUSTER : cluster, ...limits };
  const clusters = weighted.map((one) => ({
    name: one.cluster,
    weight: encodeUint(one.weight),
  }));
  return { weighted_clusters: { clusters }, ...limits };
}

/**
 * C-core counts from one to two seconds before the call: the beginning of its time is a whole second, less one, and a
 * call's own is counted from when that was looked at. A call is never ended before its time, and at most a second later.
 */
const CORE_EARLY_MS = 2_000;

const encodeLimit = (timeoutMs: number, library: GrpcLibrary): PlainMessage => ({
  max_stream_duration: encodeDuration(timeoutMs + (library === 'core' ? CORE_EARLY_MS : 0)),
});

const STATUSES: ReadonlySet<RetryCondition> = new Set([
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]);
/** What a gRPC client sees of them is UNAVAILABLE (gRPC's "HTTP to gRPC Status Code Mapping"). */
const UNAVAILABLE: ReadonlySet<RetryCondition> = new Set(['reset', 'gateway-error', '5xx']);
const UNAVAILABLE_STATUSES: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const UNAVAILABLE_STATUS = 'unavailable';

/**
 * As of every call of gRPC in the mesh: statuses that its server says itself, whatever the methods; and where a route
 * asks for any method (it names none), what is UNAVAILABLE to gRPC. What has not reached a server is tried again by gRPC
 * itself, whatever is said here. A time for one try is not known to it.
 */
function encodeGrpcRetry(retry: RetryPolicy): PlainMessage | undefined {
  const { methods, on, statusCodes, retries, backOff } = retry;
  const isUnavailable =
    methods.length === 0 &&
    (on.some((one) => UNAVAILABLE.has(one)) ||
      statusCodes.some((one) => UNAVAILABLE_STATUSES.has(one)));
  const named = on.filter((one) => STATUSES.has(one));
  const statuses = new Set(isUnavailable ? [...named, UNAVAILABLE_STATUS] : named);
  if (statuses.size === 0) return undefined;
  return {
    retry_on: [...statuses].join(','),
    num_retries: encodeUint(retries),
    retry_back_off: {
      base_interval: encodeDuration(backOff.baseMs),
      max_interval: encodeDuration(Math.max(backOff.baseMs, backOff.maxMs)),
    },
  };
}
