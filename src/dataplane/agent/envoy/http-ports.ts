// The ports of an agent with an Envoy: what people know of Envoy's admin port, for reading alone, and both programs' metrics.
import type { IncomingMessage } from 'node:http';
import { errorText } from '@weft/model/error-text';
import { type Answer, json, metricsAnswer, targetOf } from '@weft/model/http-answer';
import {
  guardedAnswer,
  openSmallHttp,
  type Readiness,
  readinessAnswer,
  type SmallHttpServer,
  unlessRead,
} from '../../admin/small-http.ts';
import type { ListenAddress } from '../../serve/socket-server.ts';
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

type Handler = (options: HttpPortOptions) => Answer | Promise<Answer>;

const ready: Handler = ({ state }) => readinessAnswer(state.readiness());

/** The agent's own are there whatever becomes of Envoy's. */
const metrics: Handler = async ({ envoy, state }) => {
  let theirs: string;
  try {
    theirs = (await envoy.ask('/stats/prometheus')).body.toString('utf8');
  } catch (error) {
    theirs = `# Envoy does not answer: ${errorText(error).replaceAll('\n', ' ')}\n`;
  }
  return metricsAnswer(`${state.metricsText()}${theirs}`);
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
  const { path } = targetOf(request);
  const guarded = role === 'admin' ? guardedAnswer(request, path, () => state.drain()) : undefined;
  if (guarded !== undefined) return guarded;
  const own = OWN[role].get(path);
  const isEnvoys = role === 'admin' && READABLE.has(path);
  if (own === undefined && !isEnvoys) {
    const offered = [...OWN[role].keys(), ...(role === 'admin' ? READABLE : [])];
    return json(404, { error: `no ${path} here`, try: offered });
  }
  const refused = unlessRead(request, path);
  if (refused !== undefined) return refused;
  if (own !== undefined) return own(options);
  try {
    return await envoy.ask(request.url ?? '/');
  } catch (error) {
    return json(503, { error: `Envoy does not answer: ${errorText(error)}` });
  }
}

/** @throws Error naming the address and the cure when it cannot be bound. */
export function openHttpPort(options: HttpPortOptions): Promise<SmallHttpServer> {
  const { host, port } = options;
  const maxConnections = MAX_CONNECTIONS;
  return openSmallHttp({
    host,
    port,
    maxConnections,
    answer: (request) => answer(options, request),
  });
}
