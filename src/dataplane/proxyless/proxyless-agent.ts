// The agent beside gRPC programs that need no proxy: enrols, keeps their files fresh, and carries their discovery streams.
import { join } from 'node:path';
import { createAgentMetrics } from '../agent/agent-metrics.ts';
import { LocalServer } from '../agent/local-server.ts';
import { XdsRelay } from '../agent/xds-relay.ts';
import {
  createAdminServer,
  type AdminRole,
  type AdminServer,
  type AdminState,
} from '../admin/http-server.ts';
import type { Readiness } from '../admin/small-http.ts';
import type { Svid } from '../enrol/check-svid.ts';
import type { IdentityKeeper } from '../enrol/identity-keeper.ts';
import { createWorkloadKeeper } from '../enrol/workload-keeper.ts';
import { IdentityState } from '../identity-state.ts';
import { addressText } from '../serve/ports.ts';
import type { ListenAddress } from '../serve/socket-server.ts';
import { MetricsRegistry } from '../telemetry/metrics.ts';
import { createSidecarMetrics } from '../telemetry/sidecar-metrics.ts';
import { bootstrapText, REFRESH_MS } from './bootstrap.ts';
import { IdentityFiles } from './identity-files.ts';
import { ObservedStreams } from './observed-streams.ts';
import type { ProxylessOptions } from './options.ts';

/** Where the agent can be asked, and what it has written. */
export interface ProxylessAddresses {
  readonly admin: string;
  readonly probes?: string;
  readonly metrics?: string;
  readonly bootstrap: string;
  /** Absent where programs reach the control plane by themselves. */
  readonly discovery?: string;
}

const SOCKET = 'xds.sock';
/** A program that has just begun to read its files is given the time to end. */
const FILES_IN_FORCE_MS = 2 * REFRESH_MS;
/** How often the end of the drain is looked for. */
const DRAIN_TICK_MS = 50;

export class ProxylessAgent implements AsyncDisposable {
  readonly #options: ProxylessOptions;
  readonly #folder: string;
  readonly #identity = new IdentityState();
  readonly #keeper: IdentityKeeper;
  readonly #files: IdentityFiles;
  readonly #streams: ObservedStreams;
  readonly #relay: XdsRelay;
  readonly #metrics = new MetricsRegistry();
  readonly #agentMetrics = createAgentMetrics(this.#metrics);
  readonly #own = createSidecarMetrics(this.#metrics);
  readonly #admins: AdminServer[] = [];
  readonly #stopped = new AbortController();
  #socket: LocalServer | undefined;
  #whenReady = Promise.withResolvers<void>();
  #draining: Promise<number> | undefined;

