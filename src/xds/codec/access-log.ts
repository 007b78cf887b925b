// What an Envoy with an agent writes of requests and connections: one line of JSON each on its standard output, for the agent to read.
import { encodeMessage, type PlainMessage } from '../registry.ts';
import type { EnvoyAccessLog } from '../resources/listener.ts';
import { type Fields, takeRaw, report } from './fields.ts';
import { encodeExtension, encodeTexts } from './well-known.ts';

type Protocol = 'http' | 'tcp';

/** By the names that the agent knows them by. Of a path what precedes the query: that may hold secrets. */
const TCP_FIELDS = {
  weft: 'access',
  source: '%DOWNSTREAM_PEER_URI_SAN%',
  sourceIp: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
  port: '%DOWNSTREAM_LOCAL_PORT%',
  upstream: '%UPSTREAM_HOST%',
  cluster: '%UPSTREAM_CLUSTER%',
  flags: '%RESPONSE_FLAGS%',
  received: '%BYTES_RECEIVED%',
  sent: '%BYTES_SENT%',
  duration: '%DURATION%',
} as const;

const FORMATS: { readonly [P in Protocol]: Readonly<Record<string, string>> } = {
  tcp: {
    ...TCP_FIELDS,
    details: '%CONNECTION_TERMINATION_DETAILS%',
    policy: '%DYNAMIC_METADATA(envoy.filters.network.rbac:enforced_effective_policy_id)%',
    decision: '%DYNAMIC_METADATA(envoy.filters.network.rbac:enforced_engine_result)%',
  },
  http: {
    ...TCP_FIELDS,
    protocol: '%PROTOCOL%',
    details: '%RESPONSE_CODE_DETAILS%',
    policy: '%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_effective_policy_id)%',
    decision: '%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_engine_result)%',
    id: '%REQ(X-REQUEST-ID)%',
    method: '%REQ(:METHOD):512%',
    path: '%PATH(NQ:PATH):512%',
    authority: '%REQ(:AUTHORITY):512%',
    status: '%RESPONSE_CODE%',
    grpc: '%GRPC_STATUS_NUMBER%',
  },
};

/** Any flag of Envoy's own: it could not connect, was cut off, or refused. */
const FLAGGED: PlainMessage = { response_flag_filter: {} };
const LOWEST_ERROR = 400;

const ERRORS: { readonly [P in Protocol]: PlainMessage } = {
  http: {
    or_filter: {
      filters: [
        {
          status_code_filter: {
            comparison: {
              op: 'GE',
              value: { default_value: LOWEST_ERROR, runtime_key: 'weft.access_log.errors_from' },
            },
          },
        },
        FLAGGED,
      ],
    },
  },
  tcp: {
    or_filter: {
      filters: [
        {
          extension_filter: encodeExtension(
            {
              name: 'envoy.access_loggers.extension_filters.cel',
              typeName: 'envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter',
            },
            { expression: 'has(connection.termination_details)' },
          ),
        },
        FLAGGED,
      ],
    },
  },
};

export const encodeAccessLog = (
  protocol: Protocol,
  log: EnvoyAccessLog | undefined,
): readonly PlainMessage[] =>
  log === undefined
    ? []
    : [
        {
          ...encodeExtension(
            {
              name: 'envoy.access_loggers.stdout',
              typeName: 'envoy.extensions.access_loggers.stream.v3.StdoutAccessLog',
            },
            {
              log_format: {
                json_format: encodeTexts({ ...FORMATS[protocol], direction: log.direction }),
              },
            },
          ),
          ...(log.what === 'errors' && { filter: ERRORS[protocol] }),
        },
      ];

const ALL: readonly EnvoyAccessLog[] = (['errors', 'all'] as const).flatMap((what) => [
  { what, direction: 'inbound' },
  { what, direction: 'outbound' },
]);

/** Exactly one of those that are written here, or none: another might put secrets anywhere. */
export function readAccessLog(
  fields: Fields,
  protocol: Protocol,
): { readonly accessLog?: EnvoyAccessLog } {
  const [first, second] = takeRaw(fields, 'access_log');
  if (first === undefined) return {};
  for (const accessLog of ALL) {
    const [known = {}] = encodeAccessLog(protocol, accessLog);
    const bytes = encodeMessage('envoy.config.accesslog.v3.AccessLog', known);
    if (second === undefined && Buffer.compare(first, bytes) === 0) return { accessLog };
  }
  report(fields, 'access_log', 'not-supported', 'is no access log of an agent');
  return {};
}
