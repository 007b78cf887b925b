// An Envoy as the proxy of one workload, and the agent that it has everything from: both as one, from the first certificate to the drain.
import { aborted } from '../../aborted.ts';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AdminServer } from '../../admin/http-server.ts';
import type { Readiness } from '../../admin/small-http.ts';
import type { Svid } from '../../enrol/check-svid.ts';
import type { IdentityKeeper } from '../../enrol/identity-keeper.ts';
import { createWorkloadKeeper } from '../../enrol/workload-keeper.ts';
import { IdentityState } from '../../identity-state.ts';
import { AppProber } from '../../probe/app-prober.ts';
import { EdgeCounts } from '../../report/edge-counts.ts';
import { Reporter } from '../../report/reporter.ts';
import { MetricsRegistry } from '../../telemetry/metrics.ts';
import type { WorkloadApi } from '../../workload-api/workload-api.ts';
import { type AgentMetrics, createAgentMetrics } from '../agent-metrics.ts';
import { LocalServer } from '../local-server.ts';
import { SdsServer } from '../sds-server.ts';
import { XdsRelay } from '../xds-relay.ts';
import { bootstrapOf } from './bootstrap.ts';
import { drainEnvoy } from './drain.ts';
import { EnvoyAdmin } from './envoy-admin.ts';
import { createEnvoyMetrics } from './envoy-metrics.ts';
import { EnvoyWatch } from './envoy-watch.ts';
import { openAgentPorts, type EnvoySidecarAddresses } from './agent-ports.ts';
import type { AgentState } from './http-ports.ts';
import { openPrivateSocket, socketPathsIn } from './local-sockets.ts';
import { createLineLog, LOG_FORMAT } from './log-lines.ts';
import type { EnvoySidecarOptions } from './options.ts';
import { Proofs } from './proofs.ts';
import { RulesInForce } from './rules-in-force.ts';
import { Supervisor } from './supervisor.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Of an Envoy that has nothing left to do. */
const STOP_MS = 2_000;

export class EnvoySidecar implements AsyncDisposable {
  readonly #options: EnvoySidecarOptions;
  readonly #registry = new MetricsRegistry();
  readonly #metrics: ReturnType<typeof createEnvoyMetrics>;
  readonly #agentMetrics: AgentMetrics;
  readonly #identity = new IdentityState();
  readonly #keeper: IdentityKeeper;
  readonly #relay: XdsRelay;
  readonly #sds: SdsServer;
  readonly #rules: RulesInForce;
  readonly #admin: EnvoyAdmin;
  readonly #watch: EnvoyWatch;
  readonly #supervisor: Supervisor;
  readonly #proofs: Proofs;
  readonly #prober: AppProber;
  readonly #owned = new AsyncDisposableStack();
  readonly #stopped = new AbortController();
  readonly #whenReady = Promise.withResolvers<void>();
  #probes: AdminServer | undefined;
  #workloadApi: WorkloadApi | undefined;
  #reporter: Reporter | undefined;
  #envoyState = 'not started';
  #draining: Promise<number> | undefined;
  #onDrainAsked: () => void = () => void this.drain();

