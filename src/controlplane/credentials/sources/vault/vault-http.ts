// Asks one Vault or OpenBao server over HTTP: bounded in time and size, never redirected, and silent about what it was answered.
import http from 'node:http';
import https from 'node:https';
import type { HttpUri } from '@weft/model/http-uri';
import { parseJsonObject } from '@weft/model/parse-json-object';
import type { PlainObject } from '@weft/model/policy/reader';

export interface VaultHttpOptions {
  readonly server: Pick<HttpUri, 'isTls' | 'host' | 'port'>;
  /** Roots for its certificate, PEM; absent: Node's own. Asked for at each connection's first use. */
  readonly ca: string | undefined;
  /** Of Vault Enterprise and OpenBao; absent: the root namespace. */
  readonly namespace: string | undefined;
}

export interface VaultAsk {
  readonly method: 'GET' | 'POST';
  /** Quoted by the asker, without `/v1/`. */
  readonly path: string;
  readonly token?: string;
  readonly body?: PlainObject;
  readonly signal?: AbortSignal;
}

export type VaultAnswer =
  /** `body` is empty when there is none. */
  | { readonly ok: true; readonly status: number; readonly body: PlainObject }
  /** No answer of a Vault. */
  | { readonly ok: false; readonly reason: string };

export interface VaultHttp extends Disposable {
  ask(asked: VaultAsk): Promise<VaultAnswer>;
}

/** 5 s: longer than a healthy server takes, and no longer than a change may. */
const TIMEOUT_MS = 5_000;
/** Vault's own bound of an entry. */
const MAX_ANSWER_BYTES = 1_048_576;
const MAX_HEADER_BYTES = 16_384;
/** Places are asked for in turn, not all at once. */
const MAX_SOCKETS = 4;

export function createVaultHttp(options: VaultHttpOptions): VaultHttp {
  const { server, ca } = options;
  const kept = { keepAlive: true, maxSockets: MAX_SOCKETS, timeout: TIMEOUT_MS };
  const agent = server.isTls
    ? new https.Agent({ ...kept, minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) })
    : new http.Agent(kept);
  return {
    ask: (asked) => ask(asked, options, agent),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

async function ask(
  asked: VaultAsk,
  options: VaultHttpOptions,
  agent: http.Agent,
): Promise<VaultAnswer> {
  const { server, namespace } = options;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = asked.signal === undefined ? timeout : AbortSignal.any([asked.signal, timeout]);
  const body = asked.body === undefined ? undefined : JSON.stringify(asked.body);
  const headers: http.OutgoingHttpHeaders = {
    accept: 'application/json',
    'x-vault-request': 'true',
    ...(namespace !== undefined && { 'x-vault-namespace': namespace }),
    ...(asked.token !== undefined && { 'x-vault-token': asked.token }),
    ...(body !== undefined && {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    }),
  };
  try {
    const response = await respond(
      (server.isTls ? https : http).request({
        host: server.host,
        port: server.port,
        method: asked.method,
        path: `/v1/${asked.path}`,
        agent,
        signal,
        headers,
        maxHeaderSize: MAX_HEADER_BYTES,
      }),
      body,
    );
    return await read(response);
  } catch (error) {
    return { ok: false, reason: `it cannot be asked: ${nameOf(error)}` };
  }
}

function respond(
  request: http.ClientRequest,
  body: string | undefined,
): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  request.on('error', reject);
  request.on('response', resolve);
  request.end(body);
  return promise;
}

async function read(response: http.IncomingMessage): Promise<VaultAnswer> {
  const { statusCode: status = 0 } = response;
  if (status >= 300 && status < 400) {
    response.destroy();
    const cure = 'name the active server, or one that forwards';
    return { ok: false, reason: `it redirects elsewhere, and a token goes to no other: ${cure}` };
  }
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_ANSWER_BYTES) {
      response.destroy();
      return { ok: false, reason: `its answer is longer than ${MAX_ANSWER_BYTES} bytes` };
    }
    parts.push(part);
  }
  const text = Buffer.concat(parts).toString('utf8');
  const body = text.trim() === '' ? {} : parseJsonObject(text);
  // Only good answers have to be sound: errors are told by their status.
  if (body === undefined && status < 300) return { ok: false, reason: 'its answer is no JSON' };
  return { ok: true, status, body: body ?? {} };
}

/** Names of failures, not their texts: those may repeat what was sent or answered. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return 'it takes too long';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
