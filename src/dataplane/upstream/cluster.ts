// Runs one cluster: its endpoints as they come and go, and connections to them for HTTP/1, HTTP/2 and TCP.
import type { Socket } from 'node:net';
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import { MESH_ALPN } from '@weft/xds/resources/listener';
import type { Http1Upstream } from '../http/http1-proxy.ts';
import type { Http2Upstream } from '../http2/http2-proxy.ts';
import { UpstreamSessions } from '../http2/upstream-sessions.ts';
import type { ClusterHandle } from '../state/config-store.ts';
import { ConnectFailure, connectMesh, connectPlain, type ConnectHandlers } from '../tls/client.ts';
import type { MeshContexts } from '../tls/credentials.ts';
import { chooseEndpoint } from './balancer.ts';
import { PooledConnection } from './connection.ts';
import { noteResult } from './ejection.ts';
import { endpointKey, UpstreamEndpoint } from './endpoint.ts';

export interface Address {
  readonly address: string;
  readonly port: number;
}

export interface ClusterOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly contexts: () => MeshContexts | undefined;
  /** Where the application really listens, for clusters of the proxy's own ports. */
  readonly appAddress: (address: Address) => Address;
  readonly onEjected: (cluster: string, endpoint: string) => void;
}

/** A connection for a tunnel; `done` once it has ended. */
export interface TcpUpstream {
  readonly socket: Socket;
  readonly address: string;
  done(): void;
}

/** Connect attempts of one TCP connection, each to another endpoint. */
const MAX_TCP_ATTEMPTS = 3;
/** HTTP requests try so many endpoints before they fail. */
const CONNECT_RETRIES = 2;

type MeshProtocol = keyof typeof MESH_ALPN;

export class ClusterRuntime implements ClusterHandle {
  readonly #options: ClusterOptions;
  #cluster: Cluster;
  #endpoints: readonly UpstreamEndpoint[] = [];
  readonly #bySessions = new WeakMap<UpstreamSessions, UpstreamEndpoint>();
  readonly http1: Http1Upstream;
  readonly http2: Http2Upstream;

