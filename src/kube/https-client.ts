// Speaks to the API server over HTTPS: one request, one answer, or one stream of watch events; every size and wait is bounded.
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { errorText } from '@weft/model/error-text';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { isPlainObject } from '@weft/model/policy/reader';
import type { Connection } from './connect.ts';
import {
  describeFailure,
  type KubeClient,
  type KubeFailure,
  type KubeObject,
  type KubeResult,
  type KubeVerb,
  type ListOptions,
  type WatchEvent,
  type WatchOptions,
} from './kube-api.ts';
import { textAt } from './object-fields.ts';
import { type KubeResource, pathOf } from './resource.ts';

/** 30 s: the API server's own limit for what is no watch is 60 s. */
const REQUEST_TIMEOUT_MS = 30_000;
/** 90 s without a byte: bookmarks come every minute. */
const WATCH_SILENCE_MS = 90_000;
/** 5 to 10 min, as client-go asks, so that the watches of many replicas do not end together. */
const WATCH_MIN_SECONDS = 300;
/** 64 MiB: a page of 500 objects of etcd's greatest size would be more; none of ours come near. */
const MAX_ANSWER_BYTES = 67_108_864;
/** 4 MiB: etcd keeps at most 1.5 MiB an object. */
const MAX_EVENT_BYTES = 4_194_304;
const JSON_TYPE = 'application/json';
const METADATA_GROUP = 'g=meta.k8s.io;v=v1';

interface Call {
  readonly verb: KubeVerb;
  readonly resource: KubeResource;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

interface Send {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  /** What the answer is to be made of; default: the object as it is. */
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
  readonly silenceMs: number;
  readonly use?: 'request' | 'watch';
}

type Describe = (why: { readonly code: number; readonly text: string }) => string;

function query(path: string, parts: Readonly<Record<string, string | number | undefined>>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(parts)) {
    if (value !== undefined) search.set(key, String(value));
  }
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}

function unreachable(describe: Describe, error: unknown): KubeFailure {
  const text = `the API server cannot be reached: ${errorText(error)}`;
  const message = describe({ code: 0, text });
  return { ok: false, kind: 'unreachable', code: 0, reason: 'Unreachable', message };
}

function malformed(describe: Describe, code: number, text: string): KubeFailure {
  const message = describe({ code, text });
  return { ok: false, kind: 'malformed', code, reason: 'Malformed', message };
}

/** From a `Status` object, or from the HTTP status alone. */
function refused(
  describe: Describe,
  code: number,
  status: KubeObject,
  retryAfter = '',
): KubeFailure {
  const reason = textAt(status, 'reason') ?? `HTTP ${code}`;
  const text = textAt(status, 'message') ?? reason;
  const seconds = Number(retryAfter);
  return {
    ok: false,
    kind: 'status',
    code,
    reason,
    message: describe({ code, text }),
    ...(seconds > 0 && { retryAfterMs: seconds * 1_000 }),
  };
}

