// How one cluster outside the mesh is reached. What does it is loaded when there is such a cluster: most sidecars have none.
import type { Socket } from 'node:net';
import { errorText } from '@weft/model/error-text';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import type { Secret } from '@weft/xds/resources/secret';
import { ConnectFailure, type ConnectHandlers, type Target } from '../tls/client.ts';
import type { ExternalParts } from './external-parts.ts';
import type { NameProblem } from './name-follower.ts';
import type { ResolveHost } from './resolve-host.ts';

export interface ExternalOptions {
  readonly secret: (name: string) => Secret | undefined;
  readonly now: () => number;
  readonly resolve: ResolveHost;
  readonly onProblem: (cluster: string, problem: Omit<NameProblem, 'host'>) => void;
}

export type ExternalProtocol = 'http1' | 'http2' | 'tcp';

export class ExternalConnector {
  readonly #options: ExternalOptions;
  readonly #setEndpoints: (endpoints: readonly Endpoint[]) => void;
  readonly #loading: Promise<void>;
  #cluster: Cluster;
  #parts: ExternalParts | undefined;

  constructor(
    cluster: Cluster,
    options: ExternalOptions,
    setEndpoints: (endpoints: readonly Endpoint[]) => void,
  ) {
    this.#options = options;
    this.#setEndpoints = setEndpoints;
    this.#cluster = cluster;
    this.#loading = this.#load();
  }

  static isFor({ discovery, originatedTls }: Cluster): boolean {
    return discovery.kind === 'dns' || originatedTls !== undefined;
  }

  async #load(): Promise<void> {
    try {
      const { ExternalParts } = await import('./external-parts.ts');
      this.#parts = new ExternalParts(this.#options, this.#setEndpoints);
      this.#parts.update(this.#cluster);
    } catch (error) {
      const detail = errorText(error);
      this.#options.onProblem(this.#cluster.name, { reasonCode: 'upstream-tls-unusable', detail });
    }
  }

  update(cluster: Cluster): void {
    this.#cluster = cluster;
    this.#parts?.update(cluster);
  }

  /** What a call has to wait for; mostly nothing. It never rejects. */
  ready(): Promise<void> | undefined {
    return this.#parts === undefined
      ? this.#loading.then(() => this.#parts?.ready())
      : this.#parts.ready();
  }

  /** @returns whether connections of before were made with other ones. */
  secretsChanged(): boolean {
    return this.#parts?.secretsChanged() ?? false;
  }

  connect(target: Target, protocol: ExternalProtocol, handlers: ConnectHandlers<Socket>): void {
    if (this.#parts !== undefined) this.#parts.connect(target, protocol, handlers);
    else handlers.onFailure(new ConnectFailure('upstream-tls-unusable', 'is not loaded'));
  }
}
