// Refuses requests that are too large, or of a method or type that is not wanted, as soon as their head is there.
import type { LimitsConfig } from '@weft/xds/resources/traffic';
import {
  type GateOutcome,
  type GateRequest,
  PASSED,
  type RequestGate,
} from '../filters/request-gate.ts';
import type { ConnectionFacts } from '../filters/connection-facts.ts';

/** As HTTP/2 counts a header list (RFC 9113 §6.5.2), for both versions. */
const FIELD_OVERHEAD = 32;
/** Methods whose requests have a body, unless they say that they have none (RFC 9110 §9.3). */
const BODY_METHODS: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

const refusal = (status: number, body: string, headers: readonly string[] = []): GateOutcome => ({
  kind: 'refuse',
  status,
  body,
  reasonCode: `limit-${body.replaceAll(' ', '-')}`,
  headers,
});

const TOO_MANY_HEADERS = refusal(431, 'too many headers');
const HEADERS_TOO_LARGE = refusal(431, 'headers too large');
export const BODY_TOO_LARGE = refusal(413, 'body too large');
const TYPE_NOT_ALLOWED = refusal(415, 'content type');

export function createLimitsGate({ limits }: LimitsConfig): RequestGate {
  const { maxHeaderBytes, maxHeaders, maxBodyBytes, methods, contentTypes } = limits;
  const allowed = methods && new Set(methods);
  const notAllowed = refusal(405, 'method', ['allow', (methods ?? []).join(', ')]);
  const isAllowedType = contentTypes && typeTest(contentTypes);
  const check = ({ facts }: GateRequest): GateOutcome => {
    if (allowed !== undefined && !allowed.has(facts.method ?? '')) return notAllowed;
    if (maxHeaders !== undefined || maxHeaderBytes !== undefined) {
      const size = sizeOf(facts);
      if (maxHeaders !== undefined && size.count > maxHeaders) return TOO_MANY_HEADERS;
      if (maxHeaderBytes !== undefined && size.bytes > maxHeaderBytes) return HEADERS_TOO_LARGE;
    }
    const [length] = facts.head.header('content-length') ?? [];
    if (maxBodyBytes !== undefined && length !== undefined && !(Number(length) <= maxBodyBytes)) {
      return BODY_TOO_LARGE;
    }
    if (isAllowedType !== undefined && !isTypeGood(facts, length, isAllowedType)) {
      return TYPE_NOT_ALLOWED;
    }
    return PASSED;
  };
  return { check, checkLater: (request) => Promise.resolve(check(request)) };
}

/** By the head as it came: names may come more than once, and each line counts. */
function sizeOf({ head, method, authority }: ConnectionFacts): {
  readonly count: number;
  readonly bytes: number;
} {
  let count = 0;
  let bytes = head.path.length + (method?.length ?? 0) + (authority?.length ?? 0);
  for (const name of new Set(head.names())) {
    for (const value of head.header(name) ?? []) {
      count++;
      bytes += name.length + value.length + FIELD_OVERHEAD;
    }
  }
  return { count, bytes };
}

/** A body without a type could be read as any: it must have one, and all that it says of itself must be allowed. */
function isTypeGood(
  { head, method }: ConnectionFacts,
  length: string | undefined,
  isAllowed: (type: string) => boolean,
): boolean {
  const types = head.header('content-type');
  if (types !== undefined) return types.every(isAllowed);
  if (length !== undefined) return Number(length) === 0;
  return head.header('transfer-encoding') === undefined && !BODY_METHODS.has(method ?? '');
}

function typeTest(allowed: readonly string[]): (value: string) => boolean {
  const whole = new Set(allowed.filter((type) => !type.endsWith('/*')));
  const families = new Set(
    allowed.filter((type) => type.endsWith('/*')).map((type) => type.slice(0, -1)),
  );
  return (value) => {
    const end = value.indexOf(';');
    const type = (end === -1 ? value : value.slice(0, end)).trim().toLowerCase();
    // Two values in one line are no media type, and some applications read the second.
    if (type.includes(',')) return false;
    return whole.has(type) || families.has(type.slice(0, type.indexOf('/') + 1));
  };
}