  constructor(options: ProxylessOptions) {
    this.#options = options;
    const { pod, namespace, clock, random, log, grpc } = options;
    this.#folder = `${grpc.bootstrapFile}.d`;
    this.#keeper = createWorkloadKeeper(options, {
      onChange: (svid) => this.#onIdentity(svid),
      whenBundleIsUsed: () => this.#whenFilesAreUsed(),
    });
    this.#files = new IdentityFiles({
      folder: this.#folder,
      bootstrapFile: grpc.bootstrapFile,
      bootstrap: this.#bootstrap(),
      owner: grpc.owner,
      onChange: () => this.#onFiles(),
    });
    this.#streams = new ObservedStreams({
      log: log.child({ component: 'grpc' }),
      onResponse: (typeUrl, isAccepted) =>
        this.#own.response(typeUrl.slice(typeUrl.lastIndexOf('.') + 1), isAccepted),
    });
    this.#relay = new XdsRelay({
      connect: () => this.#keeper.connect(),
      node: { id: `${pod}.${namespace}`, cluster: namespace },
      observer: this.#streams,
      metrics: this.#agentMetrics,
      clock,
      random,
      log: log.child({ component: 'relay' }),
    });
  }

  #bootstrap(): string {
    const { pod, namespace, locality, grpc, xdsAddress } = this.#options;
    const { discovery } = grpc;
    return bootstrapText({
      nodeId: `${pod}.${namespace}`,
      namespace,
      locality,
      folder: this.#folder,
      server:
        discovery.kind === 'agent'
          ? { kind: 'agent', socket: this.#socketPath }
          : { kind: 'direct', address: xdsAddress },
    });
  }

  get #socketPath(): string {
    return join(this.#folder, SOCKET);
  }

  get spiffeId(): string | undefined {
    return this.#identity.spiffeId;
  }

  #onIdentity(svid: Svid | undefined): void {
    this.#identity.set(svid);
    this.#own.certificate(svid?.notAfterMs);
    if (svid !== undefined) void this.#files.write(svid);
    this.#checkReady();
  }

  #onFiles(): void {
    const { reason } = this.#files;
    if (reason !== undefined) this.#options.log.error({ reason }, 'programs have no fresh files');
    this.#checkReady();
  }

  /** Programs look at their files now and then: only then does a new bundle hold for them. */
  async #whenFilesAreUsed(): Promise<void> {
    await this.#files.settled();
    if (this.#files.reason !== undefined) throw new Error(this.#files.reason);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#options.clock.setTimeout(resolve, FILES_IN_FORCE_MS);
    await promise;
  }

  readiness(): Readiness {
    const reasons: string[] = [];
    if (this.#identity.svid === undefined) {
      const { failure } = this.#keeper;
      const why = failure === undefined ? '' : `: ${failure}`;
      reasons.push(`no certificate from the control plane${why}`);
    }
    if (this.#files.reason !== undefined) reasons.push(this.#files.reason);
    if (this.#draining !== undefined) reasons.push('draining');
    return { isReady: reasons.length === 0, reasons };
  }

  #checkReady(): void {
    const { isReady } = this.readiness();
    this.#own.ready(isReady);
    if (isReady) this.#whenReady.resolve();
  }

  /**
   * Enrols, writes the files and waits until programs can start.
   * @returns `undefined` when it was disposed before that.
   * @throws EnrolmentRefused when the token is refused; Error when a port or the socket cannot be had.
   */
  async start(hooks?: {
    readonly onListening: () => void;
  }): Promise<ProxylessAddresses | undefined> {
    const { signal } = this.#stopped;
    try {
      const addresses = await this.#listen();
      hooks?.onListening();
      await this.#keeper.start(signal);
      const ended = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => ended.resolve(), { once: true });
      if (signal.aborted) return undefined;
      await Promise.race([this.#whenReady.promise, ended.promise]);
      return signal.aborted ? undefined : addresses;
    } catch (error) {
      if (!signal.aborted) await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #listen(): Promise<ProxylessAddresses> {
    const { admin, probes, metrics, grpc, log } = this.#options;
    const state = this.#adminState();
    const serve = async (role: AdminRole, listen: ListenAddress): Promise<string> => {
      const server = await createAdminServer({ role, ...listen, state });
      this.#admins.push(server);
      return addressText(server.address);
    };
    const addresses = {
      admin: await serve('admin', admin),
      ...(probes && { probes: await serve('probe', probes) }),
      ...(metrics && { metrics: await serve('metrics', metrics) }),
      bootstrap: grpc.bootstrapFile,
    };
    await this.#files.open();
    if (grpc.discovery.kind === 'direct') return addresses;
    const path = this.#socketPath;
    this.#socket = await LocalServer.open({
      socket: { path, mode: 0o600, owner: grpc.owner, allowed: grpc.discovery.allowed },
      methods: this.#relay.methods,
      metrics: this.#agentMetrics,
      log: log.child({ component: 'relay' }),
    });
    return { ...addresses, discovery: `unix:${path}` };
  }

  #adminState(): AdminState {
    const node = `${this.#options.pod}.${this.#options.namespace}`;
    return {
      readiness: () => this.readiness(),
      metricsText: () => {
        this.#own.connected(this.#relay.isConnected);
        return this.#metrics.expose();
      },
      configDump: () => ({
        node,
        spiffeId: this.spiffeId ?? null,
        connected: this.#relay.isConnected,
        bootstrap: this.#options.grpc.bootstrapFile,
        streams: this.#streams.describe(),
      }),
      certificates: () => this.#identity.report(),
      clusters: () => ({ clusters: [] }),
      denials: () => ({ denials: [] }),
      dryRun: () => ({ policies: [] }),
      drain: () => void this.drain(),
    };
  }

  /**
   * Unready at once; the programs' streams are carried until they have ended, or the limit has come.
   * @returns how many were left.
   */
  drain(): Promise<number> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async #drain(): Promise<number> {
    const { clock, drainLimitMs, log } = this.#options;
    this.#own.ready(false);
    log.info({ streams: this.#relay.size, drainLimitMs }, 'draining');
    const endsAtMs = clock.now() + drainLimitMs;
    while (this.#relay.size > 0 && clock.now() < endsAtMs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.setTimeout(resolve, DRAIN_TICK_MS);
      await promise;
    }
    return this.#relay.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    this.#keeper[Symbol.dispose]();
    this.#relay[Symbol.dispose]();
    this.#socket?.[Symbol.dispose]();
    await this.#files.clear();
    for (const server of this.#admins) await server[Symbol.asyncDispose]();
  }
}
