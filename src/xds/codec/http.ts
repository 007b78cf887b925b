// The HTTP connection manager and its filters on the wire.
import { isDeepStrictEqual } from 'node:util';
import {
  AMBIGUOUS_PATHS,
  ambiguousPathRule,
  ambiguousPathRules,
  areAmbiguousPathRules,
} from '@weft/model/policy/ambiguous-path';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { PlainMessage } from '../registry.ts';
import { providerOf } from '../resources/ext-authz.ts';
import type {
  HttpConnectionManager,
  HttpFilter,
  PathNormalization,
} from '../resources/listener.ts';
import {
  choose,
  type Fields,
  flag,
  integer,
  message,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
} from './fields.ts';
import { encodeJwtAuthentication, readJwtAuthentication } from './jwt-authn.ts';
import { encodeAccessLog, readAccessLog } from './access-log.ts';
import { encodeExtAuthz, readExtAuthz } from './ext-authz.ts';
import { checkHeadLimits, encodeHeadLimits } from './head-limits.ts';
import { encodeLocalReplies, readLocalReplies } from './local-replies.ts';
import { encodeRbac, readRbac } from './rbac.ts';
import { encodeRouteConfiguration, readRouteConfiguration } from './route.ts';
import { encodeShadowRules, hasShadowRules, readShadowRules } from './shadow-rules.ts';
import {
  checkTwins,
  encodeTrafficFilter,
  isOwnFilter,
  takeTwin,
  TRAFFIC_FILTERS,
} from './traffic-filters.ts';
import { ADS_SOURCE, checkAdsSource } from './tls.ts';
import {
  boolValue,
  encodeBool,
  encodeDuration,
  encodeExtension,
  type Extension,
  nonZero,
  readExtension,
  requiredDurationMs,
} from './well-known.ts';

/** More trusted hops than any chain of proxies has. */
const MAX_TRUSTED_HOPS = 100;

const HTTP_RBAC: Extension<HttpFilter> = {
  name: 'envoy.filters.http.rbac',
  typeName: 'envoy.extensions.filters.http.rbac.v3.RBAC',
  read: (fields) => {
    if (hasShadowRules(fields)) {
      const shadow = readShadowRules(fields, 'http');
      return shadow && { kind: 'shadowRbac', shadow };
    }
    // Absent rules would enforce nothing, which nobody sends this filter for.
    const rules = requiredMessage(fields, 'rules', (rbac) => readRbac(rbac, 'http'));
    if (rules === undefined) return undefined;
    return areAmbiguousPathRules(rules) ? readRefusedPaths(fields, rules) : { kind: 'rbac', rules };
  },
};

/** A sidecar looks at the path as it came, so the rules must be these and no others. */
function readRefusedPaths(fields: Fields, rules: RbacRules): HttpFilter | undefined {
  const names = new Set(rules.policies.map(({ name }) => name));
  const refused = AMBIGUOUS_PATHS.filter((kind) => names.has(ambiguousPathRule(kind)));
  if (isDeepStrictEqual(rules, ambiguousPathRules(refused)))
    return { kind: 'refusePaths', refused };
  const message = 'are not the rules by which ambiguous paths are refused';
  return report(fields, 'rules', 'unknown-value', message);
}

const HTTP_JWT: Extension<HttpFilter> = {
  name: 'envoy.filters.http.jwt_authn',
  typeName: 'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
  read: (fields) => {
    const jwt = readJwtAuthentication(fields);
    return jwt && { kind: 'jwt', jwt };
  },
};

const ROUTER: Extension<HttpFilter> = {
  name: 'envoy.filters.http.router',
  typeName: 'envoy.extensions.filters.http.router.v3.Router',
  read: () => ({ kind: 'router' }),
};

const EXT_AUTHZ: Extension<HttpFilter> = {
  name: 'envoy.filters.http.ext_authz',
  typeName: 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
  read: (fields) => {
    const authz = readExtAuthz(fields);
    return authz && { kind: 'extAuthz', authz };
  },
};

const PATH_MODES: { readonly [K in PathNormalization]: PlainMessage } = {
  NONE: { normalize_path: encodeBool(false), path_with_escaped_slashes_action: 'KEEP_UNCHANGED' },
  BASE: { normalize_path: encodeBool(true), path_with_escaped_slashes_action: 'KEEP_UNCHANGED' },
  MERGE_SLASHES: {
    normalize_path: encodeBool(true),
    merge_slashes: true,
    path_with_escaped_slashes_action: 'KEEP_UNCHANGED',
  },
  DECODE_AND_MERGE_SLASHES: {
    normalize_path: encodeBool(true),
    merge_slashes: true,
    path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD',
  },
};

