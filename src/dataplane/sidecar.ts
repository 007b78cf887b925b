// The sidecar as a whole: enrols, subscribes, opens its ports, serves, drains; everything it owns ends with it.
import { aborted } from './aborted.ts';
import type { Socket } from 'node:net';
import type { Secret } from '@weft/xds/resources/secret';
import {
  createAdminServer,
  type AdminRole,
  type AdminServer,
  type AdminState,
} from './admin/http-server.ts';
import type { Readiness } from './admin/small-http.ts';
import { CredentialsPart } from './credentials/part.ts';
import type { Svid } from './enrol/check-svid.ts';
import { createExternalOptions } from './egress/external-options.ts';
import { IdentityState } from './identity-state.ts';
import { MeshOrigin } from './mesh-origin.ts';
import type { SidecarOptions } from './options.ts';
import type { Origin, OriginHooks } from './origin.ts';
import { AppProber } from './probe/app-prober.ts';
import { EdgeCounts } from './report/edge-counts.ts';
import { createHttpForwarder } from './serve/http-forwarder.ts';
import { type AcceptInbound, createInbound } from './serve/inbound.ts';
import { type AcceptOutbound, createOutbound } from './serve/outbound.ts';
import { Interception } from './serve/interception.ts';
import { addressText, type TrafficAddresses, TrafficPorts } from './serve/ports.ts';
import { appAddressOf } from './serve/app-address.ts';
import { outsideOf, serviceHostOf } from './serve/service-host.ts';
import type { ListenAddress } from './serve/socket-server.ts';
import { FlowCache, type Traffic } from './serve/traffic.ts';
import { trialsOf } from './state/chain.ts';
import { ConfigStore, type ResourceUpdate } from './state/config-store.ts';
import { OpenConnections } from './state/open-connections.ts';
import { createAccessLog } from './telemetry/access-log.ts';
import { Denials } from './telemetry/denials.ts';
import type { DryRunLedger } from './telemetry/dry-run-ledger.ts';
import { MetricsRegistry } from './telemetry/metrics.ts';
import { createProxyMetrics } from './telemetry/proxy-metrics.ts';
import { createSidecarMetrics } from './telemetry/sidecar-metrics.ts';
import { AcceptorPool } from './tls/acceptor-pool.ts';
import { Terminations } from './tls/terminations.ts';
import { ClusterRuntime } from './upstream/cluster.ts';
import { describeCluster } from './upstream/describe-cluster.ts';

/** Destinations that nobody calls any more are looked for so often. */
const SWEEP_MS = 60_000;

/** Where the sidecar can be reached, as its ready line says it. */
export interface SidecarAddresses extends TrafficAddresses {
  readonly admin: string;
  readonly probes?: string;
  readonly metrics?: string;
  readonly credentials?: string;
}

export class Sidecar implements AsyncDisposable {
  readonly #options: SidecarOptions;
  readonly #identity = new IdentityState();
  readonly #acceptors = new AcceptorPool();
  readonly #terminations: Terminations;
  readonly #origin: Origin;
  readonly #credentials: CredentialsPart;
  readonly #store: ConfigStore<ClusterRuntime>;
  readonly #openInbound: OpenConnections;
  readonly #openOutbound: OpenConnections;
  readonly #edges = new EdgeCounts();
  readonly #metrics = new MetricsRegistry();
  readonly #own: ReturnType<typeof createSidecarMetrics>;
  readonly #dryRuns: DryRunLedger;
  readonly #denials = new Denials({ now: () => this.#options.clock.now() });
  readonly #acceptInbound: AcceptInbound;
  readonly #acceptOutbound: AcceptOutbound;
  readonly #acceptForward: (socket: Socket) => void;
  readonly #ports = new TrafficPorts();
  readonly #interception: Interception;
  readonly #prober: AppProber;
  readonly #admins: AdminServer[] = [];
  #probes: AdminServer | undefined;
  readonly #stopped = new AbortController();
  #whenReady = Promise.withResolvers<void>();
  #sweep: Disposable | undefined;
  #draining: Promise<number> | undefined;
  #onDrainAsked: () => void = () => void this.drain();

