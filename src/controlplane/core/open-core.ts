// The control plane whatever it runs on: CA, mesh, streams and admin joined over a source, a store and attestors that are given.
import { type ChannelOptions, Server, type ServerCredentials } from '@grpc/grpc-js';
import { type Authority, openAuthority } from '@weft/ca/authority';
import {
  addEnrolmentService,
  addRenewalService,
  type RenewalService,
} from '@weft/ca/enrolment-service';
import { createServerCredentials, peerOf } from '@weft/ca/server-credentials';
import { addTokenService } from '@weft/ca/token-service';
import { systemClock } from '@weft/model/clock';
import { formatHostPort } from '@weft/model/host-port';
import { openAdminServers } from '../admin/http-server.ts';
import {
  type ControlPlaneMetrics,
  createControlPlaneMetrics,
  type ScrapedState,
} from '../admin/metrics.ts';
import { createMeshViews, type MeshViews } from '../compile/mesh-views.ts';
import { CredentialPart } from '../credentials/credential-part.ts';
import { FederationPart } from '../federation/federation-part.ts';
import { KeySets } from '../jwks/key-sets.ts';
import { EdgeLedger } from '../report/edge-ledger.ts';
import { joinEvaluations, ReplicaService } from '../replicas/replica-service.ts';
import { ReportService } from '../report/report-service.ts';
import { AdsServer } from '../serve/ads-server.ts';
import { withAgentViews } from '../serve/agent-views.ts';
import { serverOptions } from '../serve/limits.ts';
import { openGrpcPort } from '../serve/grpc-port.ts';
import { findCallers } from '../status/callers.ts';
import { GrpcShortfallWatch } from '../status/grpc-shortfall-watch.ts';
import { PolicyStatus } from '../status/policy-status.ts';
import { ReplayWatch } from '../status/replay-watch.ts';
import { createApi, scrapedState } from './admin-api.ts';
import type { CoreOptions, CoreParts, ListenAddress } from './core-options.ts';
import { driveRotation } from './drive-rotation.ts';
import { joinSubscriptions } from './join-subscriptions.ts';
import { logProblems } from './log-problems.ts';

export type { CoreOptions, CoreParts, ListenAddress } from './core-options.ts';

export interface Core extends AsyncDisposable {
  readonly addresses: {
    readonly xds: string;
    readonly enrolment: string;
    readonly admin?: string;
    readonly health?: string;
    readonly bundleEndpoint?: string;
  };
  readonly authority: Authority;
  readonly renewal: RenewalService;
  readonly federation: FederationPart;
  readonly views: MeshViews;
  readonly ads: AdsServer;
  readonly reports: ReportService;
  readonly replicas: ReplicaService;
  readonly edges: EdgeLedger;
  readonly replay: ReplayWatch;
  /** Of credentials' bindings too. */
  readonly policies: Pick<PolicyStatus, 'reports' | 'subscribe'>;
  readonly credentials: CredentialPart;
  readonly metrics: ControlPlaneMetrics;
}

/** How long streams may take to end before their connections are cut. */
const SHUTDOWN_MS = 2_000;
/** An enrolment is a key and a token. */
const ENROLMENT_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': 32_768,
  'grpc.max_concurrent_streams': 16,
  'grpc.max_connection_idle_ms': 30_000,
};

/**
 * Starts everything; it serves when this returns.
 * @throws Error with the cure when the state cannot be read, or an address cannot be bound.
 */
