// The control plane as a whole: source, CA, mesh, streams and admin joined; everything it owns ends with it.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChannelOptions, Server, type ServerCredentials } from '@grpc/grpc-js';
import { joinTokenAttestor } from '@weft/ca/attest/join-token';
import { type Authority, openAuthority } from '@weft/ca/authority';
import {
  addEnrolmentService,
  addRenewalService,
  type RenewalService,
} from '@weft/ca/enrolment-service';
import { openJoinTokens } from '@weft/ca/join-tokens';
import { createServerCredentials, peerOf } from '@weft/ca/server-credentials';
import { openFileStore } from '@weft/ca/store/file';
import { type Clock, systemClock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import type { Logger } from 'pino';
import { createDocuments } from './admin/documents.ts';
import { answerExplain } from './admin/explain.ts';
import { type ActionOutcome, type AdminApi, openAdminServers } from './admin/http-server.ts';
import { createControlPlaneMetrics, type ScrapedState } from './admin/metrics.ts';
import { createMeshViews, type MeshViews } from './compile/mesh-views.ts';
import { openFileSource } from './registry/file/file-source.ts';
import type { Source } from './registry/source.ts';
import { KeySets } from './jwks/key-sets.ts';
import { connectedProxies } from './rotation-gate.ts';
import { EdgeLedger } from './report/edge-ledger.ts';
import { ReportService } from './report/report-service.ts';
import { AdsServer } from './serve/ads-server.ts';
import { serverOptions } from './serve/limits.ts';
import { whyNoPort } from './serve/why-no-port.ts';
import { PolicyStatus } from './status/policy-status.ts';
import { ReplayWatch } from './status/replay-watch.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface ControlPlaneOptions {
  /** Folder of Kubernetes manifests, watched; or a source of its opener's. */
  readonly manifests: string | Source;
  /** The CA's keys, join tokens, the published bundle and the admin socket. */
  readonly stateDir: string;
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  /** Port 0 takes a free one, here and below. */
  readonly xds: ListenAddress;
  readonly enrolment: ListenAddress;
  readonly admin: ListenAddress;
  readonly svidTtlMs: number;
  /** How often proxies report who called whom; whole seconds, default 10 s. */
  readonly reportIntervalMs?: number;
  /** How long requests on older connections may take before a previous root is retired. */
  readonly rotationGraceMs?: number;
  /** Further names at which clients dial, for their TLS. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly version: string;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface ControlPlane extends AsyncDisposable {
  readonly addresses: { readonly xds: string; readonly enrolment: string; readonly admin: string };
  readonly authority: Authority;
  readonly views: MeshViews;
  readonly ads: AdsServer;
}

/** Inside the state directory; mode 0600. */
export const ADMIN_SOCKET = 'admin.sock';
/** How long streams may take to end before their connections are cut. */
const SHUTDOWN_MS = 2_000;
/** What a rotation waits for is looked at again so often, besides at every acknowledgement. */
const ROTATION_CHECK_MS = 500;

/** An enrolment is a key and a token. */
const ENROLMENT_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': 32_768,
  'grpc.max_concurrent_streams': 16,
  'grpc.max_connection_idle_ms': 30_000,
};

