// Headers of the answers that the proxy gives itself over HTTP/2.
import type { Http2RequestHead, RawHeaders } from './header-list.ts';

/** gRPC clients read the refusal from `grpc-status`, as gRPC's HTTP mapping asks: 403 is PERMISSION_DENIED. */
const GRPC_STATUS_BY_HTTP: ReadonlyMap<number, string> = new Map([
  [400, '13'],
  [401, '16'],
  [403, '7'],
  [404, '12'],
  [429, '14'],
  [502, '14'],
  [503, '14'],
  [504, '14'],
]);

const grpcStatusOf = (status: number): string => GRPC_STATUS_BY_HTTP.get(status) ?? '2';

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: RawHeaders;
}

interface OwnAnswer {
  readonly status: number;
  readonly grpcStatus: string | undefined;
  readonly raw: string[];
  /** Empty where the head says it all. */
  readonly body: string;
}

export function answerOf(answer: Answer, isGrpcCall: boolean): OwnAnswer {
  const { status, body } = answer;
  if (!isGrpcCall) return { status, grpcStatus: undefined, raw: httpHeaders(answer), body };
  const grpcStatus = grpcStatusOf(status);
  return { status: 200, grpcStatus, raw: grpcHeaders(grpcStatus, answer), body: '' };
}

export const isGrpc = (head: Http2RequestHead | undefined): boolean =>
  head?.header(CONTENT_TYPE)?.[0]?.startsWith('application/grpc') === true;

/** What an answer's head or trailers say of the call. */
export function grpcStatusIn(raw: RawHeaders): string | undefined {
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if (raw[at] === 'grpc-status') return raw[at + 1];
  }
  return undefined;
}

/** A gRPC caller reads no body and no other status: it is told in the head that ends the stream. */
const grpcHeaders = (grpcStatus: string, { body, headers }: Answer): string[] => [
  ':status',
  '200',
  CONTENT_TYPE,
  'application/grpc',
  'grpc-status',
  grpcStatus,
  'grpc-message',
  grpcMessage(body),
  ...withoutType(headers),
];

const httpHeaders = ({ status, body, headers }: Answer): string[] => [
  ':status',
  String(status),
  CONTENT_TYPE,
  typeOf(headers) ?? 'text/plain',
  'content-length',
  String(Buffer.byteLength(body)),
  ...withoutType(headers),
];

const CONTENT_TYPE = 'content-type';

function typeOf(headers: RawHeaders): string | undefined {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at] === CONTENT_TYPE) return headers[at + 1];
  }
  return undefined;
}

const withoutType = (headers: RawHeaders): RawHeaders =>
  typeOf(headers) === undefined
    ? headers
    : headers.filter((_text, at) => headers[at - (at % 2)] !== CONTENT_TYPE);

/** Characters of a refusal's text that a gRPC caller is told. */
const MAX_GRPC_MESSAGE = 256;

/** Percent-encoded, as gRPC has it: a body may hold what no header may. */
const grpcMessage = (body: string): string =>
  Array.from(body.trim().slice(0, MAX_GRPC_MESSAGE))
    .map((char) =>
      char >= ' ' && char <= '~' && char !== '%' ? char : encodeURIComponent(char.toWellFormed()),
    )
    .join('');
