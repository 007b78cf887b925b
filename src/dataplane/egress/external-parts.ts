// How one cluster outside the mesh is reached: its name resolved before a call, its TLS made as the cluster says.
import type { Socket } from 'node:net';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { OriginatedTls } from '@weft/xds/resources/egress';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import { ConnectFailure, type ConnectHandlers, type Target } from '../tls/client.ts';
import { NameFollower, type NameProblem } from './name-follower.ts';
import { connectOriginated } from './originate.ts';
import type { ExternalOptions, ExternalProtocol } from './external-connector.ts';
import { OriginationContexts } from './origination-contexts.ts';

/** What is spoken inside decides which protocol is offered; a tunnel offers none. */
const ALPN = { http1: 'http/1.1', http2: 'h2', tcp: undefined } as const;

export class ExternalParts {
  readonly #options: ExternalOptions;
  readonly #setEndpoints: (endpoints: readonly Endpoint[]) => void;
  #name = '';
  #follower: NameFollower | undefined;
  #tls: { readonly definition: OriginatedTls; readonly contexts: OriginationContexts } | undefined;

  constructor(options: ExternalOptions, setEndpoints: (endpoints: readonly Endpoint[]) => void) {
    this.#options = options;
    this.#setEndpoints = setEndpoints;
  }

  update({ name, discovery, originatedTls }: Cluster): void {
    this.#name = name;
    const { resolve, now } = this.#options;
    const onProblem = (problem: Omit<NameProblem, 'host'>): void =>
      this.#options.onProblem(this.#name, problem);
    if (discovery.kind !== 'dns') this.#follower = undefined;
    else if (this.#follower === undefined) {
      const setEndpoints = this.#setEndpoints;
      this.#follower = new NameFollower(discovery, { resolve, now, setEndpoints, onProblem });
    } else this.#follower.update(discovery);
    if (originatedTls === undefined) this.#tls = undefined;
    else if (JSON.stringify(originatedTls) !== JSON.stringify(this.#tls?.definition)) {
      const { secret } = this.#options;
      const onBadFile = (detail: string): void =>
        onProblem({ reasonCode: 'upstream-tls-unusable', detail });
      const contexts = new OriginationContexts(originatedTls, { secret, now, onBadFile });
      this.#tls = { definition: originatedTls, contexts };
    }
  }

  /** What a call has to wait for; mostly nothing. It never rejects. */
  ready(): Promise<void> | undefined {
    return this.#follower?.ready();
  }

  /** @returns whether connections of before were made with other ones. */
  secretsChanged(): boolean {
    return this.#tls?.contexts.secretsChanged() ?? false;
  }

  connect(target: Target, protocol: ExternalProtocol, handlers: ConnectHandlers<Socket>): void {
    const tls = this.#tls;
    if (tls === undefined) throw new TypeError(`Cannot secure ${this.#name}: it has no TLS`);
    const context = tls.contexts.current();
    if (typeof context === 'string') {
      handlers.onFailure(new ConnectFailure('upstream-tls-unusable', context));
      return;
    }
    const { sni, names } = tls.definition;
    const offered = ALPN[protocol];
    connectOriginated(
      {
        ...target,
        context,
        sni,
        names,
        alpn: offered === undefined ? [] : [offered],
        ...(protocol === 'http2' && { requiredAlpn: ALPN.http2 }),
      },
      handlers,
    );
  }
}
