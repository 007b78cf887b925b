// The sidecar's local HTTP endpoints: readiness, metrics, what is configured, certificates and drain. No key is ever in an answer.
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { isLocalHost } from '@weft/model/local-host';
import type { ProbeAnswer } from '../probe/app-prober.ts';
import { listenFailure } from '../serve/socket-server.ts';

export interface Readiness {
  readonly isReady: boolean;
  /** What is still missing, or why it is not ready any more. */
  readonly reasons: readonly string[];
}

/** What the endpoints show; asked at each request. */
export interface AdminState {
  readiness(): Readiness;
  metricsText(): string;
  configDump(): unknown;
  certificates(): unknown;
  clusters(): unknown;
  /** What policies on trial would change. */
  dryRun(): unknown;
  /** The last refusals, newest first. @param requestId absent: all of them. */
  denials(requestId: string | undefined): unknown;
  /** The application's probe of this name; absent where there is none. */
  appProbe?(key: string): Promise<ProbeAnswer> | undefined;
  /** Starts the drain; answers at once. */
  drain(): void;
}

/** Which endpoints a port offers: probes and metrics are read from outside, the rest is for the operator on this host. */
export type AdminRole = 'admin' | 'probe' | 'metrics';

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const JSON_TYPE = 'application/json; charset=utf-8';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const json = (status: number, value: unknown): Answer => ({
  status,
  type: JSON_TYPE,
  body: `${JSON.stringify(value, undefined, 2)}\n`,
});

type Handler = (state: AdminState, query: URLSearchParams) => Answer;

const ready: Handler = (state) => {
  const { isReady, reasons } = state.readiness();
  return isReady
    ? { status: 200, type: TEXT_TYPE, body: 'LIVE\n' }
    : { status: 503, type: TEXT_TYPE, body: `NOT READY: ${reasons.join('; ')}\n` };
};
const metrics: Handler = (state) => ({
  status: 200,
  type: METRICS_TYPE,
  body: state.metricsText(),
});

/** Paths as people know them from Envoy and pilot-agent. */
const GET_HANDLERS: ReadonlyMap<
  string,
  { readonly roles: readonly AdminRole[]; readonly handle: Handler }
> = new Map([
  ['/ready', { roles: ['admin', 'probe'], handle: ready }],
  ['/healthz/ready', { roles: ['admin', 'probe'], handle: ready }],
  [
    '/healthz/live',
    { roles: ['admin', 'probe'], handle: () => ({ status: 200, type: TEXT_TYPE, body: 'LIVE\n' }) },
  ],
  ['/metrics', { roles: ['admin', 'metrics'], handle: metrics }],
  ['/stats/prometheus', { roles: ['admin', 'metrics'], handle: metrics }],
  ['/config_dump', { roles: ['admin'], handle: (state) => json(200, state.configDump()) }],
  ['/certs', { roles: ['admin'], handle: (state) => json(200, state.certificates()) }],
  ['/clusters', { roles: ['admin'], handle: (state) => json(200, state.clusters()) }],
  [
    '/denials',
    {
      roles: ['admin'],
      handle: (state, query) => json(200, state.denials(query.get('request-id') ?? undefined)),
    },
  ],
  ['/dry-run', { roles: ['admin'], handle: (state) => json(200, state.dryRun()) }],
]);

/** Slow readers and senders of these small messages are not worth keeping. */
const REQUEST_TIMEOUT_MS = 10_000;

function answer(role: AdminRole, state: AdminState, request: IncomingMessage): Answer {
  const target = request.url ?? '/';
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  if (role === 'admin' && !isLocalHost(request.headers.host)) {
    return json(403, { error: `Host ${request.headers.host} is not this machine` });
  }
  if (role === 'admin' && path === '/drain') {
    if (request.method !== 'POST') return json(405, { error: 'use POST /drain' });
    if (request.headers.origin !== undefined) return json(403, { error: 'not from a web page' });
    state.drain();
    return json(202, { draining: true });
  }
  const known = GET_HANDLERS.get(path);
  if (known === undefined || !known.roles.includes(role)) {
    const offered = [...GET_HANDLERS].filter(([, entry]) => entry.roles.includes(role));
    return json(404, { error: `no ${path} here`, try: offered.map(([name]) => name) });
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return json(405, { error: `use GET ${path}` });
  }
  return known.handle(state, new URLSearchParams(query === -1 ? '' : target.slice(query + 1)));
}

const PROBE_PREFIX = '/app-probe/';

/** @returns `undefined` for what is no probe of the application that was configured. */
function appProbe(state: AdminState, request: IncomingMessage): Promise<Answer> | undefined {
  const target = request.url ?? '/';
  if (!target.startsWith(PROBE_PREFIX) || request.method !== 'GET') return undefined;
  return state
    .appProbe?.(target.slice(PROBE_PREFIX.length))
    ?.then(({ status, reason }) => ({ status, type: TEXT_TYPE, body: `${reason}\n` }));
}

function respond(request: IncomingMessage, response: ServerResponse, result: Answer): void {
  response.writeHead(result.status, {
    'content-type': result.type,
    'content-length': Buffer.byteLength(result.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(request.method === 'HEAD' ? undefined : result.body);
}

/** A listening admin server; dispose closes it and its connections. */
export interface AdminServer extends AsyncDisposable {
  readonly address: AddressInfo;
  /** Answers on a connection that came by another port. */
  adopt(socket: Socket): void;
}

/**
 * @throws Error naming the address and the cure when it cannot be bound.
 */
export async function createAdminServer(options: {
  readonly role: AdminRole;
  readonly host: string;
  readonly port: number;
  readonly state: AdminState;
}): Promise<AdminServer> {
  const { role, state } = options;
  const server = http.createServer((request, response) => {
    request.resume();
    const probe = role === 'probe' ? appProbe(state, request) : undefined;
    if (probe === undefined) respond(request, response, answer(role, state, request));
    else void probe.then((result) => respond(request, response, result));
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = 256;
  server.on('clientError', (_error, socket) => socket.destroy());
  server.listen(options.port, options.host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw listenFailure(options, error);
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('Cannot serve: no port');
  return {
    address,
    adopt: (socket) => void server.emit('connection', socket),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}
