// The sidecar's local HTTP endpoints: readiness, metrics, what is configured, certificates and drain. No key is ever in an answer.
import type { IncomingMessage } from 'node:http';
import type { ProbeAnswer } from '../probe/app-prober.ts';
import { type Answer, json, metricsAnswer, targetOf, text } from '@weft/model/http-answer';
import {
  guardedAnswer,
  openSmallHttp,
  type Readiness,
  readinessAnswer,
  type SmallHttpServer,
  unlessRead,
} from './small-http.ts';

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

type Handler = (state: AdminState, query: URLSearchParams) => Answer;

const ready: Handler = (state) => readinessAnswer(state.readiness());
const metrics: Handler = (state) => metricsAnswer(state.metricsText());

/** Paths as people know them from Envoy and pilot-agent. */
const GET_HANDLERS: ReadonlyMap<
  string,
  { readonly roles: readonly AdminRole[]; readonly handle: Handler }
> = new Map([
  ['/ready', { roles: ['admin', 'probe'], handle: ready }],
  ['/healthz/ready', { roles: ['admin', 'probe'], handle: ready }],
  ['/healthz/live', { roles: ['admin', 'probe'], handle: () => text(200, 'LIVE\n') }],
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

/** Of one port: probes and scrapes are few, and short. */
const MAX_CONNECTIONS = 256;

function answer(role: AdminRole, state: AdminState, request: IncomingMessage): Answer {
  const { path, query } = targetOf(request);
  const guarded = role === 'admin' ? guardedAnswer(request, path, () => state.drain()) : undefined;
  if (guarded !== undefined) return guarded;
  const known = GET_HANDLERS.get(path);
  if (known === undefined || !known.roles.includes(role)) {
    const offered = [...GET_HANDLERS].filter(([, entry]) => entry.roles.includes(role));
    return json(404, { error: `no ${path} here`, try: offered.map(([name]) => name) });
  }
  return unlessRead(request, path) ?? known.handle(state, new URLSearchParams(query));
}

const PROBE_PREFIX = '/app-probe/';

/** @returns `undefined` for what is no probe of the application that was configured. */
function appProbe(state: AdminState, request: IncomingMessage): Promise<Answer> | undefined {
  const target = request.url ?? '/';
  if (!target.startsWith(PROBE_PREFIX) || request.method !== 'GET') return undefined;
  return state
    .appProbe?.(target.slice(PROBE_PREFIX.length))
    ?.then(({ status, reason }) => text(status, `${reason}\n`));
}

/** A listening admin server; dispose closes it and its connections. */
export type AdminServer = SmallHttpServer;

/**
 * @throws Error naming the address and the cure when it cannot be bound.
 */
export function createAdminServer(options: {
  readonly role: AdminRole;
  readonly host: string;
  readonly port: number;
  readonly state: AdminState;
}): Promise<AdminServer> {
  const { role, state, host, port } = options;
  return openSmallHttp({
    host,
    port,
    maxConnections: MAX_CONNECTIONS,
    answer: (request) =>
      (role === 'probe' ? appProbe(state, request) : undefined) ?? answer(role, state, request),
  });
}
