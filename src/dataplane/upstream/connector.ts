// Opens connections to a cluster's endpoints, secured as the cluster says.
import type { Socket } from 'node:net';
import type { SpiffeId } from '@weft/model/identity';
import type { Cluster } from '@weft/xds/resources/cluster';
import { MESH_OFFERS } from '@weft/xds/resources/listener';
import { ConnectFailure, connectMesh, connectPlain, type ConnectHandlers } from '../tls/client.ts';
import type { MeshContexts } from '../tls/credentials.ts';
import type { ExternalConnector } from '../egress/external-connector.ts';
import type { UpstreamEndpoint } from './endpoint.ts';

export interface Address {
  readonly address: string;
  readonly port: number;
}

export interface ConnectorOptions {
  readonly contexts: () => MeshContexts | undefined;
  /** Where the application really listens, for clusters of the proxy's own ports. */
  readonly appAddress: (address: Address) => Address;
}

export type MeshProtocol = keyof typeof MESH_OFFERS;

/** What clusters of the proxy's own ports begin with. */
const OWN_PORT = 'inbound|';

/** Certificates change once in hours; more often within one connect something is wrong with them. */
const MAX_STALE_HANDSHAKES = 3;

export class Connector {
  readonly #options: ConnectorOptions;
  readonly #cluster: () => Cluster;
  readonly #external: () => ExternalConnector | undefined;

  constructor(
    options: ConnectorOptions,
    cluster: () => Cluster,
    external: () => ExternalConnector | undefined,
  ) {
    this.#options = options;
    this.#cluster = cluster;
    this.#external = external;
  }

  isMesh(endpoint: UpstreamEndpoint): boolean {
    return this.#cluster().meshTls !== undefined && endpoint.definition.tlsMode === 'mesh';
  }

  /** What the connections of now are made with: others are not to be used any more. */
  generation(endpoint: UpstreamEndpoint): MeshContexts | undefined {
    return this.isMesh(endpoint) ? this.#options.contexts() : undefined;
  }

  connect(
    endpoint: UpstreamEndpoint,
    protocol: MeshProtocol,
    asked: ConnectHandlers<Socket>,
  ): void {
    const handlers = endpoint.attempts.begin(asked);
    const { name, connectTimeoutMs: timeoutMs, meshTls, originatedTls } = this.#cluster();
    if (originatedTls !== undefined) {
      const { address: host, port } = endpoint.definition;
      const external = this.#external();
      if (external !== undefined) external.connect({ host, port, timeoutMs }, protocol, handlers);
      else handlers.onFailure(new ConnectFailure('upstream-tls-unusable', 'nobody can make it'));
      return;
    }
    if (meshTls === undefined || endpoint.definition.tlsMode !== 'mesh') {
      const { address: host, port } = name.startsWith(OWN_PORT)
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
    const target = { host, port, timeoutMs, sni, alpn: MESH_OFFERS[protocol], isExpected };
    this.#connectMesh(target, handlers, MAX_STALE_HANDSHAKES);
  }

  /** To where a client was going, for clusters that go there themselves. */
  connectDirect({ address: host, port }: Address, handlers: ConnectHandlers<Socket>): void {
    connectPlain({ host, port, timeoutMs: this.#cluster().connectTimeoutMs }, handlers);
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
}
