// What routes do besides sending a request to one cluster, on the wire.
import type { PlainMessage } from '../registry.ts';
import {
  type PathRewrite,
  type RouteMirror,
  type RouteRedirect,
  type RouteRule,
  type WeightedCluster,
} from '../resources/route-rule.ts';
import {
  choose,
  type Fields,
  flag,
  integer,
  isSet,
  message,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
} from './fields.ts';
import { encodeHeaderRules, readHeaderRules } from './header-rules.ts';
import { formatGlob, parseGlob } from './string-match.ts';
import { encodeUint, nonZero, requiredUint } from './well-known.ts';

const WHOLE_PATH = '^/.*$';
/** Envoy's own bound for the sum. */
const MAX_WEIGHT = 4_294_967_295;
const MILLION = 1_000_000;

/** Of `RouteAction`; where the request goes is the route's `cluster` where there is one. */
export function encodeRouteAction(rule: RouteRule, cluster: string): PlainMessage {
  const { clusters, mirrors, path } = rule;
  return {
    ...(clusters === undefined
      ? { cluster }
      : { weighted_clusters: { clusters: clusters.map(encodeWeighted) } }),
    cluster_not_found_response_code:
      rule.unresolvedStatus === 500 ? 'INTERNAL_SERVER_ERROR' : undefined,
    host_rewrite_literal: rule.host,
    prefix_rewrite: path?.kind === 'prefix' ? path.value : undefined,
    regex_rewrite: path === undefined ? undefined : encodeRegexRewrite(path),
    request_mirror_policies: mirrors?.map(encodeMirror),
  };
}

/** Of `Route`. */
export const encodeRouteHeaders = ({
  requestHeaders,
  responseHeaders,
}: RouteRule): PlainMessage => ({
  ...encodeHeaderRules('request', requestHeaders),
  ...encodeHeaderRules('response', responseHeaders),
});

const encodeWeighted = (one: WeightedCluster): PlainMessage => ({
  name: one.cluster,
  weight: encodeUint(one.weight),
  ...encodeRouteHeaders(one),
});

const encodeMirror = ({ cluster, share }: RouteMirror): PlainMessage => ({
  cluster,
  runtime_fraction: {
    default_value: { numerator: nonZero(share), denominator: 'MILLION' },
  },
  disable_shadow_host_suffix_append: true,
});

function encodeRegexRewrite({ kind, value }: PathRewrite): PlainMessage | undefined {
  switch (kind) {
    case 'prefix':
      return undefined;
    case 'full':
      return { pattern: { regex: WHOLE_PATH }, substitution: value };
    case 'strip': {
      const literal = formatGlob([{ kind: 'literal', text: value }]);
      return { pattern: { regex: `^${literal}/*` }, substitution: '/' };
    }
    default:
      return kind satisfies never;
  }
}

const REDIRECTS = {
  301: 'MOVED_PERMANENTLY',
  302: 'FOUND',
  303: 'SEE_OTHER',
  307: 'TEMPORARY_REDIRECT',
  308: 'PERMANENT_REDIRECT',
} as const;

export function encodeAnswer(answer: NonNullable<RouteRule['answer']>): PlainMessage {
  if (answer.kind === 'respond') return { direct_response: { status: answer.status } };
  const { status, scheme, host, port, path } = answer;
  return {
    redirect: {
      response_code: REDIRECTS[status],
      scheme_redirect: scheme,
      host_redirect: host,
      port_redirect: port,
      path_redirect: path?.kind === 'full' ? path.value : undefined,
      prefix_rewrite: path?.kind === 'prefix' ? path.value : undefined,
      regex_rewrite: path?.kind === 'strip' ? encodeRegexRewrite(path) : undefined,
    },
  };
}

/** @returns `undefined` and no problem where nothing of a rule is set. */
export function readRouteRule(fields: Fields, action: RouteRule): RouteRule | undefined {
  const rule: RouteRule = { ...action, ...readHeaders(fields) };
  return Object.keys(rule).length === 0 ? undefined : rule;
}

function readHeaders(fields: Fields): Pick<RouteRule, 'requestHeaders' | 'responseHeaders'> {
  const requestHeaders = readHeaderRules(fields, 'request');
  const responseHeaders = readHeaderRules(fields, 'response');
  return { ...(requestHeaders && { requestHeaders }), ...(responseHeaders && { responseHeaders }) };
}

/** What of `RouteAction` belongs to a rule. */
export function readRouteAction(fields: Fields): RouteRule {
  const clusters = message(fields, 'weighted_clusters', readWeightedClusters);
  const host = text(fields, 'host_rewrite_literal');
  const path = readPathRewrite(fields);
  const mirrors = messages(fields, 'request_mirror_policies', readMirror);
  const unresolvedStatus = choose(fields, 'cluster_not_found_response_code', {
    '': undefined,
    SERVICE_UNAVAILABLE: undefined,
    INTERNAL_SERVER_ERROR: 500 as const,
  });
  return {
    ...(clusters && { clusters }),
    ...(unresolvedStatus && { unresolvedStatus }),
    ...(host !== '' && { host }),
    ...(path && { path }),
    ...(mirrors.length > 0 && { mirrors }),
  };
}