export async function openCore(parts: CoreParts, options: CoreOptions): Promise<Core> {
  await using stack = new AsyncDisposableStack();
  const { log, clock = systemClock, trustDomain, rootNamespace } = options;
  const { source, isLeader = () => true, unready = () => [] } = parts;
  const authority = stack.use(
    await openAuthority({
      store: parts.store,
      trustDomain,
      clock,
      svidTtlMs: options.svidTtlMs,
      ...(options.rotationGraceMs !== undefined && { rotationGraceMs: options.rotationGraceMs }),
      log: log.child({ component: 'ca' }),
      controlPlane: { namespace: rootNamespace, serviceAccount: 'weft-control-plane' },
      ...(parts.hasOthers && { hasOthers: parts.hasOthers }),
      ...(parts.brought && { brought: parts.brought }),
      ...(parts.heldBack && { heldBack: parts.heldBack }),
      ...(options.tokenIssuer !== undefined && { tokenIssuer: options.tokenIssuer }),
    }),
  );
  let scrape: (() => ScrapedState) | undefined;
  const metrics = createControlPlaneMetrics(() => {
    if (scrape === undefined) throw new Error('Cannot measure: the control plane is not open yet');
    return scrape();
  });
  const keys = stack.use(new KeySets({ clock }));
  const federation = stack.use(createFederation(parts, options, authority));
  let credentials: CredentialPart | undefined;
  let replicas: ReplicaService | undefined;
  let shortfalls: GrpcShortfallWatch | undefined;
  const views = stack.use(
    createMeshViews({
      keys,
      source,
      trustDomain,
      rootNamespace,
      ...(parts.membership && { membership: parts.membership }),
      bundle: () => federation.bundle(),
      onBundleChange: (listener) => federation.onBundleChange(listener),
      federations: federation.source,
      clock,
      onCompiled: (durationMs) => metrics.compiled(durationMs),
      moreProblems: () => [...(credentials?.problems() ?? []), ...(shortfalls?.problems() ?? [])],
    }),
  );

  const enrolmentServer = stack.adopt(new Server(ENROLMENT_OPTIONS), shutDown);
  addEnrolmentService(enrolmentServer, {
    authority,
    attestors: parts.attestors,
    clock,
    log: log.child({ component: 'enrolment' }),
  });

  const xdsServer = stack.adopt(new Server(serverOptions), shutDown);
  const renewal = stack.use(
    addRenewalService(xdsServer, { authority, clock, federated: federation.renewals }),
  );
  addTokenService(xdsServer, {
    authority,
    federated: () => federation.tokenKeys(),
    clock,
    log: log.child({ component: 'tokens' }),
  });
  const ads = stack.use(
    new AdsServer({
      server: xdsServer,
      peerOf,
      views: withAgentViews(views),
      log: log.child({ component: 'xds' }),
      metrics: metrics.xds,
      clock,
      identifier: `weft-${options.version}`,
    }),
  );
  const atGrpc = stack.use(
    new GrpcShortfallWatch({
      views,
      ads,
      elsewhere: () => replicas?.grpcServers() ?? [],
      clock,
    }),
  );
  shortfalls = atGrpc;
  const { elsewhere, hasOthers } = parts;
  stack.use(
    driveRotation({
      authority,
      renewal,
      ads,
      federation,
      clock,
      log,
      isLeader,
      ...(elsewhere && { elsewhere }),
      ...(hasOthers && { hasOthers }),
    }),
  );
  credentials = stack.use(
    new CredentialPart({
      server: xdsServer,
      peerOf,
      views,
      configs: options.credentialSources ?? [],
      elsewhere: (proxyId) => replicas?.credentialsOf(proxyId) ?? [],
      ...(parts.secrets && { secrets: parts.secrets }),
      clock,
      log,
    }),
  );
  await credentials.openConfigured();
  logProblems([source, views, keys, federation, credentials, atGrpc], views, log, stack);
  const edges = new EdgeLedger(clock);
  const reports = stack.use(
    new ReportService(xdsServer, {
      peerOf,
      views,
      credentials,
      clock,
      log: log.child({ component: 'report' }),
      ...(options.reportIntervalMs !== undefined && { intervalMs: options.reportIntervalMs }),
      onEdges: (proxy, seen) => edges.note(proxy, seen),
      onRefusals: (proxy, seen) => edges.refusals.note(proxy, seen),
    }),
  );
  replicas = stack.use(
    new ReplicaService(xdsServer, {
      peerOf,
      controlPlaneId: authority.controlPlaneId,
      log: log.child({ component: 'replicas' }),
    }),
  );
  const served = credentials;
  stack.use(replicas.onChange(() => served.changedElsewhere()));
  const replay = stack.use(
    new ReplayWatch({ views, edges, log: log.child({ component: 'replay' }), clock }),
  );
  const policyStatus = stack.use(
    new PolicyStatus({
      views,
      ads: {
        statusOf: (kind, name) => [...ads.statusOf(kind, name), ...replicas.statusOf(kind, name)],
        onAnswer: (listener) => ads.onAnswer(listener),
      },
      evaluationOf: (proxyId, listener) =>
        joinEvaluations(
          reports.evaluationOf(proxyId, listener),
          replicas.evaluationOf(proxyId, listener),
        ),
      callersOf: (names) => findCallers({ ads, views }, names),
      unenforced: () => atGrpc.unenforced(),
      onReport: (listener) =>
        joinSubscriptions(reports.onReport(listener), replicas.onChange(listener)),
      clock,
      writtenAtMs: () => source.state.writtenAtMs,
      onEnforced: (durationMs) => metrics.policyEnforced(durationMs),
    }),
  );

  const policies = withCredentials(policyStatus, credentials);
  const ports = await serve({ authority, enrolmentServer, xdsServer }, options, stack);
  await federation.serve(options.bundleEndpoint, options);
  const startedAtMs = clock.now();
  scrape = () =>
    scrapedState({ views, ads, authority, federation, policies, credentials: served, isLeader });
  const admin = stack.use(
    await openAdminServers({
      ...(options.admin && { admin: options.admin }),
      ...(options.health && { health: options.health }),
      socketPath: parts.adminSocketPath,
      api: createApi({
        views,
        ads,
        authority,
        federation,
        policies,
        isLeader,
        edges,
        replay,
        shortfalls: atGrpc,
        credentials,
        source,
        metrics,
        startedAtMs,
        version: options.version,
        unready,
      }),
    }),
  );
  const owned = stack.move();
  const { admin: own, health } = admin.addresses;
  const { address: bundleEndpoint } = federation;
  return {
    addresses: {
      xds: formatHostPort({ host: options.xds.host, port: ports.xds }),
      enrolment: formatHostPort({ host: options.enrolment.host, port: ports.enrolment }),
      ...(own &&
        options.admin && { admin: formatHostPort({ host: options.admin.host, port: own.port }) }),
      ...(health &&
        options.health && {
          health: formatHostPort({ host: options.health.host, port: health.port }),
        }),
      ...(bundleEndpoint !== undefined && { bundleEndpoint }),
    },
    authority,
    renewal,
    federation,
    views,
    ads,
    reports,
    replicas,
    edges,
    replay,
    policies,
    credentials,
    metrics,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function createFederation(
  { keptBundles: kept }: CoreParts,
  { clock = systemClock, log }: CoreOptions,
  authority: Authority,
): FederationPart {
  const options = { authority, clock, log: log.child({ component: 'federation' }) };
  return new FederationPart({ ...options, ...(kept && { kept }) });
}

/** Bindings are reported as policies are: where they are in force, and where not yet. */
function withCredentials(policies: PolicyStatus, credentials: CredentialPart): Core['policies'] {
  return {
    reports: () => [...policies.reports(), ...credentials.reports()],
    subscribe: (listener) =>
      joinSubscriptions(policies.subscribe(listener), credentials.subscribe(listener)),
  };
}

/** Opens both ports with certificates that are renewed while serving. */
async function serve(
  parts: {
    readonly authority: Authority;
    readonly enrolmentServer: Server;
    readonly xdsServer: Server;
  },
  options: CoreOptions,
  stack: AsyncDisposableStack,
): Promise<{ readonly xds: number; readonly enrolment: number }> {
  const { authority } = parts;
  const { dnsNames, ipAddresses, clock = systemClock, log } = options;
  const credentialsOf = (mode: 'server-auth' | 'mutual'): ServerCredentials => {
    const made = createServerCredentials({ mode, authority, dnsNames, ipAddresses, clock, log });
    stack.use(made);
    return made.credentials;
  };
  const open = async (
    server: Server,
    mode: 'server-auth' | 'mutual',
    listen: ListenAddress,
  ): Promise<number> => {
    const opened = await openGrpcPort({
      server,
      credentials: credentialsOf(mode),
      listen,
      onRefused: () => log.warn({ reasonCode: 'too-many-handshakes' }, 'connection refused'),
    });
    return stack.use(opened).port;
  };
  const enrolment = await open(parts.enrolmentServer, 'server-auth', options.enrolment);
  const xds = await open(parts.xdsServer, 'mutual', options.xds);
  return { xds, enrolment };
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