  constructor(options: EnvoySidecarOptions) {
    this.#options = options;
    const { clock, random, log, envoy } = options;
    const metrics = createAgentMetrics(this.#registry);
    this.#agentMetrics = metrics;
    this.#metrics = createEnvoyMetrics(this.#registry);
    this.#admin = new EnvoyAdmin(socketPathsIn(envoy.folder).admin);
    this.#keeper = createWorkloadKeeper(options, {
      onChange: (svid) => this.#onIdentity(svid),
      takesFederated: true,
    });
    this.#sds = new SdsServer({ metrics, log: log.child({ component: 'sds' }) });
    this.#rules = new RulesInForce({
      onNews: () => this.#watch.now(),
      onChange: () => this.#reporter?.changed(),
      onUnreadable: (problem) => log.error({ problem }, 'cannot say which rules are in force'),
    });
    this.#relay = new XdsRelay({
      connect: () => this.#keeper.connect(),
      node: this.#node,
      observer: this.#rules.observer,
      metrics,
      clock,
      random,
      log: log.child({ component: 'xds' }),
    });
    this.#supervisor = this.#createSupervisor();
    this.#watch = new EnvoyWatch({
      admin: this.#admin,
      clock,
      isRunning: () => this.#supervisor.pid !== undefined,
      isWaiting: () => this.#rules.isWaiting,
      onLive: (isLive, state) => this.#onLive(isLive, state),
      onActive: (version) => this.#rules.setActive(version),
    });
    this.#proofs = new Proofs({
      sidecar: options,
      onResult: ({ inbound, outbound }) => {
        this.#metrics.interception('inbound', inbound);
        this.#metrics.interception('outbound', outbound);
        this.#checkReady();
      },
    });
    this.#prober = new AppProber({ probes: options.appProbes, podIp: options.podIp });
  }

  get #node(): { readonly id: string; readonly cluster: string } {
    const { pod, namespace } = this.#options;
    return { id: `${pod}.${namespace}`, cluster: namespace };
  }

  #createSupervisor(): Supervisor {
    const { envoy, clock, random, log, onGiveUp } = this.#options;
    const { binary, concurrency, logLevel, rulesDrainSeconds, guard, folder } = envoy;
    return new Supervisor({
      guard,
      binary,
      args: [
        '--disable-hot-restart',
        ...Object.entries({
          'config-path': join(folder, 'bootstrap.json'),
          concurrency: String(concurrency),
          'log-level': logLevel,
          'log-format': LOG_FORMAT,
          'drain-time-s': String(rulesDrainSeconds),
          'drain-strategy': 'immediate',
          /** Of the access log; 10 s by itself. */
          'file-flush-interval-msec': '500',
        }).flatMap(([name, value]) => [`--${name}`, value]),
      ],
      folder,
      onLine: createLineLog(log),
      onStart: () => this.#watch.now(),
      onEnd: () => {
        this.#metrics.restarted();
        this.#watch.now();
      },
      onGiveUp,
      clock,
      random,
      log: log.child({ component: 'supervisor' }),
    });
  }

  #onIdentity(svid: Svid | undefined): void {
    this.#identity.set(svid);
    this.#sds.follow(svid);
    this.#workloadApi?.follow(svid);
    this.#metrics.certificate(svid?.notAfterMs);
    this.#checkReady();
  }

  #onLive(isLive: boolean, state: string): void {
    const { log } = this.#options;
    if (state !== this.#envoyState) log.info({ state }, 'envoy');
    const wasLive = this.#envoyState === 'LIVE';
    this.#envoyState = state;
    this.#metrics.live(isLive);
    if (isLive && !wasLive) this.#proofs.start();
    this.#checkReady();
  }

  get spiffeId(): string | undefined {
    return this.#identity.svid?.spiffeId;
  }

  get envoyPid(): number | undefined {
    return this.#supervisor.pid;
  }

  /** A certificate, an Envoy that is live and judges by what it was given last, and traffic that comes to it. */
  readiness(): Readiness {
    const reasons: string[] = [];
    const { failure } = this.#keeper;
    if (this.#identity.svid === undefined) {
      const why = failure === undefined ? '' : `: ${failure}`;
      reasons.push(`no certificate from the control plane${why}`);
    } else if (this.#envoyState !== 'LIVE') reasons.push(`Envoy is not live: ${this.#envoyState}`);
    if (this.#rules.held === undefined) reasons.push('no policy from the control plane in force');
    reasons.push(...(this.#workloadApi?.reasons ?? []), ...this.#proofs.reasons);
    if (this.#draining !== undefined) reasons.push('draining');
    return { isReady: reasons.length === 0, reasons };
  }

  #checkReady(): void {
    const { isReady } = this.readiness();
    this.#metrics.ready(isReady);
    this.#metrics.connected(this.#relay.isConnected);
    if (isReady) this.#whenReady.resolve();
  }

  /** `POST /drain` does this. */
  onDrainAsked(run: () => void): void {
    this.#onDrainAsked = run;
  }

  /**
   * Opens its ports and sockets, enrols, starts Envoy and waits until traffic can be served.
   * @returns `undefined` when it was disposed before that.
   * @throws EnrolmentRefused when the token is refused; Error when something cannot be opened.
   */
  async start(): Promise<EnvoySidecarAddresses | undefined> {
    const { signal } = this.#stopped;
    try {
      await this.#openSockets();
      const addresses = await this.#openPorts();
      await this.#openWorkloadApi();
      await this.#keeper.start(signal);
      if (signal.aborted) return undefined;
      this.#reporter = this.#createReporter();
      this.#supervisor.start();
      await Promise.race([this.#whenReady.promise, aborted(signal)]);
      return signal.aborted ? undefined : addresses;
    } catch (error) {
      if (!signal.aborted) await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #openSockets(): Promise<void> {
    const { envoy, podIp, locality, accessLog, log } = this.#options;
    const { folder } = envoy;
    await mkdir(folder, { mode: FOLDER_MODE, recursive: true });
    this.#owned.defer(() => rm(folder, { recursive: true, force: true }));
    const sockets = socketPathsIn(folder);
    for (const path of Object.values(sockets)) await rm(path, { force: true });
    const bootstrap = bootstrapOf({ node: this.#node, podIp, locality, accessLog, sockets });
    await writeFile(join(folder, 'bootstrap.json'), JSON.stringify(bootstrap), { mode: FILE_MODE });
    const own = process.getuid?.();
    this.#owned.use(
      await LocalServer.open({
        socket: {
          path: sockets.discovery,
          mode: FILE_MODE,
          owner: undefined,
          allowed: { uids: own === undefined ? [] : [own], gids: [], pids: [] },
        },
        methods: new Map([...this.#relay.methods, ...this.#sds.methods]),
        metrics: this.#agentMetrics,
        log: log.child({ component: 'agent' }),
      }),
    );
    this.#owned.use(
      await openPrivateSocket(sockets.proofs, (socket) => this.#proofs.answer(socket)),
    );
    this.#owned.use(
      await openPrivateSocket(sockets.probes, (socket) => {
        if (this.#probes === undefined) socket.destroy();
        else this.#probes.adopt(socket);
      }),
    );
  }

  async #openPorts(): Promise<EnvoySidecarAddresses> {
    const ports = this.#owned.use(
      await openAgentPorts({
        listen: this.#options,
        envoy: this.#admin,
        state: this.#state(),
        appProbe: (key) => this.#prober.probe(key),
      }),
    );
    this.#probes = ports.probes;
    return ports.addresses;
  }

  #state(): AgentState {
    return {
      readiness: () => this.readiness(),
      metricsText: () => {
        this.#metrics.connected(this.#relay.isConnected);
        return this.#registry.expose();
      },
      certificates: () => this.#identity.report(),
      describe: () => ({
        node: this.#node.id,
        spiffeId: this.#identity.svid?.spiffeId ?? null,
        connected: this.#relay.isConnected,
        readiness: this.readiness(),
        rules: this.#rules.describe(),
        envoy: {
          pid: this.#supervisor.pid ?? null,
          state: this.#envoyState,
          restarts: this.#supervisor.restarts,
        },
      }),
      drain: () => this.#onDrainAsked(),
    };
  }

  async #openWorkloadApi(): Promise<void> {
    const { workloadApi: api, trustDomain, namespace, clock, random, log } = this.#options;
    if (api === undefined) return;
    const { WorkloadApi } = await import('../../workload-api/workload-api.ts');
    this.#workloadApi = this.#owned.use(
      await WorkloadApi.open({
        api,
        connect: () => this.#keeper.connect(),
        trustDomain,
        namespace,
        metrics: this.#registry,
        onChange: () => this.#checkReady(),
        clock,
        random,
        log: log.child({ component: 'workload-api' }),
      }),
    );
  }

  #createReporter(): Reporter {
    const { clock, random, log } = this.#options;
    return new Reporter({
      connect: () => this.#keeper.connect(),
      nodeId: this.#node.id,
      inbound: () => this.#rules.held,
      edges: new EdgeCounts(),
      onCredentials: () => undefined,
      clock,
      random,
      log: log.child({ component: 'report' }),
    });
  }

  /** Unready at once; what is in flight may end, up to the limit. @returns how much had to be cut. */
  drain(): Promise<number> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async #drain(): Promise<number> {
    const { log, drainLimitMs: limitMs, drainsOutbound, clock } = this.#options;
    this.#metrics.ready(false);
    log.info({ drainLimitMs: limitMs }, 'draining');
    const cut = await drainEnvoy({ admin: this.#admin, limitMs, drainsOutbound, clock });
    log.info({ cut }, 'drained');
    return cut;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    this.#proofs[Symbol.dispose]();
    this.#watch[Symbol.dispose]();
    await this.#supervisor.stop(STOP_MS);
    this.#reporter?.[Symbol.dispose]();
    this.#relay[Symbol.dispose]();
    this.#sds[Symbol.dispose]();
    this.#keeper[Symbol.dispose]();
    await this.#owned.disposeAsync();
  }
}