/** Envoy decodes slashes before it asks rules: what they are to refuse has to be refused by the decoder. */
const REFUSING_SLASHES: PlainMessage = {
  ...PATH_MODES.DECODE_AND_MERGE_SLASHES,
  path_with_escaped_slashes_action: 'REJECT_REQUEST',
};

const refusesSlashes = (filters: readonly HttpFilter[]): boolean =>
  filters.some(
    (filter) =>
      filter.kind === 'refusePaths' &&
      filter.refused.includes('encodedSlash') &&
      filter.refused.includes('encodedBackslash'),
  );

const pathModeOf = ({ pathNormalization, filters }: HttpConnectionManager): PlainMessage =>
  pathNormalization === 'DECODE_AND_MERGE_SLASHES' && refusesSlashes(filters)
    ? REFUSING_SLASHES
    : PATH_MODES[pathNormalization];

/** Envoy would show any URI of a client's certificate, also one that looks like an identity of the mesh: it shows none. */
const CLIENT_CERT_MODES: {
  readonly [K in HttpConnectionManager['forwardClientCert']]: PlainMessage;
} = {
  sanitize: {},
  sanitizeSet: {
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: { uri: true },
  },
  sanitizeSetClient: {
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: { subject: encodeBool(true), dns: true },
  },
};

export function encodeHttpConnectionManager(http: HttpConnectionManager): PlainMessage {
  const { routes } = http;
  return {
    stat_prefix: http.statPrefix,
    ...(routes.kind === 'rds'
      ? { rds: { config_source: ADS_SOURCE, route_config_name: routes.name } }
      : { route_config: encodeRouteConfiguration(routes.config) }),
    http_filters: http.filters.flatMap(encodeHttpFilter),
    access_log: encodeAccessLog('http', http.accessLog),
    // The application's own Server header passes.
    server_header_transformation: 'PASS_THROUGH',
    // The peer's address is what X-Forwarded-For is judged from, hop by trusted hop.
    use_remote_address: encodeBool(true),
    xff_num_trusted_hops: nonZero(http.trustedHops),
    ...CLIENT_CERT_MODES[http.forwardClientCert],
    upgrade_configs: http.upgrades.map((upgrade) => ({ upgrade_type: upgrade })),
    local_reply_config: encodeLocalReplies(http.denials),
    ...pathModeOf(http),
    ...encodeHeadLimits(http.filters),
    request_headers_timeout: encodeDuration(http.requestHeadersTimeoutMs),
    stream_idle_timeout: encodeDuration(http.streamIdleTimeoutMs),
  };
}

function encodeHttpFilter(filter: HttpFilter): PlainMessage | readonly PlainMessage[] {
  switch (filter.kind) {
    case 'rbac':
      return encodeExtension(HTTP_RBAC, { rules: encodeRbac(filter.rules) });
    case 'shadowRbac':
      return encodeExtension(HTTP_RBAC, encodeShadowRules(filter.shadow));
    case 'jwt':
      return encodeExtension(HTTP_JWT, encodeJwtAuthentication(filter.jwt));
    case 'extAuthz':
      return encodeExtension(EXT_AUTHZ, encodeExtAuthz(filter.authz));
    case 'refusePaths':
      return encodeExtension(HTTP_RBAC, { rules: encodeRbac(ambiguousPathRules(filter.refused)) });
    case 'requestLimits':
    case 'traffic':
    case 'basicAuth':
      return encodeTrafficFilter(filter);
    case 'router':
      return encodeExtension(ROUTER);
    default:
      return filter satisfies never;
  }
}

export const readHttpConnectionManager: Read<HttpConnectionManager> = (fields) => {
  choose(fields, 'server_header_transformation', { PASS_THROUGH: true });
  if (boolValue(fields, 'use_remote_address') !== true)
    report(fields, 'use_remote_address', 'not-supported', 'must be true');
  const statPrefix = requiredText(fields, 'stat_prefix');
  const filters = readHttpFilters(fields);
  const forwardClientCert = readClientCert(fields);
  const pathNormalization = readPathMode(fields, refusesSlashes(filters));
  const trustedHops = integer(fields, 'xff_num_trusted_hops', MAX_TRUSTED_HOPS);
  const upgrades = messages(fields, 'upgrade_configs', (upgrade) =>
    requiredText(upgrade, 'upgrade_type').toLowerCase(),
  );
  checkHeadLimits(fields, filters);
  const requestHeadersTimeoutMs = requiredDurationMs(fields, 'request_headers_timeout');
  const streamIdleTimeoutMs = requiredDurationMs(fields, 'stream_idle_timeout');
  const denials = message(fields, 'local_reply_config', readLocalReplies);
  const routes = readRoutes(fields);
  if (routes === undefined || forwardClientCert === undefined || pathNormalization === undefined)
    return undefined;
  return {
    statPrefix,
    routes,
    filters,
    forwardClientCert,
    trustedHops,
    pathNormalization,
    upgrades,
    requestHeadersTimeoutMs,
    streamIdleTimeoutMs,
    ...(denials && { denials }),
    ...readAccessLog(fields, 'http'),
  };
};