  constructor(cluster: Cluster, options: ClusterOptions) {
    this.#options = options;
    this.#cluster = cluster;
    this.http1 = {
      connectRetries: CONNECT_RETRIES,
      acquire: (want, handlers) => this.#acquireHttp1(want, handlers),
    };
    this.http2 = {
      connectRetries: CONNECT_RETRIES,
      pick: (tried) => this.#pickSessions(tried),
      report: (sessions, isSuccess) => {
        const endpoint = this.#bySessions.get(sessions);
        if (endpoint !== undefined) this.#note(endpoint, isSuccess);
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
      JSON.stringify(cluster.meshTls) !== JSON.stringify(this.#cluster.meshTls);
    this.#cluster = cluster;
    if (isSecuredOtherwise) for (const endpoint of this.#endpoints) endpoint.closeIdle();
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

  /** Endpoints that stay keep their state and connections; those that left finish what is in flight. */
  setEndpoints(definitions: readonly Endpoint[]): void {
    const known = new Map(this.#endpoints.map((endpoint) => [endpoint.key, endpoint]));
    this.#endpoints = definitions.map((definition) => {
      const endpoint = known.get(endpointKey(definition));
      if (endpoint === undefined) return new UpstreamEndpoint(definition);
      known.delete(endpoint.key);
      const old = endpoint.definition;
      /** Another workload may answer at the same address: nothing that was opened to the old one is used again. */
      if (old.identity !== definition.identity || old.tlsMode !== definition.tlsMode) {
        endpoint.closeIdle();
      }
      endpoint.definition = definition;
      return endpoint;
    });
    for (const gone of known.values()) {
      gone.isRemoved = true;
      gone.closeIdle();
      gone.attempts.withdraw();
    }
  }

  /** After new certificates: connections that were made with the old ones take no new requests. */
  retireIdle(): void {
    for (const endpoint of this.#endpoints) if (this.#isMesh(endpoint)) endpoint.closeIdle();
  }

  #choose(tried: ReadonlySet<string>): UpstreamEndpoint | undefined {
    const { clock, random } = this.#options;
    return chooseEndpoint(this.#endpoints, { tried, now: clock.now(), random });
  }

  #note(endpoint: UpstreamEndpoint, isSuccess: boolean): void {
    if (endpoint.isRemoved) return;
    const isEjected = noteResult(endpoint, isSuccess, {
      rules: this.#cluster.outlierDetection,
      all: this.#endpoints,
      now: this.#options.clock.now(),
    });
    if (!isEjected) return;
    endpoint.closeIdle();
    this.#options.onEjected(this.name, endpoint.key);
  }

  #generation(endpoint: UpstreamEndpoint): MeshContexts | undefined {
    return this.#isMesh(endpoint) ? this.#options.contexts() : undefined;
  }

  #isMesh(endpoint: UpstreamEndpoint): boolean {
    return this.#cluster.meshTls !== undefined && endpoint.definition.tlsMode === 'mesh';
  }

  #acquireHttp1(
    want: Parameters<Http1Upstream['acquire']>[0],
    handlers: Parameters<Http1Upstream['acquire']>[1],
  ): Disposable {
    const endpoint = this.#choose(want.tried);
    if (endpoint === undefined) {
      handlers.onFailure('no-healthy-upstream', undefined);
      return NOTHING;
    }
    const generation = this.#generation(endpoint);
    const pooled = want.mustBeFresh ? undefined : takeIdle(endpoint, generation);
    const { epoch } = endpoint;
    endpoint.active++;
    if (pooled !== undefined) {
      handlers.onConnection(pooled);
      return NOTHING;
    }
    let isCancelled = false;
    this.#connect(endpoint, 'http1', {
      onConnect: (socket) => {
        if (isCancelled) {
          endpoint.active--;
          socket.destroy();
          return;
        }
        handlers.onConnection(
          new PooledConnection({
            socket,
            endpoint,
            epoch,
            generation,
            onResult: (isSuccess) => this.#note(endpoint, isSuccess),
          }),
        );
      },
      onFailure: (failure) => {
        endpoint.active--;
        this.#note(endpoint, false);
        if (!isCancelled) handlers.onFailure(failure.code, endpoint.key);
      },
    });
    return {
      [Symbol.dispose]: () => {
        isCancelled = true;
      },
    };
  }

  #pickSessions(tried: ReadonlySet<UpstreamSessions>): UpstreamSessions | undefined {
    const addresses = new Set<string>();
    for (const sessions of tried) {
      const endpoint = this.#bySessions.get(sessions);
      if (endpoint !== undefined) addresses.add(endpoint.key);
    }
    const endpoint = this.#choose(addresses);
    return endpoint && this.#sessionsOf(endpoint);
  }

  #sessionsOf(endpoint: UpstreamEndpoint): UpstreamSessions {
    const generation = this.#generation(endpoint);
    if (endpoint.sessions !== undefined && endpoint.sessionsGeneration === generation) {
      return endpoint.sessions;
    }
    endpoint.sessions?.[Symbol.dispose]();
    const sessions = new UpstreamSessions(
      () =>
        new Promise<Socket>((resolve, reject) => {
          this.#connect(endpoint, 'http2', { onConnect: resolve, onFailure: reject });
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
    const tried = new Set<string>();
    const attempt = (): void => {
      const endpoint = this.#choose(tried);
      if (endpoint === undefined) {
        handlers.onFailure('no-healthy-upstream', undefined);
        return;
      }
      tried.add(endpoint.key);
      endpoint.active++;
      this.#connect(endpoint, 'tcp', {
        onConnect: (socket) => {
          this.#note(endpoint, true);
          handlers.onConnection({
            socket,
            address: endpoint.key,
            done: () => {
              endpoint.active--;
            },
          });
        },
        onFailure: (failure) => {
          endpoint.active--;
          this.#note(endpoint, false);
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
    connectPlain(
      {
        host: destination.address,
        port: destination.port,
        timeoutMs: this.#cluster.connectTimeoutMs,
      },
      {
        onConnect: (socket) => handlers.onConnection({ socket, address, done: () => undefined }),
        onFailure: (failure) => handlers.onFailure(failure.code, address),
      },
    );
  }

  #connect(
    endpoint: UpstreamEndpoint,
    protocol: MeshProtocol,
    asked: ConnectHandlers<Socket>,
  ): void {
    const handlers = endpoint.attempts.begin(asked);
    const { connectTimeoutMs: timeoutMs, meshTls, discovery } = this.#cluster;
    if (meshTls === undefined || endpoint.definition.tlsMode !== 'mesh') {
      const { address: host, port } =
        discovery.kind === 'static'
          ? this.#options.appAddress(endpoint.definition)
          : endpoint.definition;
      connectPlain({ host, port, timeoutMs }, handlers);
      return;
    }
    const { address: host, port, identity } = endpoint.definition;
    const { sni, peerUris } = meshTls;
    const expected = new Set(peerUris);
    const isExpected = (id: SpiffeId): boolean =>
      expected.has(id) && (identity === undefined || identity === id);
    const target = { host, port, timeoutMs, sni, alpn: [MESH_ALPN[protocol]], isExpected };
    this.#connectMesh(target, handlers, MAX_STALE_HANDSHAKES);
  }

  /** A handshake that ends under other roots or another certificate than it began with is made again: trust is of now. */
  #connectMesh(
    target: Omit<Parameters<typeof connectMesh>[0], 'contexts'>,
    handlers: ConnectHandlers<Socket>,
    staleLeft: number,
  ): void {
    const contexts = this.#options.contexts();
    if (contexts === undefined || staleLeft === 0) {
      const why = contexts === undefined ? 'no certificate or bundle yet' : 'it always changes';
      handlers.onFailure(new ConnectFailure('no-certificate', why));
      return;
    }
    connectMesh(
      { ...target, contexts },
      {
        onFailure: (failure) => handlers.onFailure(failure),
        onConnect: (socket) => {
          if (this.#options.contexts() === contexts) {
            handlers.onConnect(socket);
            return;
          }
          socket.destroy();
          this.#connectMesh(target, handlers, staleLeft - 1);
        },
      },
    );
  }

  [Symbol.dispose](): void {
    for (const endpoint of this.#endpoints) {
      endpoint.isRemoved = true;
      endpoint.closeIdle();
    }
    this.#endpoints = [];
  }
}

/** Certificates change once in hours; more often within one connect something is wrong with them. */
const MAX_STALE_HANDSHAKES = 3;

const NOTHING: Disposable = { [Symbol.dispose]: () => undefined };

function takeIdle(
  endpoint: UpstreamEndpoint,
  generation: object | undefined,
): PooledConnection | undefined {
  for (;;) {
    const connection = endpoint.idle.pop();
    if (connection === undefined) return undefined;
    if (connection.generation !== generation) connection.dispose();
    else if (connection.lend()) return connection;
  }
}
