// What limits of requests an Envoy's connection manager is told, which enforces them before any filter; the sidecar has them of its filter.
import { isDeepStrictEqual } from 'node:util';
import type { PlainMessage } from '../registry.ts';
import type { HttpFilter } from '../resources/listener.ts';
import { type Fields, message, report } from './fields.ts';
import {
  encodeDuration,
  encodeUint,
  requiredDurationMs,
  requiredUint,
  uintValue,
} from './well-known.ts';

const KIB = 1_024;
/** Envoy's own bound. */
const MAX_KIB = 8_192;

interface HeadLimits {
  readonly kib?: number;
  readonly count?: number;
  readonly timeoutMs?: number;
}

/** Rounded down, so that nothing larger passes; below 1 KiB Envoy knows no limit. */
function limitsOf(filters: readonly HttpFilter[]): HeadLimits {
  const found = filters.find((filter) => filter.kind === 'requestLimits');
  const { maxHeaderBytes, maxHeaders, bodyTimeoutMs } = found?.limits.limits ?? {};
  return {
    ...(maxHeaderBytes !== undefined && {
      kib: Math.min(Math.max(Math.floor(maxHeaderBytes / KIB), 1), MAX_KIB),
    }),
    ...(maxHeaders !== undefined && { count: maxHeaders }),
    ...(bodyTimeoutMs !== undefined && { timeoutMs: bodyTimeoutMs }),
  };
}

export function encodeHeadLimits(filters: readonly HttpFilter[]): PlainMessage {
  const { kib, count, timeoutMs } = limitsOf(filters);
  return {
    max_request_headers_kb: kib === undefined ? undefined : encodeUint(kib),
    common_http_protocol_options:
      count === undefined ? undefined : { max_headers_count: encodeUint(count) },
    // From the first byte of the head: no longer than from its last.
    request_timeout: timeoutMs === undefined ? undefined : encodeDuration(timeoutMs),
  };
}

/** The sidecar enforces what its filter says, so an Envoy must be told the same. */
export function checkHeadLimits(fields: Fields, filters: readonly HttpFilter[]): void {
  const kib = uintValue(fields, 'max_request_headers_kb');
  const count = message(fields, 'common_http_protocol_options', (options) =>
    requiredUint(options, 'max_headers_count'),
  );
  const timeoutMs = fields.byName.has('request_timeout')
    ? requiredDurationMs(fields, 'request_timeout')
    : undefined;
  const told: HeadLimits = {
    ...(kib !== undefined && { kib }),
    ...(count !== undefined && { count }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
  if (isDeepStrictEqual(told, limitsOf(filters))) return;
  const said = 'is not as weft.filters.http.request_limits says, with the other limits';
  report(fields, 'max_request_headers_kb', 'not-supported', said);
}
