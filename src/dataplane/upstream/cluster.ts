// Runs one cluster: its endpoints as they come and go, and connections to them for HTTP/1, HTTP/2 and TCP.
import type { Socket } from 'node:net';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import type { RetryPolicy } from '@weft/xds/resources/retry';
import type { Http1Upstream } from '../http/http1-proxy.ts';
import type { Http2Upstream, PickWant } from '../http2/http2-contract.ts';
import { UpstreamSessions } from '../http2/upstream-sessions.ts';
import { ExternalConnector } from '../egress/external-connector.ts';
import type { ClusterHandle } from '../state/config-store.ts';
import { NOTHING, takeIdle, whenSettled } from './acquisition.ts';
import { Balancer } from './balancer.ts';
import { CircuitBreaker } from './breaker.ts';
import type { ClusterOptions, TcpUpstream } from './cluster-options.ts';
import { PooledConnection } from './connection.ts';
import { Connector, type Address } from './connector.ts';
import { DirectClusters } from './direct-clusters.ts';
import { noteResult } from './ejection.ts';
import { endpointKey, UpstreamEndpoint } from './endpoint.ts';
import type { RetryPlan } from './retries.ts';
import { RetryAllowance } from './retry-budget.ts';

export type { Address } from './connector.ts';

/** Connect attempts of one TCP connection, each to another endpoint. */
const MAX_TCP_ATTEMPTS = 3;
/** HTTP requests try so many endpoints before they fail. */
const CONNECT_RETRIES = 2;

export class ClusterRuntime implements ClusterHandle {
  readonly #options: ClusterOptions;
  #cluster: Cluster;
  #endpoints: readonly UpstreamEndpoint[] = [];
  readonly #connector: Connector;
  #external: ExternalConnector | undefined;
  #direct: DirectClusters<ClusterRuntime> | undefined;
  readonly #balancer: Balancer;
  readonly #allowance: RetryAllowance;
  readonly breaker: CircuitBreaker;
  readonly #bySessions = new WeakMap<UpstreamSessions, UpstreamEndpoint>();
  readonly http1: Http1Upstream;
  readonly http2: Http2Upstream;

  constructor(cluster: Cluster, options: ClusterOptions) {
    this.#options = options;
    this.#cluster = cluster;
    this.#connector = new Connector(
      options,
      () => this.#cluster,
      () => this.#external,
    );
    this.#balancer = new Balancer(options.random, options.locality);
    this.#allowance = new RetryAllowance(() => sumOf(this.#endpoints, ({ load }) => load));
    this.breaker = new CircuitBreaker(options.clock, (limit) =>
      options.onOverflow(this.name, limit),
    );
    this.http1 = {
      connectRetries: CONNECT_RETRIES,
      acquire: (want, handlers) => {
        const waiting = this.ready();
        if (waiting === undefined) return this.#acquireHttp1(want, handlers);
        return whenSettled(waiting, () => this.#acquireHttp1(want, handlers));
      },
    };
    this.http2 = {
      connectRetries: CONNECT_RETRIES,
      pick: (want) => this.#pickSessions(want),
      report: (sessions, status) => {
        const endpoint = this.#bySessions.get(sessions);
        if (endpoint !== undefined) this.#note(endpoint, status);
      },
    };
    this.update(cluster);
  }

  get name(): string {
    return this.#cluster.name;
  }

  get definition(): Cluster {
    return this.#cluster;
  }

  get endpoints(): readonly UpstreamEndpoint[] {
    return this.#endpoints;
  }