async function readAll(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer) {
    const bytes = chunk as Buffer;
    sizeBytes += bytes.length;
    if (sizeBytes > MAX_ANSWER_BYTES) {
      answer.destroy();
      throw new RangeError(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks, sizeBytes);
}

/** Sends, and gives the answer's head; its body is the caller's to read. */
async function open(connection: Connection, send: Send): Promise<IncomingMessage> {
  const options = await connection.requestOptions(send.use);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const body = send.body === undefined ? undefined : Buffer.from(JSON.stringify(send.body));
  const outgoing = httpsRequest(`${connection.server}${send.path}`, {
    ...options,
    method: send.method,
    ...(send.signal && { signal: send.signal }),
    headers: {
      ...options.headers,
      accept: send.accept ?? JSON_TYPE,
      'user-agent': 'weft',
      ...(body && {
        'content-type': send.contentType ?? JSON_TYPE,
        'content-length': body.length,
      }),
    },
  });
  outgoing.setTimeout(send.silenceMs, () => {
    outgoing.destroy(new Error(`nothing was heard for ${send.silenceMs / 1_000} s`));
  });
  outgoing.once('response', resolve);
  outgoing.on('error', reject);
  outgoing.end(body);
  return promise;
}

async function ask(
  connection: Connection,
  send: Omit<Send, 'silenceMs'>,
  describe: Describe,
): Promise<KubeResult<KubeObject>> {
  try {
    const answer = await open(connection, { ...send, silenceMs: REQUEST_TIMEOUT_MS });
    const code = answer.statusCode ?? 0;
    const object = parseJsonObject((await readAll(answer)).toString('utf8'));
    if (code >= 300) {
      return refused(describe, code, object ?? {}, answer.headers['retry-after']);
    }
    if (object === undefined) return malformed(describe, code, 'the answer is no JSON object');
    return { ok: true, value: object };
  } catch (error) {
    return unreachable(describe, error);
  }
}

/** Splits a stream into lines, of bounded length. */
async function* linesOf(answer: IncomingMessage): AsyncGenerator<Buffer> {
  let pending: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer) {
    let rest = chunk as Buffer;
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      yield Buffer.concat([...pending, rest.subarray(0, end)]);
      pending = [];
      sizeBytes = 0;
      rest = rest.subarray(end + 1);
    }
    sizeBytes += rest.length;
    if (sizeBytes > MAX_EVENT_BYTES) {
      throw new RangeError(`an event is larger than ${MAX_EVENT_BYTES} bytes`);
    }
    if (rest.length > 0) pending.push(rest);
  }
}

const EVENT_KINDS: ReadonlyMap<unknown, 'added' | 'modified' | 'deleted'> = new Map([
  ['ADDED', 'added'],
  ['MODIFIED', 'modified'],
  ['DELETED', 'deleted'],
]);

function eventOf(line: Buffer, describe: Describe): WatchEvent | KubeFailure {
  const event = parseJsonObject(line.toString('utf8'));
  const object = event?.['object'];
  if (event === undefined || !isPlainObject(object)) {
    return malformed(describe, 200, 'a watch event is no JSON object');
  }
  if (event['type'] === 'ERROR') {
    const code = typeof object['code'] === 'number' ? object['code'] : 500;
    return refused(describe, code, object);
  }
  if (event['type'] === 'BOOKMARK') {
    return { kind: 'bookmark', resourceVersion: resourceVersionOf(object) };
  }
  const kind = EVENT_KINDS.get(event['type']);
  if (kind === undefined) return malformed(describe, 200, 'a watch event of an unknown type');
  return { kind, object };
}

/** Empty when there is none. */
export function resourceVersionOf(object: KubeObject): string {
  const metadata = object['metadata'];
  return (isPlainObject(metadata) ? textAt(metadata, 'resourceVersion') : undefined) ?? '';
}

function placeOf(object: KubeObject): { readonly namespace?: string; readonly name?: string } {
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  const namespace = textAt(metadata, 'namespace');
  const name = textAt(metadata, 'name');
  return { ...(namespace !== undefined && { namespace }), ...(name !== undefined && { name }) };
}

