// Route configurations on the wire.
import type { PlainMessage } from '../registry.ts';
import type { Route, RouteConfiguration, VirtualHost } from '../resources/route.ts';
import type { RouteRule } from '../resources/route-rule.ts';
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
  text,
  texts,
} from './fields.ts';
import { encodeHashPolicy, readHashPolicy } from './hash-policy.ts';
import { encodeRetries, readRetries } from './retry.ts';
import { readRouteMatch, encodeRouteMatch } from './route-match.ts';
import {
  encodeAnswer,
  encodeRouteAction,
  encodeRouteHeaders,
  readRedirect,
  readResponse,
  readRouteAction,
  readRouteRule,
} from './route-rule.ts';
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

function encodeRoute(route: Route): PlainMessage {
  const { cluster, rule = NOTHING_MORE } = route;
  const match = encodeRouteMatch(route.match);
  if (rule.answer !== undefined) {
    return { match, ...encodeAnswer(rule.answer), ...encodeRouteHeaders(rule) };
  }
  return {
    match,
    route: {
      ...encodeRouteAction(rule, cluster),
      timeout: encodeDuration(route.timeoutMs),
      retry_policy: encodeRetries(route),
      hash_policy: route.hashPolicies?.map(encodeHashPolicy),
    },
    ...encodeRouteHeaders(rule),
  };
}

const NOTHING_MORE: RouteRule = {};

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
  const action = readAction(fields);
  if (match === undefined || action === undefined) return undefined;
  const { rule: ruled, ...more } = action;
  const rule = readRouteRule(fields, ruled);
  return { match, ...more, ...(rule && { rule }) };
};

type Action = Omit<Route, 'match' | 'rule'> & { readonly rule: RouteRule };

function readAction(fields: Fields): Action | undefined {
  const kind = oneOf(fields, 'action');
  if (kind === 'route') return requiredMessage(fields, kind, readForward);
  if (kind === undefined) return undefined;
  const answer = requiredMessage<RouteAnswer>(
    fields,
    kind,
    kind === 'redirect' ? readRedirect : readResponse,
  );
  return answer && { cluster: '', timeoutMs: 0, connectRetries: 0, rule: { answer } };
}

type RouteAnswer = NonNullable<RouteRule['answer']>;

const readForward: Read<Action> = (fields) => {
  const specifier = oneOf(fields, 'cluster_specifier');
  const cluster = specifier === 'cluster' ? requiredText(fields, 'cluster') : '';
  const rule = readRouteAction(fields);
  const timeoutMs = requiredDurationMs(fields, 'timeout');
  const retries = message(fields, 'retry_policy', readRetries) ?? { connectRetries: 0 };
  const hashPolicies = messages(fields, 'hash_policy', readHashPolicy);
  return { cluster, timeoutMs, ...retries, ...(hashPolicies.length > 0 && { hashPolicies }), rule };
};