function readRoutes(fields: Fields): HttpConnectionManager['routes'] | undefined {
  switch (oneOf(fields, 'route_specifier')) {
    case 'rds': {
      const name = message(fields, 'rds', (rds) => {
        checkAdsSource(rds, 'config_source');
        return requiredText(rds, 'route_config_name');
      });
      return name === undefined ? undefined : { kind: 'rds', name };
    }
    case 'route_config': {
      const config = message(fields, 'route_config', readRouteConfiguration);
      return config && { kind: 'inline', config };
    }
    default:
      return undefined;
  }
}

const KNOWN_FILTERS = [HTTP_RBAC, HTTP_JWT, EXT_AUTHZ, ROUTER, ...TRAFFIC_FILTERS];

/** The router ends the chain: a filter behind it would never run. */
function readHttpFilters(fields: Fields): readonly HttpFilter[] {
  const before = fields.reading.problems.length;
  const twins: Parameters<typeof takeTwin>[1] = [];
  const filters = messages(fields, 'http_filters', (filter) => {
    if (takeTwin(filter, twins)) return undefined;
    if (isOwnFilter(filter) && !flag(filter, 'is_optional'))
      return report(filter, 'is_optional', 'missing', 'must be true');
    return readExtension(filter, KNOWN_FILTERS);
  });
  checkTwins(fields, filters, twins);
  const isComplete = fields.reading.problems.length === before;
  if (isComplete && filters.findIndex(({ kind }) => kind === 'router') !== filters.length - 1)
    report(fields, 'http_filters', 'missing', 'must end in the one router');
  if (isComplete && !areAuthorizersPaired(filters))
    report(
      fields,
      'http_filters',
      'missing',
      'has an ext_authz without its shadow rules, or these without it',
    );
  if (isComplete && filters.length === 0)
    report(fields, 'http_filters', 'missing', 'must end in the one router');
  return filters;
}

/** Rules that nobody is asked about would protect nothing, and an authorizer without rules would never be asked. */
function areAuthorizersPaired(filters: readonly HttpFilter[]): boolean {
  let waiting: string | undefined;
  for (const filter of filters) {
    const provider =
      filter.kind === 'shadowRbac' ? providerOf(filter.shadow.statPrefix) : undefined;
    if (provider !== undefined) {
      if (waiting !== undefined) return false;
      waiting = provider;
    } else if (filter.kind === 'extAuthz') {
      if (filter.authz.provider !== waiting) return false;
      waiting = undefined;
    } else if (waiting !== undefined) return false;
  }
  return waiting === undefined;
}

function readClientCert(fields: Fields): HttpConnectionManager['forwardClientCert'] | undefined {
  const mode = choose(fields, 'forward_client_cert_details', {
    '': 'sanitize',
    SANITIZE: 'sanitize',
    SANITIZE_SET: 'sanitizeSet',
  } as const);
  if (mode !== 'sanitizeSet') return mode;
  return requiredMessage(fields, 'set_current_client_cert_details', (set) => {
    const hasSubject = boolValue(set, 'subject') ?? false;
    const hasDns = flag(set, 'dns');
    const hasUri = flag(set, 'uri');
    if (hasUri && !hasSubject && !hasDns) return 'sanitizeSet';
    if (!hasUri && hasSubject && hasDns) return 'sanitizeSetClient';
    return report(set, 'uri', 'missing', 'must be true');
  });
}

function readPathMode(fields: Fields, isRefusing: boolean): PathNormalization | undefined {
  const isNormalized = boolValue(fields, 'normalize_path');
  const isMerged = flag(fields, 'merge_slashes');
  const action = choose(fields, 'path_with_escaped_slashes_action', {
    KEEP_UNCHANGED: 'keep',
    UNESCAPE_AND_FORWARD: 'decode',
    REJECT_REQUEST: 'refuse',
  } as const);
  if (action === undefined) return undefined;
  const isKept = action === 'keep';
  if (isNormalized === false && !isMerged && isKept) return 'NONE';
  if (isNormalized === true && !isMerged && isKept) return 'BASE';
  if (isNormalized === true && isMerged && isKept) return 'MERGE_SLASHES';
  const isDecoding = isNormalized === true && isMerged;
  if (isDecoding && action === (isRefusing ? 'refuse' : 'decode'))
    return 'DECODE_AND_MERGE_SLASHES';
  const message =
    'is no known way to normalise paths, together with merge_slashes and path_with_escaped_slashes_action';
  return report(fields, 'normalize_path', 'not-supported', message);
}
