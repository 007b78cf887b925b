// What a sidecar of a mesh has its identity and configuration from: enrolment, the xDS stream, and the reports beside it.
import type { ResourceKind } from '@weft/xds/resource';
import type { TrustSecret } from '@weft/xds/resources/secret';
import type { ChannelLease } from './control-plane/shared-channel.ts';
import type { IdentityKeeper } from './enrol/identity-keeper.ts';
import { createWorkloadKeeper } from './enrol/workload-keeper.ts';
import type { MeshSidecarOptions } from './options.ts';
import type { Origin, OriginHooks } from './origin.ts';
import { Reporter } from './report/reporter.ts';
import { federatedOf } from './tls/federated-of.ts';
import type { WorkloadApi } from './workload-api/workload-api.ts';
import { XdsClient } from './xds/client.ts';

export class MeshOrigin implements Origin {
  readonly #options: MeshSidecarOptions;
  readonly #hooks: OriginHooks;
  readonly #keeper: IdentityKeeper;
  readonly #xds: XdsClient;
  #reporter: Reporter | undefined;
  #workloadApi: WorkloadApi | undefined;
  #hasIdentity = false;

  constructor(options: MeshSidecarOptions, hooks: OriginHooks) {
    this.#options = options;
    this.#hooks = hooks;
    const { clock, random, log, namespace, pod } = options;
    this.#keeper = createWorkloadKeeper(options, {
      onChange: (svid) => {
        this.#hasIdentity = svid !== undefined;
        hooks.onIdentity(svid);
        this.#workloadApi?.follow(svid);
      },
    });
    this.#xds = new XdsClient({
      connect: () => this.#keeper.connect(),
      node: { id: `${pod}.${namespace}`, cluster: namespace },
      version: options.version,
      apply: hooks.apply,
      clock,
      random,
      log: log.child({ component: 'xds' }),
      onState: hooks.onState,
      onResponse: hooks.onResponse,
    });
  }

  async open(): Promise<void> {
    const { workloadApi: api, trustDomain, namespace, clock, random, log } = this.#options;
    if (api === undefined) return;
    const { WorkloadApi } = await import('./workload-api/workload-api.ts');
    this.#workloadApi = await WorkloadApi.open({
      api,
      connect: this.connect,
      trustDomain,
      namespace,
      metrics: this.#hooks.metrics,
      onChange: () => this.#hooks.onReasons(),
      clock,
      random,
      log: log.child({ component: 'workload-api' }),
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#keeper.start(signal);
    if (signal.aborted) return;
    this.#xds.start();
    const { pod, namespace, clock, random, log } = this.#options;
    this.#reporter = new Reporter({
      connect: () => this.#keeper.connect(),
      nodeId: `${pod}.${namespace}`,
      inbound: this.#hooks.inbound,
      edges: this.#hooks.edges,
      onCredentials: this.#hooks.onCredentials,
      clock,
      random,
      log: log.child({ component: 'report' }),
    });
  }

  get reasons(): readonly string[] {
    if (this.#hasIdentity) return this.#workloadApi?.reasons ?? [];
    const why = this.#keeper.failure;
    return [`no certificate from the control plane${why === undefined ? '' : `: ${why}`}`];
  }

  get isConnected(): boolean {
    return this.#xds.isConnected;
  }

  readonly connect = (): ChannelLease => this.#keeper.connect();

  setBundle(bundle: TrustSecret): void {
    const federated = federatedOf(bundle, this.#keeper.svid?.spiffeId);
    this.#keeper.setBundle(bundle.trustedCaPem);
    this.#keeper.setFederated(federated);
  }

  rulesChanged(): void {
    this.#reporter?.changed();
  }

  subscribe(kind: ResourceKind, name: string): void {
    this.#xds.subscribe(kind, name);
  }

  unsubscribe(kind: ResourceKind, name: string): void {
    this.#xds.unsubscribe(kind, name);
  }

  [Symbol.dispose](): void {
    this.#workloadApi?.[Symbol.dispose]();
    this.#reporter?.[Symbol.dispose]();
    this.#xds[Symbol.dispose]();
    this.#keeper[Symbol.dispose]();
  }
}
