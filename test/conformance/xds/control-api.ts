// Serves the HTTP API by which a test says what nodes may see: one operation a path, JSON in and out.
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { HandSet, HandSetViews, Outcome } from './hand-set-views.ts';
import { ProtoJsonError, readAny } from './proto-json.ts';

/**
 * A harness sends a request on a stream and calls the API at once, over another connection: the request is the older
 * one, and has to be taken first.
 */
const SETTLE_MS = 50;

export const API_HELP = `
  POST /set     {"node", "version", "resources": [R…]}       all that the node may see; what is not named is gone
  POST /add     {"node", "version", "resource": R}           one more; refused when it is there
  POST /update  {"node", "version", "resource": R}           another content; refused when it is not there
  POST /update  {"node", "version", "type_url", "name"}      the same content, announced anew
  POST /remove  {"node", "version", "type_url", "name"}      one less; refused when it is not there
  POST /clear   {"node", "version"?}                         nothing is there any more
  GET  /state?node=ID                                        by type: the version announced, and each resource's own
  GET  /streams                                              who is connected, what was acknowledged and refused

  R is protobuf's JSON of an Any:  {"@type": URL, …fields}, of any type of Envoy's API
            or bytes in base64:    {"type_url": URL, "value": BASE64, "name"?: NAME}, of any type whatever.
  A name is needed for types that are not Envoy's; otherwise it is read from the resource.
  "version" (text) is announced in all responses of the types that the operation concerns from then on: version_info in
  state of the world, system_version_info in delta. /set concerns all types that the node has or had. A resource whose
  bytes are the same after /set is not sent again.
  An operation takes hold ${SETTLE_MS} ms after it was asked for: what clients had sent by then counts.
  Answers: 200 {"ok": true}, 400 {"error"} for what cannot be read, 409 {"error"} for what is refused.
`;

/** More than a gRPC message may have. */
const MAX_BODY_BYTES = 16 * 1_024 * 1_024;

type Reply = readonly [status: number, body: unknown];
type Operation = (views: HandSetViews, body: PlainObject) => Outcome;

const OPERATIONS: Readonly<Record<string, Operation>> = {
  '/set': (views, body) => {
    const { resources } = body;
    if (!Array.isArray(resources)) throw new ProtoJsonError('resources: not a list');
    const read = resources.map((one: unknown, index) => resourceOf(one, `resources.${index}`));
    return views.set(textOf(body, 'node'), textOf(body, 'version'), read);
  },
  '/add': (views, body) =>
    views.add(textOf(body, 'node'), textOf(body, 'version'), resourceOf(body['resource'])),
  '/update': (views, body) =>
    views.update(
      textOf(body, 'node'),
      textOf(body, 'version'),
      body['resource'] === undefined
        ? { ...namedIn(body), bytes: undefined }
        : resourceOf(body['resource']),
    ),
  '/remove': (views, body) =>
    views.remove(textOf(body, 'node'), textOf(body, 'version'), namedIn(body)),
  '/clear': (views, body) =>
    views.clear(
      textOf(body, 'node'),
      body['version'] === undefined ? undefined : textOf(body, 'version'),
    ),
};

const namedIn = (body: PlainObject): { readonly typeUrl: string; readonly name: string } => ({
  typeUrl: textOf(body, 'type_url'),
  name: textOf(body, 'name'),
});

function textOf(body: PlainObject, field: string): string {
  const value = body[field];
  if (typeof value === 'string' && value !== '') return value;
  throw new ProtoJsonError(`${field}: not a text, or empty`);
}

function resourceOf(json: unknown, path = 'resource'): HandSet {
  const { typeUrl, bytes, name } = readAny(json, path);
  if (name === undefined)
    throw new ProtoJsonError(`${path}: it has no name; give one beside "type_url" and "value"`);
  return { typeUrl, bytes, name };
}

/** @param options.streams what `GET /streams` shows */
export function createControlApi(options: {
  readonly views: HandSetViews;
  readonly streams: () => unknown;
}): http.Server {
  return http.createServer((request, response) => {
    void answer(request, options)
      .catch((error: unknown): Reply => {
        if (error instanceof ProtoJsonError || error instanceof SyntaxError)
          return [400, { error: error.message }];
        return [500, { error: String(error) }];
      })
      .then(([status, body]) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(`${JSON.stringify(body)}\n`);
      });
  });
}

async function answer(
  request: http.IncomingMessage,
  { views, streams }: { readonly views: HandSetViews; readonly streams: () => unknown },
): Promise<Reply> {
  const { method = '', url = '' } = request;
  const [path = '', query = ''] = url.split('?', 2);
  if (method === 'GET' && path === '/streams') return [200, streams()];
  if (method === 'GET' && path === '/state')
    return [200, views.stateOf(new URLSearchParams(query).get('node') ?? '')];
  const operation = Object.hasOwn(OPERATIONS, path) ? OPERATIONS[path] : undefined;
  if (method !== 'POST' || operation === undefined)
    return [404, { error: `there is no ${method} ${path}; see --help` }];
  const body: unknown = JSON.parse(await bodyOf(request));
  if (!isPlainObject(body)) throw new ProtoJsonError('the body is not an object');
  await delay(SETTLE_MS);
  const outcome = operation(views, body);
  return outcome.ok ? [200, { ok: true }] : [409, { error: outcome.reason }];
}

async function bodyOf(request: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    const data = Buffer.from(chunk);
    bytes += data.byteLength;
    if (bytes > MAX_BODY_BYTES)
      throw new ProtoJsonError(`the body is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(data);
  }
  return Buffer.concat(chunks).toString('utf8');
}