  update(cluster: Cluster): void {
    const isSecuredOtherwise =
      JSON.stringify([cluster.meshTls, cluster.originatedTls]) !==
      JSON.stringify([this.#cluster.meshTls, this.#cluster.originatedTls]);
    this.#cluster = cluster;
    this.#balancer.setBalancing(cluster);
    this.#allowance.setBudget(cluster.circuitBreakers?.retryBudget);
    this.breaker.setLimits(cluster.circuitBreakers);
    if (isSecuredOtherwise) for (const endpoint of this.#endpoints) endpoint.closeIdle();
    this.#followOutside(cluster);
    this.#direct?.[Symbol.dispose]();
    const { discovery, meshTls } = cluster;
    if (discovery.kind === 'static') {
      this.setEndpoints(
        discovery.endpoints.map(({ address, port }) => ({
          address,
          port,
          health: 'healthy',
          weight: 1,
          tlsMode: meshTls === undefined ? 'disabled' : 'mesh',
        })),
      );
    }
  }

  #followOutside(cluster: Cluster): void {
    const { external } = this.#options;
    if (!ExternalConnector.isFor(cluster) || external === undefined) this.#external = undefined;
    else if (this.#external !== undefined) this.#external.update(cluster);
    else this.#external = new ExternalConnector(cluster, external, (to) => this.setEndpoints(to));
  }

  /** What a call has to wait for: a name that is being resolved. Mostly nothing; it never rejects. */
  ready(): Promise<void> | undefined {
    return this.#external?.ready();
  }

  secretsChanged(): void {
    if (this.#external?.secretsChanged() !== true) return;
    for (const endpoint of this.#endpoints) endpoint.closeIdle();
  }

  /** The same to single addresses and names, for clusters that go where the client was going. */
  get targets(): DirectClusters<ClusterRuntime> {
    return (this.#direct ??= new DirectClusters((one) => new ClusterRuntime(one, this.#options)));
  }

  /** Endpoints that stay keep their state and connections; those that left finish what is in flight. */
  setEndpoints(definitions: readonly Endpoint[]): void {
    const known = new Map(this.#endpoints.map((endpoint) => [endpoint.key, endpoint]));
    this.#endpoints = definitions.map((definition) => {
      const endpoint = known.get(endpointKey(definition));
      if (endpoint === undefined) return new UpstreamEndpoint(definition, this.#onFree);
      known.delete(endpoint.key);
      const old = endpoint.definition;
      /** Another workload may answer at the same address: nothing that was opened to the old one is used again. */
      if (old.identity !== definition.identity || old.tlsMode !== definition.tlsMode) {
        endpoint.closeIdle();
      }
      endpoint.definition = definition;
      return endpoint;
    });
    this.#balancer.setEndpoints(this.#endpoints);
    for (const gone of known.values()) {
      gone.isRemoved = true;
      gone.closeIdle();
      gone.attempts.withdraw();
    }
  }

  /** After new certificates: connections that were made with the old ones take no new requests. */
  retireIdle(): void {
    for (const endpoint of this.#endpoints)
      if (this.#connector.isMesh(endpoint)) endpoint.closeIdle();
  }

  /** For requests of a route with a retry policy. */
  retryPlan(policy: RetryPolicy): RetryPlan {
    const { clock, random, onRetry } = this.#options;
    const allowance = this.#allowance;
    return {
      policy,
      allowance,
      clock,
      random,
      onRetry: (isAllowed) => onRetry(this.name, isAllowed),
    };
  }

  #choose(
    tried: ReadonlySet<string>,
    { mayRepeat, hash }: { readonly mayRepeat: boolean; readonly hash: bigint | undefined } = PLAIN,
  ): UpstreamEndpoint | undefined {
    const now = this.#options.clock.now();
    const chosen = this.#balancer.choose({ tried, now, hash });
    if (chosen !== undefined || !mayRepeat || tried.size === 0) return chosen;
    return this.#balancer.choose({ tried: NONE, now, hash });
  }

  readonly #onFree = (): void => this.breaker.onFree();

  /** With none to this endpoint there may always be one: else others could keep it from ever being reached. */
  #mayConnect(endpoint: UpstreamEndpoint): boolean {
    return (
      endpoint.connections === 0 ||
      this.breaker.mayConnect(() => sumOf(this.#endpoints, ({ connections }) => connections))
    );
  }

  #note(endpoint: UpstreamEndpoint, status: number): void {
    if (endpoint.isRemoved) return;
    const isEjected = noteResult(endpoint, status, {
      rules: this.#cluster.outlierDetection,
      all: this.#endpoints,
      now: this.#options.clock.now(),
    });
    if (!isEjected) return;
    endpoint.closeIdle();
    this.#options.onEjected(this.name, endpoint.key);
  }

  #acquireHttp1(
    want: Parameters<Http1Upstream['acquire']>[0],
    handlers: Parameters<Http1Upstream['acquire']>[1],
  ): Disposable {
    const endpoint = this.#choose(want.tried, want);
    if (endpoint === undefined) {
      handlers.onFailure('no-healthy-upstream', undefined);
      return NOTHING;
    }
    const generation = this.#connector.generation(endpoint);
    const pooled = want.mustBeFresh ? undefined : takeIdle(endpoint, generation);
    const { epoch } = endpoint;
    if (pooled !== undefined) {
      endpoint.active++;
      handlers.onConnection(pooled);
      return NOTHING;
    }
    if (!this.#mayConnect(endpoint)) return this.#waitForHttp1(want, handlers);
    endpoint.active++;
    let isCancelled = false;
    this.#connector.connect(endpoint, 'http1', {
      onConnect: (socket) => {
        if (isCancelled) {
          endpoint.end();
          socket.destroy();
          return;
        }
        handlers.onConnection(
          new PooledConnection({
            socket,
            endpoint,
            epoch,
            generation,
            onResult: (status) => this.#note(endpoint, status),
          }),
        );
      },
      onFailure: (failure) => {
        endpoint.end();
        this.#note(endpoint, 0);
        if (!isCancelled) handlers.onFailure(failure.code, endpoint.key);
      },
    });
    return {
      [Symbol.dispose]: () => {
        isCancelled = true;
      },
    };
  }

  #waitForHttp1(
    want: Parameters<Http1Upstream['acquire']>[0],
    handlers: Parameters<Http1Upstream['acquire']>[1],
  ): Disposable {
    let acquisition: Disposable | undefined;
    acquisition = this.breaker.wait(
      () => {
        acquisition = this.#acquireHttp1(want, handlers);
      },
      () => handlers.onFailure('upstream-overflow', undefined),
      this.#cluster.connectTimeoutMs,
    );
    if (acquisition === undefined) {
      handlers.onFailure('upstream-overflow', undefined);
      return NOTHING;
    }
    return { [Symbol.dispose]: () => acquisition?.[Symbol.dispose]() };
  }

  #pickSessions(want: PickWant): UpstreamSessions | undefined {
    const addresses = new Set<string>();
    for (const sessions of want.tried) {
      const endpoint = this.#bySessions.get(sessions);
      if (endpoint !== undefined) addresses.add(endpoint.key);
    }
    const endpoint = this.#choose(addresses, want);
    return endpoint && this.#sessionsOf(endpoint);
  }

  #sessionsOf(endpoint: UpstreamEndpoint): UpstreamSessions {
    const generation = this.#connector.generation(endpoint);
    if (endpoint.sessions !== undefined && endpoint.sessionsGeneration === generation) {
      return endpoint.sessions;
    }
    endpoint.sessions?.[Symbol.dispose]();
    const sessions = new UpstreamSessions(
      () =>
        new Promise<Socket>((resolve, reject) => {
          this.#connector.connect(endpoint, 'http2', { onConnect: resolve, onFailure: reject });
        }),
    );
    endpoint.sessions = sessions;
    endpoint.sessionsGeneration = generation;
    this.#bySessions.set(sessions, endpoint);
    return sessions;
  }

  /**
   * Opens a connection for a tunnel; other endpoints are tried when one does not answer.
   * @param destination where the client was going, for clusters that go there themselves.
   */
  openTcp(
    destination: Address,
    handlers: {
      onConnection(upstream: TcpUpstream): void;
      onFailure(reasonCode: string, address: string | undefined): void;
    },
  ): void {
    if (this.#cluster.discovery.kind === 'originalDst') {
      this.#openDirect(destination, handlers);
      return;
    }
    const waiting = this.ready();
    if (waiting === undefined) this.#openAny(handlers);
    else void waiting.then(() => this.#openAny(handlers));
  }

  #openAny(handlers: Parameters<ClusterRuntime['openTcp']>[1]): void {
    const tried = new Set<string>();
    const attempt = (): void => {
      const endpoint = this.#choose(tried);
      if (endpoint === undefined) {
        handlers.onFailure('no-healthy-upstream', undefined);
        return;
      }
      tried.add(endpoint.key);
      if (!this.#mayConnect(endpoint)) {
        this.breaker.refuseConnection();
        handlers.onFailure('upstream-overflow', undefined);
        return;
      }
      endpoint.active++;
      this.#connector.connect(endpoint, 'tcp', {
        onConnect: (socket) => {
          this.#note(endpoint, CONNECTED);
          handlers.onConnection({
            socket,
            address: endpoint.key,
            done: () => {
              endpoint.end();
            },
          });
        },
        onFailure: (failure) => {
          endpoint.end();
          this.#note(endpoint, 0);
          const isLeft = this.#endpoints.some(({ key }) => !tried.has(key));
          const isLast = tried.size >= MAX_TCP_ATTEMPTS || !isLeft;
          if (isLast) handlers.onFailure(failure.code, endpoint.key);
          else attempt();
        },
      });
    };
    attempt();
  }

  #openDirect(destination: Address, handlers: Parameters<ClusterRuntime['openTcp']>[1]): void {
    const address = endpointKey(destination);
    this.#connector.connectDirect(destination, {
      onConnect: (socket) => handlers.onConnection({ socket, address, done: () => undefined }),
      onFailure: (failure) => handlers.onFailure(failure.code, address),
    });
  }

  [Symbol.dispose](): void {
    this.#direct?.[Symbol.dispose]();
    for (const endpoint of this.#endpoints) {
      endpoint.isRemoved = true;
      endpoint.closeIdle();
    }
    this.#endpoints = [];
    this.#balancer.setEndpoints(this.#endpoints);
  }
}

const NONE: ReadonlySet<string> = new Set();
const PLAIN = { mayRepeat: false, hash: undefined };
/** What a connection that came about is noted as: no failure. */
const CONNECTED = 200;

const sumOf = (
  endpoints: readonly UpstreamEndpoint[],
  count: (endpoint: UpstreamEndpoint) => number,
): number => endpoints.reduce((sum, endpoint) => sum + count(endpoint), 0);
