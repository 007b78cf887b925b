// The control plane's HTTP endpoints: health, metrics and versioned JSON; changes only over its own Unix socket.
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type Answer,
  headersOf,
  json,
  metricsAnswer,
  targetOf,
  text,
} from '@weft/model/http-answer';
import { isLocalHost } from '@weft/model/local-host';
import { listenOn } from '../serve/listen.ts';

/** What is shown; asked at each request. */
export interface AdminApi {
  isReady(): { readonly isReady: boolean; readonly reasons: readonly string[] };
  metrics(): Promise<string>;
  /** Versioned JSON by path, `/v1/status`. */
  readonly documents: ReadonlyMap<string, () => unknown>;
  /** For everybody, from everywhere: what others need to trust the mesh. */
  readonly published?: ReadonlyMap<string, () => unknown>;
  /** What is asked with a query, by path: `/v1/explain`. */
  readonly questions?: ReadonlyMap<string, (query: URLSearchParams) => QuestionOutcome>;
  /** Changes by path; offered on the Unix socket alone. */
  readonly actions: ReadonlyMap<string, () => Promise<ActionOutcome>>;
}

export interface ActionOutcome {
  readonly status: 200 | 202 | 409 | 500;
  readonly body: unknown;
}

export interface QuestionOutcome {
  readonly status: 200 | 400 | 404;
  readonly body: unknown;
}

const REQUEST_TIMEOUT_MS = 10_000;

/**
 * - `health`: from anywhere, and nothing but health and metrics.
 * - `local`: from this machine, everything that is shown.
 * - `private`: over the Unix socket, changes too.
 */
type Audience = 'health' | 'local' | 'private';

async function answer(
  api: AdminApi,
  request: IncomingMessage,
  audience: Audience,
): Promise<Answer> {
  if (audience === 'local' && !isLocalHost(request.headers.host)) {
    return json(403, { error: `Host ${request.headers.host} is not this machine` });
  }
  const { path, query } = targetOf(request);
  const action = audience === 'private' ? api.actions.get(path) : undefined;
  if (action !== undefined && request.method === 'POST') {
    const { status, body } = await action();
    return json(status, body);
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const isKnown = api.actions.has(path);
    const cure = isKnown ? `use POST over the Unix socket in the state directory` : `use GET`;
    return json(405, { error: `${request.method} ${path} is not offered here: ${cure}` });
  }
  if (path === '/healthz') return text(200, 'ok\n');
  if (path === '/readyz') {
    const { isReady, reasons } = api.isReady();
    return isReady ? text(200, 'ok\n') : text(503, `not ready: ${reasons.join('; ')}\n`);
  }
  if (path === '/metrics') return metricsAnswer(await api.metrics());
  const published = api.published?.get(path);
  if (published !== undefined) return json(200, published());
  if (audience === 'health') {
    const error = `no ${path} here: health and metrics alone are served to other machines`;
    return json(404, { error, try: ['/healthz', '/readyz', '/metrics'] });
  }
  const document = api.documents.get(path);
  if (document !== undefined) return json(200, document());
  const question = api.questions?.get(path);
  if (question !== undefined) {
    const { status, body } = question(new URLSearchParams(query));
    return json(status, body);
  }
  return json(404, {
    error: `no ${path} here`,
    try: [
      '/healthz',
      '/readyz',
      '/metrics',
      ...api.documents.keys(),
      ...(api.questions?.keys() ?? []),
    ],
  });
}

function respond(request: IncomingMessage, response: ServerResponse, result: Answer): void {
  response.writeHead(result.status, headersOf(result));
  response.end(request.method === 'HEAD' ? undefined : result.body);
}

function createServer(api: AdminApi, audience: Audience): http.Server {
  const server = http.createServer((request, response) => {
    request.resume();
    answer(api, request, audience).then(
      (result) => respond(request, response, result),
      (error: unknown) => respond(request, response, json(500, { error: String(error) })),
    );
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = 256;
  server.on('clientError', (_error, socket) => socket.destroy());
  return server;
}

/** The socket is its owner's from its first moment on: it is bound, synchronously, under a mask that leaves nobody else a bit. */
function listenPrivately(server: http.Server, path: string): void {
  const before = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
}

export interface AdminServers extends AsyncDisposable {
  readonly addresses: { readonly admin?: AddressInfo; readonly health?: AddressInfo };
}

interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

async function close(server: http.Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

/** @throws Error with the cure when an address cannot be bound. */
export async function openAdminServers(options: {
  /** For callers on this machine; absent: not over TCP. */
  readonly admin?: TcpAddress;
  /** For probes and scrapers from other machines. */
  readonly health?: TcpAddress;
  /** Mode 0600: who may open it may change things. */
  readonly socketPath: string;
  readonly api: AdminApi;
}): Promise<AdminServers> {
  const { admin, health, socketPath, api } = options;
  await using stack = new AsyncDisposableStack();
  const open = (audience: Audience, at: TcpAddress): Promise<AddressInfo> =>
    listenOn(stack.adopt(createServer(api, audience), close), at);
  const addresses = {
    ...(admin && { admin: await open('local', admin) }),
    ...(health && { health: await open('health', health) }),
  };
  const own = stack.adopt(createServer(api, 'private'), close);
  /** The state directory is locked by this process: a socket left there has no owner. */
  await rm(socketPath, { force: true });
  listenPrivately(own, socketPath);
  await once(own, 'listening');
  await chmod(socketPath, 0o600);
  const owned = stack.move();
  return { addresses, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
