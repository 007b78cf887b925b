// External authorization on the wire: Envoy's own filter, asked only about what the shadow rules before it match.
import { protoRoot, type PlainMessage } from '../registry.ts';
import type { ExtAuthz, HttpAuthorizer } from '../resources/ext-authz.ts';
import { extAuthzPrefix } from '../resources/ext-authz.ts';
import {
  choose,
  type Fields,
  flag,
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
import { encodeMetadataMatcher, readMetadataMatcher } from './request-match.ts';
import { encodeStringMatcher, readStringMatcher } from './string-match.ts';
import { encodeDuration, nonEmpty, requiredDurationMs } from './well-known.ts';

/** Where Envoy's RBAC filter says which shadow rule matched. */
const RBAC_METADATA = 'envoy.filters.http.rbac';
const RULE_KEY = 'shadow_effective_policy_id';
/** What every name of a rule begins with; without a match there is no name. */
const RULE_START = 'ns[';
const SCHEME = 'http://';

const whenMatched = (provider: string): Parameters<typeof encodeMetadataMatcher>[0] => ({
  filter: RBAC_METADATA,
  path: [extAuthzPrefix(provider) + RULE_KEY],
  value: { kind: 'string', string: { kind: 'prefix', value: RULE_START, ignoreCase: false } },
  invert: false,
});

/** @throws TypeError for a status that HTTP has no name for: Envoy takes no other. */
export function encodeExtAuthz(authz: ExtAuthz): PlainMessage {
  const { cluster, host, service } = authz;
  const timeout = encodeDuration(authz.timeoutMs);
  const common = {
    transport_api_version: 'V3',
    failure_mode_allow: authz.failOpen || undefined,
    status_on_error: { code: statusName(authz.statusOnError) },
    filter_enabled_metadata: encodeMetadataMatcher(whenMatched(authz.provider)),
    stat_prefix: authz.provider,
  };
  if (service.kind === 'grpc') {
    const target = { cluster_name: cluster, authority: host };
    return { ...common, grpc_service: { envoy_grpc: target, timeout } };
  }
  return {
    ...common,
    http_service: {
      server_uri: { uri: SCHEME + host, cluster, timeout },
      path_prefix: nonEmpty(service.pathPrefix),
      authorization_request: {
        headers_to_add: service.additionalHeaders.map(([key, value]) => ({ key, value })),
      },
      authorization_response: {
        allowed_upstream_headers: encodeNames(service.toUpstreamOnAllow),
        allowed_client_headers: encodeNames(service.toDownstreamOnDeny),
      },
    },
    allowed_headers: encodeNames(service.requestHeaders),
  };
}

/** A list that is there must have something in it. */
const encodeNames = (names: HttpAuthorizer['requestHeaders']): PlainMessage | undefined =>
  names.length === 0 ? undefined : { patterns: names.map(encodeStringMatcher) };

const STATUS_ENUM = 'envoy.type.v3.StatusCode';

/** A status of HTTP by its number. @throws TypeError when it has none. */
function statusName(status: number): string {
  const name = protoRoot().lookupEnum(STATUS_ENUM).valuesById[status];
  if (name === undefined || status === 0)
    throw new TypeError(`Cannot encode the status ${status}: HTTP has no name for it`);
  return name;
}

/** Statuses by their names on the wire, without the empty one. */
const statuses = (): { readonly [name: string]: number } => {
  const { Empty: _none, ...named } = protoRoot().lookupEnum(STATUS_ENUM).values;
  return named;
};

export const readExtAuthz: Read<ExtAuthz> = (fields) => {
  choose(fields, 'transport_api_version', { V3: true });
  const provider = requiredText(fields, 'stat_prefix');
  const failOpen = flag(fields, 'failure_mode_allow');
  const statusOnError = requiredMessage(fields, 'status_on_error', (status) =>
    choose(status, 'code', statuses()),
  );
  readCondition(fields, provider);
  const kind = oneOf(fields, 'services');
  const target =
    kind === 'grpc_service'
      ? requiredMessage(fields, 'grpc_service', readGrpcService)
      : readHttpService(fields);
  if (target === undefined || statusOnError === undefined) return undefined;
  return { provider, failOpen, statusOnError, ...target };
};

/** Without it every request would be asked about, and with another nobody here would know which. */
function readCondition(fields: Fields, provider: string): void {
  const field = 'filter_enabled_metadata';
  const when = requiredMessage(fields, field, readMetadataMatcher);
  if (when === undefined || JSON.stringify(when) === JSON.stringify(whenMatched(provider))) return;
  report(fields, field, 'not-supported', `does not ask for the shadow rules of ${shown(provider)}`);
}

type Target = Pick<ExtAuthz, 'cluster' | 'host' | 'timeoutMs' | 'service'>;

const readGrpcService: Read<Target> = (fields) => {
  const timeoutMs = requiredDurationMs(fields, 'timeout');
  if (oneOf(fields, 'target_specifier') !== 'envoy_grpc') return undefined;
  const target = message(fields, 'envoy_grpc', (envoy) => ({
    cluster: requiredText(envoy, 'cluster_name'),
    host: requiredText(envoy, 'authority'),
  }));
  return target && { ...target, timeoutMs, service: { kind: 'grpc' } };
};

function readHttpService(fields: Fields): Target | undefined {
  const requestHeaders = readNames(fields, 'allowed_headers');
  return requiredMessage(fields, 'http_service', (http): Target | undefined => {
    const uri = requiredMessage(http, 'server_uri', readServerUri);
    const pathPrefix = text(http, 'path_prefix');
    const additionalHeaders =
      message(http, 'authorization_request', (request) =>
        messages(request, 'headers_to_add', (header) => {
          const name = requiredText(header, 'key');
          return [name, text(header, 'value')] as const;
        }),
      ) ?? [];
    const answer = message(http, 'authorization_response', (response) => ({
      toUpstreamOnAllow: readNames(response, 'allowed_upstream_headers'),
      toDownstreamOnDeny: readNames(response, 'allowed_client_headers'),
    }));
    const { toUpstreamOnAllow = [], toDownstreamOnDeny = [] } = answer ?? {};
    const told = { pathPrefix, requestHeaders, additionalHeaders };
    const service = { kind: 'http', ...told, toUpstreamOnAllow, toDownstreamOnDeny } as const;
    return uri && { ...uri, service };
  });
}

const readServerUri: Read<Omit<Target, 'service'>> = (fields) => {
  const uri = requiredText(fields, 'uri');
  const timeoutMs = requiredDurationMs(fields, 'timeout');
  if (oneOf(fields, 'http_upstream_type') !== 'cluster') return undefined;
  const cluster = requiredText(fields, 'cluster');
  if (uri.startsWith(SCHEME)) return { cluster, host: uri.slice(SCHEME.length), timeoutMs };
  return report(fields, 'uri', 'not-supported', `is ${shown(uri)}, not ${SCHEME}HOST:PORT`);
};

const readNames = (fields: Fields, name: string): HttpAuthorizer['requestHeaders'] =>
  message(fields, name, (list) => messages(list, 'patterns', readStringMatcher)) ?? [];
