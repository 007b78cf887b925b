// Everything of the sidecar that handles credentials: what is granted, and the ways it takes from here. Loaded only where it is used.
import type { Clock } from '@weft/model/clock';
import type { Logger } from 'pino';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import type { MetricsRegistry } from '../telemetry/metrics.ts';
import { createCredentialMetrics, type CredentialMetrics } from './credential-metrics.ts';
import { CredentialStore } from './credential-store.ts';
import { FileDelivery } from './file-delivery.ts';
import { HandOvers } from './hand-overs.ts';
import { Injections } from './injection.ts';
import type { CredentialsOptions } from './options.ts';
import { UrlServer } from './url-server.ts';
import { CredentialWatch } from './watch.ts';

export interface CredentialsDependencies {
  readonly nodeId: string;
  readonly metrics: MetricsRegistry;
  /** Who the workload is, for the audit. */
  readonly identity: () => string | undefined;
  /** To the control plane; absent in no mesh. */
  readonly connect: (() => ChannelLease) | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

export class Credentials implements AsyncDisposable {
  readonly #dependencies: CredentialsDependencies;
  readonly #store = new CredentialStore();
  readonly #metrics: CredentialMetrics;
  readonly #handOvers: HandOvers;
  readonly injections: Injections;
  readonly #owned = new AsyncDisposableStack();
  #watch: CredentialWatch | undefined;
  #url: UrlServer | undefined;

  constructor(dependencies: CredentialsDependencies) {
    this.#dependencies = dependencies;
    const { metrics, identity, log } = dependencies;
    this.#metrics = createCredentialMetrics(metrics);
    this.#handOvers = new HandOvers({ log, metrics: this.#metrics, identity });
    this.#store.onChange(({ changed, removed }) => {
      this.#metrics.held(this.#store.size);
      log.info({ changed: [...changed], removed: [...removed] }, 'granted credentials changed');
    });
    this.injections = this.#owned.use(new Injections(this.#parts));
  }

  get #parts() {
    const { log } = this.#dependencies;
    return { store: this.#store, handOvers: this.#handOvers, metrics: this.#metrics, log };
  }

  /** Opens what hands credentials to the application. @throws Error that says what cannot be opened, and why. */
  async open({ url, files, feed }: CredentialsOptions): Promise<void> {
    if (files !== undefined) {
      this.#owned.use(await FileDelivery.open({ ...this.#parts, files }));
    }
    if (url !== undefined) {
      this.#url = this.#owned.use(await UrlServer.open({ ...this.#parts, url }));
    }
    if (feed !== undefined) {
      this.#owned.use(
        feed(({ credentials }) => {
          const names = new Set(credentials.map(({ name }) => name));
          const removed = this.#store.all().flatMap(({ name }) => (names.has(name) ? [] : [name]));
          this.#store.apply({ credentials, removed, isComplete: true });
        }),
      );
    }
  }

  /** Where the application asks; absent without a URL. */
  get address(): string | undefined {
    return this.#url?.address;
  }

  /** Everything that is granted has come, at least once. */
  get isComplete(): boolean {
    return this.#store.isComplete;
  }

  onChange(run: () => void): void {
    this.#store.onChange(run);
  }

  /** Asks the control plane what is granted, until `unwatch`. */
  watch(): void {
    const { connect, nodeId, clock, random, log } = this.#dependencies;
    if (connect === undefined || this.#watch !== undefined) return;
    const stream = { connect, nodeId, clock, random, log };
    this.#watch = new CredentialWatch({ ...this.#parts, ...stream });
  }

  /** The identity is no more: nothing is granted to it, and what was is taken away. */
  unwatch(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#store.clear();
  }

  /** Names, versions and ways. No value. */
  describe(): unknown {
    return this.#store.all().map(({ name, version, ways }) => ({
      name,
      version,
      ways: [...ways],
      unavailable: this.#watch?.whyUnavailable(name) ?? null,
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    await this.#owned.disposeAsync();
  }
}