const readWeightedClusters: Read<readonly WeightedCluster[]> = (fields) => {
  const clusters = messages(fields, 'clusters', readWeighted);
  const total = clusters.reduce((sum, { weight }) => sum + weight, 0);
  if (total >= 1 && total <= MAX_WEIGHT) return clusters;
  return report(fields, 'clusters', 'out-of-range', `have weights of ${total} together`);
};

const readWeighted: Read<WeightedCluster> = (fields) => ({
  cluster: requiredText(fields, 'name'),
  weight: requiredUint(fields, 'weight'),
  ...readHeaders(fields),
});

const readMirror: Read<RouteMirror> = (fields) => {
  if (!flag(fields, 'disable_shadow_host_suffix_append')) {
    report(fields, 'disable_shadow_host_suffix_append', 'not-supported', 'is false');
  }
  const cluster = requiredText(fields, 'cluster');
  const share = requiredMessage(fields, 'runtime_fraction', (fraction) =>
    requiredMessage(fraction, 'default_value', readShare),
  );
  return share === undefined ? undefined : { cluster, share };
};

const readShare: Read<number> = (fields) => {
  const numerator = integer(fields, 'numerator', MILLION);
  const isMillion = choose(fields, 'denominator', { MILLION: true });
  return isMillion === undefined ? undefined : numerator;
};

function readPathRewrite(fields: Fields): PathRewrite | undefined {
  const prefix = text(fields, 'prefix_rewrite');
  if (!isSet(fields, 'regex_rewrite')) {
    return prefix === '' ? undefined : { kind: 'prefix', value: checkPath(fields, prefix) };
  }
  if (prefix !== '') report(fields, 'prefix_rewrite', 'malformed', 'is set beside regex_rewrite');
  return message(fields, 'regex_rewrite', readRegexRewrite);
}

function checkPath(fields: Fields, path: string): string {
  if (!path.startsWith('/')) {
    report(fields, 'prefix_rewrite', 'out-of-range', `is ${shown(path)}, not a path`);
  }
  return path;
}

const readRegexRewrite: Read<PathRewrite> = (fields) => {
  const regex = requiredMessage(fields, 'pattern', (one) => requiredText(one, 'regex')) ?? '';
  const substitution = requiredText(fields, 'substitution');
  if (substitution.includes('\\') || !substitution.startsWith('/')) {
    report(fields, 'substitution', 'not-supported', `is ${shown(substitution)}, not a path`);
  }
  if (regex === WHOLE_PATH) return { kind: 'full', value: substitution };
  const isStrip = regex.startsWith('^') && regex.endsWith('/*') && substitution === '/';
  const [part, ...more] = (isStrip && parseGlob(regex.slice(1, -2))) || [];
  if (part?.kind === 'literal' && more.length === 0) return { kind: 'strip', value: part.text };
  return report(fields, 'pattern', 'not-supported', `is ${shown(regex)}`);
};

export const readRedirect: Read<RouteRedirect> = (fields) => {
  const status = choose(fields, 'response_code', {
    '': 301 as const,
    MOVED_PERMANENTLY: 301 as const,
    FOUND: 302 as const,
    SEE_OTHER: 303 as const,
    TEMPORARY_REDIRECT: 307 as const,
    PERMANENT_REDIRECT: 308 as const,
  });
  const scheme = text(fields, 'scheme_redirect');
  if (scheme !== '' && scheme !== 'http' && scheme !== 'https') {
    report(fields, 'scheme_redirect', 'not-supported', `is ${shown(scheme)}`);
  }
  const host = text(fields, 'host_redirect');
  const port = integer(fields, 'port_redirect', 65_535);
  const path = readRedirectPath(fields);
  return (
    status && {
      kind: 'redirect',
      status,
      ...(scheme !== '' && { scheme: scheme === 'https' ? 'https' : 'http' }),
      ...(host !== '' && { host }),
      ...(port !== 0 && { port }),
      ...(path && { path }),
    }
  );
};

function readRedirectPath(fields: Fields): PathRewrite | undefined {
  const names = ['path_redirect', 'prefix_rewrite', 'regex_rewrite'];
  if (!names.some((name) => isSet(fields, name))) return undefined;
  switch (oneOf(fields, 'path_rewrite_specifier')) {
    case 'path_redirect':
      return { kind: 'full', value: requiredText(fields, 'path_redirect') };
    case 'prefix_rewrite':
      return { kind: 'prefix', value: checkPath(fields, requiredText(fields, 'prefix_rewrite')) };
    default:
      return message(fields, 'regex_rewrite', readRegexRewrite);
  }
}

export const readResponse: Read<NonNullable<RouteRule['answer']>> = (fields) => {
  const status = integer(fields, 'status', 599);
  if (status >= 200) return { kind: 'respond', status };
  return report(fields, 'status', 'out-of-range', `is ${status}`);
};