/** The connection is the client's from then on. */
export function createKubeClient(connection: Connection): KubeClient {
  const run = (
    call: Call,
    send: { readonly method: string; readonly signal?: AbortSignal | undefined } & Partial<Send>,
    search: Readonly<Record<string, string | number | undefined>> = {},
  ): Promise<KubeResult<KubeObject>> =>
    ask(connection, { ...send, path: query(pathOf(call.resource, call), search) }, (why) =>
      describeFailure(call, why),
    );
  const dryRun = (isDryRun: boolean | undefined) => (isDryRun === true ? 'All' : undefined);
  return {
    server: connection.server,
    get: (resource, target, signal) =>
      run({ verb: 'get', resource, ...target }, { method: 'GET', signal }),
    list: (resource, options = {}) => list(connection, resource, options),
    create(resource, object, { subresource, isDryRun, signal } = {}) {
      const { namespace, name } = placeOf(object);
      const call: Call = { verb: 'create', resource, namespace, subresource };
      const at = subresource === undefined ? call : { ...call, name };
      return run(at, { method: 'POST', body: object, signal }, { dryRun: dryRun(isDryRun) });
    },
    replace(resource, object, { subresource, isDryRun, signal } = {}) {
      const call: Call = { verb: 'update', resource, ...placeOf(object), subresource };
      return run(call, { method: 'PUT', body: object, signal }, { dryRun: dryRun(isDryRun) });
    },
    apply(resource, object, { fieldManager, isForced, subresource, isDryRun, signal }) {
      const call: Call = { verb: 'patch', resource, ...placeOf(object), subresource };
      const contentType = 'application/apply-patch+yaml';
      const force = isForced === true ? 'true' : undefined;
      const search = { fieldManager, force, dryRun: dryRun(isDryRun) };
      return run(call, { method: 'PATCH', body: object, contentType, signal }, search);
    },
    patch(resource, target, { type, patch, subresource, isDryRun, signal }) {
      const call: Call = { verb: 'patch', resource, ...target, subresource };
      const contentType = `application/${type === 'merge' ? 'merge-' : 'json-'}patch+json`;
      const send = { method: 'PATCH', body: patch, contentType, signal };
      return run(call, send, { dryRun: dryRun(isDryRun) });
    },
    delete: (resource, target, { gracePeriodSeconds, signal } = {}) =>
      run(
        { verb: 'delete', resource, ...target },
        {
          method: 'DELETE',
          signal,
          ...(gracePeriodSeconds !== undefined && { body: { gracePeriodSeconds } }),
        },
      ),
    watch: (resource, options) => watch(connection, resource, options),
    read: (path, signal) =>
      ask(
        connection,
        { method: 'GET', path, signal },
        ({ text }) => `Cannot read ${path}: ${text}`,
      ),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

const acceptOf = (kind: string, isMetadataOnly = false): string =>
  isMetadataOnly ? `${JSON_TYPE};as=${kind};${METADATA_GROUP}` : JSON_TYPE;

async function list(
  connection: Connection,
  resource: KubeResource,
  options: ListOptions,
): ReturnType<KubeClient['list']> {
  const { namespace, limit, continueToken, isMetadataOnly, signal, ...rest } = options;
  const describe: Describe = (why) => describeFailure({ verb: 'list', resource, namespace }, why);
  const accept = acceptOf('PartialObjectMetadataList', isMetadataOnly);
  const search = { ...rest, limit, continue: continueToken };
  const path = query(pathOf(resource, { namespace }), search);
  const answer = await ask(connection, { method: 'GET', path, accept, signal }, describe);
  if (!answer.ok) return answer;
  const { items, metadata } = answer.value;
  if (!Array.isArray(items)) return malformed(describe, 200, 'the answer is no list');
  const next = isPlainObject(metadata) ? textAt(metadata, 'continue') : undefined;
  return {
    ok: true,
    value: {
      items: items.filter(isPlainObject),
      resourceVersion: resourceVersionOf(answer.value),
      continueToken: next === '' ? undefined : next,
    },
  };
}

async function watch(
  connection: Connection,
  resource: KubeResource,
  options: WatchOptions,
): ReturnType<KubeClient['watch']> {
  const { namespace, onOpen, onEvent, isMetadataOnly, signal, ...rest } = options;
  const describe: Describe = (why) => describeFailure({ verb: 'watch', resource, namespace }, why);
  const timeoutSeconds = Math.round(WATCH_MIN_SECONDS * (1 + Math.random()));
  const search = { ...rest, watch: 'true', allowWatchBookmarks: 'true', timeoutSeconds };
  const path = query(pathOf(resource, { namespace }), search);
  try {
    const answer = await open(connection, {
      method: 'GET',
      path,
      accept: acceptOf('PartialObjectMetadata', isMetadataOnly),
      signal,
      silenceMs: WATCH_SILENCE_MS,
      use: 'watch',
    });
    const code = answer.statusCode ?? 0;
    if (code !== 200) {
      const status = parseJsonObject((await readAll(answer)).toString('utf8')) ?? {};
      return refused(describe, code, status, answer.headers['retry-after']);
    }
    onOpen?.();
    for await (const line of linesOf(answer)) {
      const event = eventOf(line, describe);
      if ('ok' in event) {
        answer.destroy();
        return event;
      }
      onEvent(event);
    }
    return { ok: true };
  } catch (error) {
    return signal.aborted ? { ok: true } : unreachable(describe, error);
  }
}
