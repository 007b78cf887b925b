// Asks an authorizer over gRPC (`envoy.service.auth.v3.Authorization`): it is told the whole head, and says yes or no.
import { decodeMessage, encodeMessage, protoRoot, type PlainMessage } from '@weft/xds/registry';
import type { ExtAuthz } from '@weft/xds/resources/ext-authz';
import type { GateRequest } from '../filters/request-gate.ts';
import { isTokenCode } from '../http/h1-fields.ts';
import { askOverHttp2 } from './ask-over-http2.ts';
import {
  type Authorizer,
  type HeaderChange,
  isUntouchable,
  noRuling,
  type Ruling,
} from './authorizer.ts';
import { firstOf, type Reply } from './reply.ts';
import { readStruct } from './struct.ts';
import { toldHeaders } from './told-headers.ts';

const PATH = '/envoy.service.auth.v3.Authorization/Check';
const REQUEST = 'envoy.service.auth.v3.CheckRequest';
const RESPONSE = 'envoy.service.auth.v3.CheckResponse';
/** Compressed flag and length, before each message. */
const PREFIX_BYTES = 5;
const FORBIDDEN = 403;

export function createGrpcAuthorizer(authz: ExtAuthz): Authorizer {
  const head: readonly string[] = [
    ':method',
    'POST',
    ':scheme',
    'http',
    ':authority',
    authz.host,
    ':path',
    PATH,
    'content-type',
    'application/grpc',
    'te',
    'trailers',
    'grpc-timeout',
    `${authz.timeoutMs}m`,
  ];
  return {
    async ask(upstream, request, signal) {
      const body = frame(encodeMessage(REQUEST, checkRequest(request)));
      const asked = await askOverHttp2(upstream.http2, { headers: head, body }, signal);
      return asked.ok ? readReply(asked.reply) : noRuling(asked.reasonCode);
    },
  };
}

function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(PREFIX_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/** Values of one name are joined as HTTP joins them: every one of them is told. */
function checkRequest(request: GateRequest): PlainMessage {
  const { facts, requestId } = request;
  const { endpoints, peerUri, method = '', target = '', authority = '' } = facts;
  const headers: Record<string, string> = Object.create(null);
  headers[':method'] = method;
  headers[':path'] = target;
  headers[':authority'] = authority;
  headers[':scheme'] = 'http';
  for (const [name, values] of toldHeaders(request)) {
    headers[name] = values.join(name === 'cookie' ? '; ' : ',');
  }
  const http = {
    id: requestId,
    method,
    headers,
    path: target,
    host: authority,
    scheme: 'http',
    size: Number(facts.header('content-length')?.[0] ?? -1),
  };
  return {
    attributes: {
      source: {
        address: addressOf(endpoints.sourceAddress, endpoints.sourcePort),
        principal: peerUri,
      },
      destination: { address: addressOf(endpoints.destinationAddress, endpoints.destinationPort) },
      request: { http },
    },
  };
}

const addressOf = (address: string, port: number): PlainMessage => ({
  socket_address: { address, port_value: port },
});

function readReply(reply: Reply): Ruling {
  const status = firstOf(reply.trailers, 'grpc-status') ?? firstOf(reply.headers, 'grpc-status');
  if (reply.status !== 200 || status !== '0')
    return noRuling(`authorizer-grpc-${status ?? 'none'}`);
  const { body } = reply;
  const isWhole =
    body.length >= PREFIX_BYTES && body.readUInt32BE(1) === body.length - PREFIX_BYTES;
  if (!isWhole || body[0] !== 0) return noRuling('authorizer-answer-bad');
  try {
    return rulingOf(decodeMessage(RESPONSE, body.subarray(PREFIX_BYTES)));
  } catch (error) {
    if (error instanceof Error) return noRuling('authorizer-answer-bad');
    throw error;
  }
}

const isMessage = (value: unknown): value is PlainMessage =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const messageOf = (value: unknown): PlainMessage => (isMessage(value) ? value : {});
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** No status is OK, as protobuf leaves zeros out; anything else is a no. */
function rulingOf(response: PlainMessage): Ruling {
  const code = messageOf(response['status'])['code'] ?? 0;
  if (code !== 0) return refuse(messageOf(response['denied_response']));
  const ok = messageOf(response['ok_response']);
  return {
    kind: 'allow',
    changes: readChanges(ok['headers']).filter(({ name }) => !isUntouchable(name)),
    removed: listOf(ok['headers_to_remove'])
      .map((name) => textOf(name).toLowerCase())
      .filter((name) => name !== '' && !isUntouchable(name)),
    metadata: readStruct(response['dynamic_metadata']),
  };
}

function refuse(denied: PlainMessage): Ruling {
  const { values } = protoRoot().lookupEnum('envoy.type.v3.StatusCode');
  const named = messageOf(denied['status'])['code'];
  const status = typeof named === 'number' ? named : (values[textOf(named)] ?? FORBIDDEN);
  const isError = status >= 400 && status <= 599;
  const isRedirect = status >= 300 && status < 400;
  const headers = readChanges(denied['headers'])
    .filter(({ name }) => !isUntouchable(name))
    .map(({ name, value }) => [name, value] as const);
  const body = textOf(denied['body']);
  return { kind: 'deny', status: isError || isRedirect ? status : FORBIDDEN, headers, body };
}

function readChanges(list: unknown): readonly HeaderChange[] {
  return listOf(list).flatMap((entry): readonly HeaderChange[] => {
    const option = messageOf(entry);
    const header = messageOf(option['header']);
    const name = textOf(header['key']).toLowerCase();
    const raw = header['raw_value'];
    const value =
      raw instanceof Uint8Array ? Buffer.from(raw).toString('latin1') : textOf(header['value']);
    if (!isFieldName(name) || !isFieldValue(value)) return [];
    return [{ name, value, isAppended: messageOf(option['append'])['value'] === true }];
  });
}

const isFieldName = (text: string): boolean =>
  text !== '' && Array.from(text).every((char) => isTokenCode(char.charCodeAt(0)));

/** What would end a line would begin a header of its own. */
const isFieldValue = (text: string): boolean =>
  Array.from(text).every(
    (char) => char === '\t' || (char >= ' ' && char !== '\u007f' && char <= '\u00ff'),
  );
