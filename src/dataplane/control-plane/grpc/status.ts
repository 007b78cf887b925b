// Says how a gRPC call ended: its codes by name, and which code stands for an HTTP status or a reset that came instead.
import http2 from 'node:http2';

/** https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
export const STATUS = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

const NAME_BY_CODE = new Map<number, string>(
  Object.entries(STATUS).map(([name, code]) => [code, name]),
);

/** How a call failed: of `details` the message has code and name before it, `14 UNAVAILABLE: no connection`. */
export class CallFailure extends Error {
  override readonly name = 'CallFailure';
  readonly code: number;
  readonly details: string;

  constructor(code: number, details: string) {
    super(`${code} ${NAME_BY_CODE.get(code) ?? 'UNKNOWN'}: ${details}`);
    this.code = code;
    this.details = details;
  }
}

/** https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
export function codeOfHttpStatus(status: number): number {
  switch (status) {
    case 400:
      return STATUS.INTERNAL;
    case 401:
      return STATUS.UNAUTHENTICATED;
    case 403:
      return STATUS.PERMISSION_DENIED;
    case 404:
      return STATUS.UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return STATUS.UNAVAILABLE;
    default:
      return STATUS.UNKNOWN;
  }
}

const { constants } = http2;

/** gRPC over HTTP2, "HTTP2 Transport Mapping", Errors. */
export function codeOfReset(rstCode: number): number {
  switch (rstCode) {
    case constants.NGHTTP2_REFUSED_STREAM:
      return STATUS.UNAVAILABLE;
    case constants.NGHTTP2_CANCEL:
      return STATUS.CANCELLED;
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return STATUS.RESOURCE_EXHAUSTED;
    case constants.NGHTTP2_INADEQUATE_SECURITY:
      return STATUS.PERMISSION_DENIED;
    default:
      return STATUS.INTERNAL;
  }
}

/** `grpc-message` is percent-encoded; one that is not so is shown as it came. */
export function readMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}