  constructor(options: SidecarOptions) {
    this.#options = options;
    const { clock, random, log, namespace } = options;
    const appAddress = appAddressOf(options);
    this.#own = createSidecarMetrics(this.#metrics);
    const metrics = createProxyMetrics(this.#metrics);
    this.#dryRuns = metrics.dryRuns;
    this.#openInbound = new OpenConnections({ onCut: metrics.cut });
    this.#openOutbound = new OpenConnections({ onCut: metrics.cut });
    this.#origin = this.#createOrigin();
    this.#credentials = this.#createCredentials();
    const external = createExternalOptions(options, metrics, (name) => this.#store.secret(name));
    this.#store = new ConfigStore<ClusterRuntime>({
      clock,
      subscriptions: this.#origin,
      createCluster: (cluster) =>
        new ClusterRuntime(cluster, {
          clock,
          random,
          locality: options.locality,
          contexts: () => this.#identity.contexts,
          appAddress,
          onEjected: (name, endpoint) => {
            this.#own.ejected();
            log.warn({ cluster: name, endpoint }, 'endpoint ejected: it keeps failing');
          },
          onOverflow: (name, limit) => this.#own.overflow(name, limit),
          onRetry: (name, isAllowed) => this.#own.retry(name, isAllowed),
          external,
        }),
      upstreamOf: ({ definition, http1, http2 }) => ({
        isHttp2: definition.protocol === 'http2',
        http1,
        http2,
      }),
      onSecrets: () => this.#terminations.secretsChanged(),
      onInboundChange: () => {
        this.#terminations.prepare(this.#store.inbound());
        this.#openInbound.rejudgeAll();
        this.#origin.rulesChanged();
      },
      onBundle: (secret) => this.#onBundle(secret),
    });
    this.#terminations = this.#createTerminations();
    const traffic = this.#createTraffic(metrics);
    const now = (): number => clock.now();
    this.#acceptInbound = createInbound({
      traffic,
      acceptors: this.#acceptors,
      terminations: this.#terminations,
      contexts: () => this.#identity.contexts,
      open: this.#openInbound,
      now,
      appAddress,
    });
    const isOutside = outsideOf(options.domain);
    this.#acceptOutbound = createOutbound({ traffic, open: this.#openOutbound, now, isOutside });
    this.#prober = new AppProber({ probes: options.appProbes, podIp: options.podIp });
    this.#interception = new Interception({
      sidecar: options,
      onProbe: (socket) => {
        if (this.#probes === undefined) socket.destroy();
        else this.#probes.adopt(socket);
      },
      onResult: ({ inbound, outbound }) => {
        this.#own.interception('inbound', inbound);
        this.#own.interception('outbound', outbound);
        this.#checkReady();
      },
    });
    const hostOf = serviceHostOf({ namespace, domain: options.domain });
    const forwarding = { traffic, open: this.#openOutbound, hostOf, isOutside };
    this.#acceptForward = createHttpForwarder(forwarding);
  }

  #createOrigin(): Origin {
    const options = this.#options;
    const hooks: OriginHooks = {
      onCredentials: () => this.#credentials.wanted(),
      apply: (update) => this.#apply(update),
      onIdentity: (svid) => this.#onIdentity(svid),
      onReasons: () => this.#checkReady(),
      onState: (isConnected) => this.#own.connected(isConnected),
      onResponse: (kind, isAccepted) => this.#own.response(kind, isAccepted),
      inbound: () => this.#store.inbound(),
      edges: this.#edges,
      metrics: this.#metrics,
    };
    return options.origin === undefined ? new MeshOrigin(options, hooks) : options.origin(hooks);
  }

  #createTerminations(): Terminations {
    const { clock, log } = this.#options;
    return new Terminations({
      secret: (name) => this.#store.secret(name),
      now: () => clock.now(),
      onChange: () => {
        this.#openInbound.rejudgeAll();
        this.#checkReady();
      },
      onProblem: (problem) => log.error({ problem }, 'certificates cannot be used'),
      metrics: this.#metrics,
    });
  }

  #createCredentials(): CredentialsPart {
    const { pod, namespace, credentials, clock, random, log } = this.#options;
    return new CredentialsPart({
      options: credentials,
      nodeId: `${pod}.${namespace}`,
      metrics: this.#metrics,
      identity: () => this.#identity.spiffeId,
      connect: this.#origin.connect,
      onChange: () => this.#checkReady(),
      clock,
      random,
      log: log.child({ component: 'credentials' }),
    });
  }

  #createTraffic(metrics: ReturnType<typeof createProxyMetrics>): Traffic {
    const { log, accessLog, pod, namespace } = this.#options;
    const write = createAccessLog(log.child({ component: 'access' }), accessLog);
    return {
      store: this.#store,
      metrics,
      workload: () => ({ spiffeId: this.#identity.spiffeId, namespace, name: pod }),
      log: this.#denials.before(write),
      isLogOff: write.isOff,
      flows: new FlowCache(metrics),
      edges: this.#edges,
      credentials: this.#credentials,
    };
  }

  #apply(update: ResourceUpdate): readonly string[] {
    const errors = this.#store.apply(update);
    if (update.kind === 'listener') this.#openOutbound.rejudgeAll();
    this.#checkReady();
    return errors;
  }

  #onIdentity(svid: Svid | undefined): void {
    const isOtherTrust = this.#identity.set(svid);
    const { contexts } = this.#identity;
    this.#acceptors.setContexts(contexts);
    for (const cluster of this.#store.handles().values()) cluster.retireIdle();
    this.#own.certificate(svid?.notAfterMs);
    this.#credentials.identityChanged(svid !== undefined);
    if (isOtherTrust) this.#openInbound.rejudgeAll();
    this.#checkReady();
  }

  #onBundle(secret: Secret): string | undefined {
    if (!('trustedCaPem' in secret)) return 'is a certificate, and no bundle';
    try {
      this.#origin.setBundle(secret);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Certificate, bundle and policy are there, and it has not been told to go. */
  readiness(): Readiness {
    const reasons: string[] = [...this.#origin.reasons];
    if (!this.#store.isInboundComplete())
      reasons.push(
        this.#options.origin === undefined
          ? 'no policy from the control plane'
          : 'no configuration in force',
      );
    if (this.#terminations.isLoading) reasons.push('certificates are being read');
    reasons.push(...this.#credentials.reasons);
    reasons.push(...this.#interception.reasons);
    if (this.#draining !== undefined) reasons.push('draining');
    return { isReady: reasons.length === 0, reasons };
  }

  #checkReady(): void {
    const { isReady } = this.readiness();
    this.#own.ready(isReady);
    if (isReady) this.#whenReady.resolve();
  }

  get spiffeId(): string | undefined {
    return this.#identity.svid?.spiffeId;
  }

  /** `POST /drain` does this; `weft run` drains and ends the application as well. */
  onDrainAsked(run: () => void): void {
    this.#onDrainAsked = run;
  }

  /**
   * Opens the ports, enrols and waits until traffic can be served.
   * @returns `undefined` when it was disposed before that.
   * @throws EnrolmentRefused when the token is refused; Error when a port cannot be bound. Nothing stays open then.
   */
  async start(hooks?: { readonly onListening: () => void }): Promise<SidecarAddresses | undefined> {
    const { signal } = this.#stopped;
    try {
      const addresses = await this.#listen();
      hooks?.onListening();
      this.#sweep = this.#every(SWEEP_MS, () => this.#store.sweep());
      await this.#origin.start(signal);
      await Promise.race([this.#whenReady.promise, aborted(signal)]);
      return signal.aborted ? undefined : addresses;
    } catch (error) {
      if (!signal.aborted) await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  #every(periodMs: number, run: () => void): Disposable {
    const { clock } = this.#options;
    let timer = clock.setTimeout(tick, periodMs);
    function tick(): void {
      run();
      timer = clock.setTimeout(tick, periodMs);
    }
    return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
  }

  async #listen(): Promise<SidecarAddresses> {
    const { admin, probes, metrics } = this.#options;
    const state = this.#adminState();
    const serve = async (role: AdminRole, listen: ListenAddress): Promise<string> => {
      const server = await createAdminServer({ role, ...listen, state });
      this.#admins.push(server);
      if (role === 'probe') this.#probes = server;
      return addressText(server.address);
    };
    const own = {
      admin: await serve('admin', admin),
      ...(probes && { probes: await serve('probe', probes) }),
      ...(metrics && { metrics: await serve('metrics', metrics) }),
    };
    const traffic = await this.#ports.open(this.#options, {
      inbound: this.#acceptInbound,
      outbound: this.#acceptOutbound,
      forward: this.#acceptForward,
      intercepted: (direction, socket, destination) =>
        this.#interception.took(direction, socket, destination),
      onDirect: (direction) => this.#own.direct(direction),
    });
    await this.#origin.open?.();
    await this.#credentials.start();
    const { address: credentials } = this.#credentials;
    this.#interception.start();
    return { ...own, ...traffic, ...(credentials !== undefined && { credentials }) };
  }

  #adminState(): AdminState {
    return {
      readiness: () => this.readiness(),
      metricsText: () => {
        this.#own.open(this.#openInbound.size, this.#openOutbound.size);
        return this.#metrics.expose();
      },
      configDump: () => ({
        node: `${this.#options.pod}.${this.#options.namespace}`,
        spiffeId: this.#identity.svid?.spiffeId ?? null,
        connected: this.#origin.isConnected,
        ...this.#store.dump(),
        credentials: this.#credentials.describe(),
      }),
      certificates: () => this.#identity.report(),
      clusters: () => ({ clusters: [...this.#store.handles().values()].map(describeCluster) }),
      denials: (requestId) => ({ denials: this.#denials.find(requestId) }),
      dryRun: () => this.#dryRuns.report(trialsOf(this.#store.inbound())),
      appProbe: (key) => this.#prober.probe(key),
      drain: () => this.#onDrainAsked(),
    };
  }

  /**
   * Unready at once; connections end after what is in flight, the rest is cut at the limit.
   * @returns how many had to be cut.
   */
  drain(): Promise<number> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async #drain(): Promise<number> {
    const { log, drainLimitMs, drainsOutbound } = this.#options;
    const endsAt = performance.now() + drainLimitMs;
    this.#own.ready(false);
    log.info({ openConnections: this.#openInbound.size, drainLimitMs }, 'draining');
    let cut = await this.#openInbound.drain(drainLimitMs, () => this.#ports.stopInbound());
    /** What it was asked is answered; what it still asks others may take the rest of the time. */
    if (drainsOutbound) cut += await this.#openOutbound.drain(endsAt - performance.now());
    log.info({ cut }, 'drained');
    return cut;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    this.#interception[Symbol.dispose]();
    this.#sweep?.[Symbol.dispose]();
    this.#terminations[Symbol.dispose]();
    await this.#credentials[Symbol.asyncDispose]();
    this.#origin[Symbol.dispose]();
    await this.#openOutbound.drain(0);
    await this.#openInbound.drain(0);
    for (const cluster of this.#store.handles().values()) cluster[Symbol.dispose]();
    await this.#ports[Symbol.asyncDispose]();
    for (const server of this.#admins) await server[Symbol.asyncDispose]();
  }
}
