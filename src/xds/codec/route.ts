// Route configurations on the wire.
import type { PlainMessage } from '../registry.ts';
import type { Route, RouteConfiguration, VirtualHost } from '../resources/route.ts';
import {
  type Fields,
  message,
  messages,
  missing,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
  texts,
} from './fields.ts';
import { encodeHashPolicy, readHashPolicy } from './hash-policy.ts';
import { encodeRetries, readRetries } from './retry.ts';
import {
  boolValue,
  encodeBool,
  encodeDuration,
  nonEmpty,
  requiredDurationMs,
} from './well-known.ts';

export function encodeRouteConfiguration(route: RouteConfiguration): PlainMessage {
  return {
    name: nonEmpty(route.name),
    virtual_hosts: route.virtualHosts.map(encodeVirtualHost),
    // A cluster may come later than the route that names it: then the request fails, not the configuration.
    validate_clusters: encodeBool(false),
  };
}

const encodeVirtualHost = ({ name, domains, routes }: VirtualHost): PlainMessage => ({
  name,
  domains,
  routes: routes.map(encodeRoute),
});

const encodeRoute = (route: Route): PlainMessage => ({
  match: { [route.match.kind]: route.match.value },
  route: {
    cluster: route.cluster,
    timeout: encodeDuration(route.timeoutMs),
    retry_policy: encodeRetries(route),
    hash_policy: route.hashPolicies?.map(encodeHashPolicy),
  },
});

export const readRouteConfiguration: Read<RouteConfiguration> = (fields) => {
  if (boolValue(fields, 'validate_clusters') === true)
    report(fields, 'validate_clusters', 'not-supported', 'is true');
  return {
    name: text(fields, 'name'),
    virtualHosts: messages(fields, 'virtual_hosts', readVirtualHost),
  };
};

const readVirtualHost: Read<VirtualHost> = (fields) => {
  const domains = texts(fields, 'domains');
  if (domains.length === 0) missing(fields, 'domains');
  if (domains.includes('')) report(fields, 'domains', 'missing', 'holds an empty domain');
  return {
    name: requiredText(fields, 'name'),
    domains,
    routes: messages(fields, 'routes', readRoute),
  };
};

const readRoute: Read<Route> = (fields) => {
  const match = requiredMessage(fields, 'match', readRouteMatch);
  oneOf(fields, 'action');
  const action = requiredMessage(fields, 'route', readRouteAction);
  return match && action && { match, ...action };
};

const readRouteMatch: Read<Route['match']> = (fields) => {
  const kind = oneOf(fields, 'path_specifier');
  if (kind !== 'prefix' && kind !== 'path') return undefined;
  const value = requiredText(fields, kind);
  if (!value.startsWith('/'))
    report(fields, kind, 'out-of-range', `is ${shown(value)}, not a path`);
  return { kind, value };
};

const readRouteAction: Read<Omit<Route, 'match'>> = (fields) => {
  const cluster = readClusterName(fields);
  const timeoutMs = requiredDurationMs(fields, 'timeout');
  const retries = message(fields, 'retry_policy', readRetries) ?? { connectRetries: 0 };
  const hashPolicies = messages(fields, 'hash_policy', readHashPolicy);
  return { cluster, timeoutMs, ...retries, ...(hashPolicies.length > 0 && { hashPolicies }) };
};

function readClusterName(fields: Fields): string {
  return oneOf(fields, 'cluster_specifier') === 'cluster' ? requiredText(fields, 'cluster') : '';
}