/**
 * Starts everything; it serves when this returns.
 * @throws Error with the cure when the folder or the state cannot be read, or an address cannot be bound.
 */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  await using stack = new AsyncDisposableStack();
  const { log, clock = systemClock, trustDomain, rootNamespace, stateDir } = options;
  await mkdir(stateDir, { recursive: true }).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot keep state in ${stateDir}: ${why}; --state-dir names a folder`, {
      cause,
    });
  });
  const { manifests } = options;
  const source =
    typeof manifests === 'string'
      ? stack.use(
          await openFileSource({
            directory: manifests,
            log: log.child({ component: 'registry' }),
            clock,
          }),
        )
      : manifests;
  const store = stack.use(await openFileStore({ stateDir }));
  const authority = stack.use(
    await openAuthority({
      store,
      trustDomain,
      clock,
      svidTtlMs: options.svidTtlMs,
      ...(options.rotationGraceMs !== undefined && { rotationGraceMs: options.rotationGraceMs }),
      log: log.child({ component: 'ca' }),
      controlPlane: { namespace: rootNamespace, serviceAccount: 'weft-control-plane' },
    }),
  );
  let scrape: (() => ScrapedState) | undefined;
  const metrics = createControlPlaneMetrics(() => {
    if (scrape === undefined) throw new Error('Cannot measure: the control plane is not open yet');
    return scrape();
  });
  const keys = stack.use(new KeySets({ clock }));
  const views = stack.use(
    createMeshViews({
      keys,
      source,
      trustDomain,
      rootNamespace,
      bundle: () => authority.bundle(),
      onBundleChange: (listener) => authority.onBundleChange(() => listener()),
      clock,
      onCompiled: (durationMs) => metrics.compiled(durationMs),
    }),
  );
  logProblems([source, views, keys], views, log, stack);

  const enrolmentServer = stack.adopt(new Server(ENROLMENT_OPTIONS), shutDown);
  const tokens = await openJoinTokens({ stateDir, clock });
  const attestor = joinTokenAttestor(tokens);
  addEnrolmentService(enrolmentServer, {
    authority,
    attestor,
    clock,
    log: log.child({ component: 'enrolment' }),
  });

  const xdsServer = stack.adopt(new Server(serverOptions), shutDown);
  const renewal = stack.use(addRenewalService(xdsServer, { authority, clock }));
  const ads = stack.use(
    new AdsServer({
      server: xdsServer,
      peerOf,
      views,
      log: log.child({ component: 'xds' }),
      metrics: metrics.xds,
      clock,
      identifier: `weft-${options.version}`,
    }),
  );
  stack.use(driveRotation({ authority, renewal, ads, clock, log }));
  const edges = new EdgeLedger(clock);
  const reports = stack.use(
    new ReportService(xdsServer, {
      peerOf,
      views,
      clock,
      log: log.child({ component: 'report' }),
      ...(options.reportIntervalMs !== undefined && { intervalMs: options.reportIntervalMs }),
      onEdges: (proxy, seen) => edges.note(proxy, seen),
    }),
  );
  const replay = stack.use(
    new ReplayWatch({
      views,
      edges,
      log: log.child({ component: 'replay' }),
      clock,
    }),
  );
  const policies = stack.use(
    new PolicyStatus({
      views,
      ads,
      evaluationOf: (proxyId, listener) => reports.evaluationOf(proxyId, listener),
      onReport: (listener) => reports.onReport(listener),
      clock,
      writtenAtMs: () => source.state.writtenAtMs,
      onEnforced: (durationMs) => metrics.policyEnforced(durationMs),
    }),
  );

  const credentialsOf = (mode: 'server-auth' | 'mutual'): ServerCredentials => {
    const { dnsNames, ipAddresses } = options;
    const made = createServerCredentials({ mode, authority, dnsNames, ipAddresses, clock, log });
    stack.use(made);
    return made.credentials;
  };
  const enrolmentPort = await bind(
    enrolmentServer,
    options.enrolment,
    credentialsOf('server-auth'),
  );
  const xdsPort = await bind(xdsServer, options.xds, credentialsOf('mutual'));

  const startedAtMs = clock.now();
  scrape = () => scrapedState({ views, ads, authority, policies });
  const admin = stack.use(
    await openAdminServers({
      ...options.admin,
      socketPath: join(stateDir, ADMIN_SOCKET),
      api: createApi({
        views,
        ads,
        authority,
        policies,
        edges,
        replay,
        metrics,
        startedAtMs,
        version: options.version,
      }),
    }),
  );
  const owned = stack.move();
  return {
    addresses: {
      xds: textOf(options.xds.host, xdsPort),
      enrolment: textOf(options.enrolment.host, enrolmentPort),
      admin: textOf(options.admin.host, admin.address.port),
    },
    authority,
    views,
    ads,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const textOf = (host: string, port: number): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

async function bind(
  server: Server,
  listen: ListenAddress,
  credentials: ServerCredentials,
): Promise<number> {
  const address = textOf(listen.host, listen.port);
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => {
      if (error === null) resolve(port);
      else {
        reject(new Error(`Cannot listen on ${address}: ${whyNoPort(error)}`, { cause: error }));
      }
    });
  });
}

/** Lets streams end, then cuts what is left. */
function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, SHUTDOWN_MS);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Every new problem is logged once, and once more when it is gone. */
function logProblems(
  places: readonly Pick<Source, 'subscribe'>[],
  views: MeshViews,
  log: Logger,
  stack: AsyncDisposableStack,
): void {
  let known = new Set<string>();
  const report = (): void => {
    const now = new Map(views.problems().map((problem) => [JSON.stringify(problem), problem]));
    for (const [key, problem] of now) {
      if (known.has(key)) continue;
      if (problem.severity === 'error') log.error({ problem }, problem.message);
      else log.warn({ problem }, problem.message);
    }
    const gone = [...known].filter((key) => !now.has(key)).length;
    if (gone > 0) log.info({ solved: gone, left: now.size }, 'problems solved');
    known = new Set(now.keys());
  };
  report();
  for (const place of places) stack.use(place.subscribe(report));
}

/** Takes a rotation from step to step as proxies acknowledge. */
function driveRotation(parts: {
  readonly authority: Authority;
  readonly renewal: RenewalService;
  readonly ads: AdsServer;
  readonly clock: Clock;
  readonly log: Logger;
}): Disposable {
  const { authority, renewal, ads, clock, log } = parts;
  const advance = (): void => {
    authority
      .advance(() => connectedProxies({ renewal, ads, bundle: authority.bundle() }))
      .catch((error: unknown) => log.error({ error: String(error) }, 'rotation did not advance'));
  };
  const onProgress = renewal.onProgress(advance);
  let timer = clock.setTimeout(tick, ROTATION_CHECK_MS);
  function tick(): void {
    advance();
    timer = clock.setTimeout(tick, ROTATION_CHECK_MS);
  }
  return {
    [Symbol.dispose]: () => {
      onProgress[Symbol.dispose]();
      timer[Symbol.dispose]();
    },
  };
}

type Parts = Pick<ControlPlane, 'views' | 'ads' | 'authority'> & {
  readonly policies: PolicyStatus;
};

function scrapedState({ views, ads, authority, policies: status }: Parts): ScrapedState {
  const problems = views.problems();
  const { issued, refused, roots } = authority.status();
  const policies = status.reports();
  return {
    sessions: ads.sessions().length,
    problems: {
      error: problems.filter(({ severity }) => severity === 'error').length,
      warning: problems.filter(({ severity }) => severity === 'warning').length,
    },
    revision: views.revision,
    encodes: views.encodes,
    svidsIssued: issued,
    enrolmentsRefused: refused,
    policies: {
      total: policies.length,
      enforced: policies.filter(({ isEnforced }) => isEnforced).length,
    },
    rootExpiryUnixSeconds: Math.min(...roots.map(({ notAfter }) => notAfter.getTime())) / 1_000,
  };
}

function createApi(
  parts: Parts & {
    readonly edges: EdgeLedger;
    readonly replay: ReplayWatch;
    readonly metrics: ReturnType<typeof createControlPlaneMetrics>;
    readonly startedAtMs: number;
    readonly version: string;
  },
): AdminApi {
  const { views, ads, authority, policies, edges, replay, metrics, startedAtMs, version } = parts;
  type Change = () => ReturnType<Authority['startRotation']>;
  const change = (run: Change) => async (): Promise<ActionOutcome> => {
    const outcome = await run();
    if (outcome.ok) return { status: 202, body: outcome };
    return {
      status: outcome.reasonCode === 'wrong-phase' ? 409 : 500,
      body: { error: outcome.reason },
    };
  };
  return {
    /** The first snapshot is read and the CA is open before the server is. */
    isReady: () => ({ isReady: true, reasons: [] }),
    metrics: () => metrics.text(),
    documents: createDocuments({
      version,
      startedAtMs,
      views,
      ads,
      policies,
      edges,
      replay,
      ca: () => authority.status(),
    }),
    questions: new Map([['/v1/explain', (query) => answerExplain(views, query)]]),
    actions: new Map([
      ['/v1/ca/rotation', change(() => authority.startRotation())],
      ['/v1/ca/rotation/rollback', change(() => authority.rollback())],
    ]),
  };
}
