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
import {
  boolValue,
  encodeBool,
  encodeDuration,
  encodeUint,
  nonEmpty,
  requiredDurationMs,
  requiredUint,
} from './well-known.ts';

/** Nothing has reached the application when one of these happens. */
const RETRY_ON = 'connect-failure,refused-stream';
/** More retries than that are an outage, not a blip. */
const MAX_RETRIES = 100;

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

const encodeRoute = ({ match, cluster, timeoutMs, connectRetries }: Route): PlainMessage => ({
  match: { [match.kind]: match.value },
  route: {
    cluster,
    timeout: encodeDuration(timeoutMs),
    retry_policy:
      connectRetries === 0
        ? undefined
        : { retry_on: RETRY_ON, num_retries: encodeUint(connectRetries) },
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

const readRouteAction: Read<Omit<Route, 'match'>> = (fields) => ({
  cluster: readClusterName(fields),
  timeoutMs: requiredDurationMs(fields, 'timeout'),
  connectRetries: message(fields, 'retry_policy', readRetries) ?? 0,
});

function readClusterName(fields: Fields): string {
  return oneOf(fields, 'cluster_specifier') === 'cluster' ? requiredText(fields, 'cluster') : '';
}

const readRetries: Read<number> = (fields) => {
  const retryOn = text(fields, 'retry_on');
  if (retryOn !== RETRY_ON)
    report(fields, 'retry_on', 'not-supported', `is ${shown(retryOn)}, not ${RETRY_ON}`);
  return requiredUint(fields, 'num_retries', MAX_RETRIES);
};
