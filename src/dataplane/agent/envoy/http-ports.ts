// The ports of an agent with an Envoy: what people know of Envoy's admin port, for reading alone, and both programs' metrics.
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorText } from '@weft/model/error-text';
import { isLocalHost } from '@weft/model/local-host';
import type { Readiness } from '../../admin/http-server.ts';
import { listenFailure, type ListenAddress } from '../../serve/socket-server.ts';
import type { EnvoyAdmin } from './envoy-admin.ts';

/** What the agent itself says; asked at each request. */
export interface AgentState {
  readiness(): Readiness;
  metricsText(): string;
  certificates(): unknown;
  describe(): unknown;
  drain(): void;
}

export interface HttpPortOptions extends ListenAddress {
  readonly role: 'admin' | 'metrics';
  readonly envoy: EnvoyAdmin;
  readonly state: AgentState;
}

export interface HttpPort extends AsyncDisposable {
  readonly address: AddressInfo;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
}

const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';
const METRICS = 'text/plain; version=0.0.4; charset=utf-8';
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 64;

/**
 * Of Envoy's endpoints those that only tell. What changes something there (`/quitquitquit`, `/runtime_modify`,
 * `/logging`, …) could be asked by any process of the Pod, the application among them, and is for the agent alone.
 */
const READABLE: ReadonlySet<string> = new Set([
  '/certs',
  '/clusters',
  '/config_dump',
  '/contention',
  '/hot_restart_version',
  '/init_dump',
  '/listeners',
  '/memory',
  '/runtime',
  '/server_info',
  '/stats',
  '/stats/recentlookups',
]);

const json = (status: number, value: unknown): Answer => ({
  status,
  type: JSON_TYPE,
  body: `${JSON.stringify(value, undefined, 2)}\n`,
});

type Handler = (options: HttpPortOptions) => Answer | Promise<Answer>;

const ready: Handler = ({ state }) => {
  const { isReady, reasons } = state.readiness();
  return isReady
    ? { status: 200, type: TEXT, body: 'LIVE\n' }
    : { status: 503, type: TEXT, body: `NOT READY: ${reasons.join('; ')}\n` };
};

/** The agent's own are there whatever becomes of Envoy's. */
const metrics: Handler = async ({ envoy, state }) => {
  let theirs: string;
  try {
    theirs = (await envoy.ask('/stats/prometheus')).body.toString('utf8');
  } catch (error) {
    theirs = `# Envoy does not answer: ${errorText(error).replaceAll('\n', ' ')}\n`;
  }
  return { status: 200, type: METRICS, body: `${state.metricsText()}${theirs}` };
};

const OWN: Readonly<Record<HttpPortOptions['role'], ReadonlyMap<string, Handler>>> = {
  admin: new Map<string, Handler>([
    ['/ready', ready],
    ['/healthz/ready', ready],
    ['/metrics', metrics],
    ['/stats/prometheus', metrics],
    ['/agent', ({ state }) => json(200, state.describe())],
    ['/agent/certs', ({ state }) => json(200, state.certificates())],
  ]),
  metrics: new Map<string, Handler>([
    ['/metrics', metrics],
    ['/stats/prometheus', metrics],
  ]),
};

async function answer(options: HttpPortOptions, request: IncomingMessage): Promise<Answer> {
  const { role, envoy, state } = options;
  const target = request.url ?? '/';
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  if (role === 'admin' && !isLocalHost(request.headers.host))
    return json(403, { error: `Host ${request.headers.host} is not this machine` });
  if (role === 'admin' && path === '/drain') {
    if (request.method !== 'POST') return json(405, { error: 'use POST /drain' });
    if (request.headers.origin !== undefined) return json(403, { error: 'not from a web page' });
    state.drain();
    return json(202, { draining: true });
  }
  const own = OWN[role].get(path);
  const isEnvoys = role === 'admin' && READABLE.has(path);
  if (own === undefined && !isEnvoys) {
    const offered = [...OWN[role].keys(), ...(role === 'admin' ? READABLE : [])];
    return json(404, { error: `no ${path} here`, try: offered });
  }
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return json(405, { error: `use GET ${path}` });
  if (own !== undefined) return own(options);
  try {
    return await envoy.ask(target);
  } catch (error) {
    return json(503, { error: `Envoy does not answer: ${errorText(error)}` });
  }
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

/** @throws Error naming the address and the cure when it cannot be bound. */
export async function openHttpPort(options: HttpPortOptions): Promise<HttpPort> {
  const server = http.createServer((request, response) => {
    request.resume();
    answer(options, request).then(
      (result) => respond(request, response, result),
      (error: unknown) => respond(request, response, json(500, { error: errorText(error) })),
    );
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = MAX_CONNECTIONS;
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
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}
