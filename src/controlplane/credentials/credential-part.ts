// The control plane's part in credentials: costs next to nothing until a binding or a proxy asks for more, which is loaded then.
import { type Server, status } from '@grpc/grpc-js';
import type { Peer } from '@weft/ca/server-credentials';
import type { Clock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import type { Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';
import { serviceDefinition } from '@weft/xds/registry';
import type { Logger } from 'pino';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { PolicyReport } from '../status/policy-status.ts';
import { BindingIndex } from './binding-index.ts';
import type { KeptLine } from './audit-trail.ts';
import type { CredentialOffice } from './credential-office.ts';
import type { CredentialSource } from './sources/source.ts';
import type { SourceConfig } from './sources/source-config.ts';
import { CREDENTIALS_SERVICE, type WatchCall } from './watch-call.ts';

export interface CredentialPartOptions {
  readonly server: Server;
  readonly peerOf: (call: WatchCall) => Peer;
  readonly views: Pick<MeshViews, 'resolve' | 'mesh' | 'snapshot'> & {
    subscribe(listener: () => void): Disposable;
  };
  readonly configs: readonly SourceConfig[];
  /** Where there is a cluster. */
  readonly secrets?: () => Promise<CredentialSource>;
  /** Of a proxy that watches at other control planes: names of what is in force there, for each of them. */
  readonly elsewhere?: (proxyId: string) => readonly (readonly string[])[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** What is shown of all this; no value is anywhere in it. */
export interface CredentialState {
  /** Proxies that watch. */
  readonly streams: number;
  /** Places of sources that are followed. */
  readonly places: number;
  /** Since the start: handed over, handed on, withdrawn, refused. */
  readonly acts: Readonly<Record<string, number>>;
}

/** Every proxy is looked at when grants may be others: changes of a busy mesh are looked at together. */
const GATHER_MS = 50;

const IDLE: CredentialState = { streams: 0, places: 0, acts: {} };

export class CredentialPart implements AsyncDisposable {
  readonly #options: CredentialPartOptions;
  readonly #index = new BindingIndex();
  readonly #subscriptions = new DisposableStack();
  readonly #listeners = new Listeners();
  readonly #grantListeners = new Listeners();
  #telling: Disposable | undefined;
  #opening: Promise<CredentialOffice> | undefined;
  #office: CredentialOffice | undefined;
  #failure: string | undefined;
  #isClosed = false;

  constructor(options: CredentialPartOptions) {
    this.#options = options;
    options.server.addService(serviceDefinition(CREDENTIALS_SERVICE), {
      Watch: (call: WatchCall) => void this.#watch(call),
    });
    this.#subscriptions.use(options.views.subscribe(() => this.#follow()));
    this.#follow();
  }

  /**
   * What the operator has set up is opened at the start, and not when it is first needed.
   * @throws Error with the cure when a source cannot be opened.
   */
  async openConfigured(): Promise<void> {
    if (this.#options.configs.length === 0 || (await this.#open()) !== undefined) return;
    throw new Error(`Cannot open sources of credentials: ${this.#failure}`);
  }

  #follow(): void {
    const isNew = this.#index.follow(this.#options.views.snapshot());
    if (this.#index.size > 0 && this.#office === undefined) void this.#open();
    this.#office?.changed();
    if (!isNew && this.#index.size === 0) return;
    this.#telling ??= this.#options.clock.setTimeout(() => {
      this.#telling = undefined;
      this.#grantListeners.tell();
    }, GATHER_MS);
  }

  async #watch(call: WatchCall): Promise<void> {
    const office = this.#office ?? (await this.#open());
    try {
      if (office !== undefined) return office.open(call);
    } catch (error) {
      // A flaw of ours, met by one stream, is not to end the process.
      this.#options.log.error({ err: error }, 'a stream of credentials could not be opened');
    }
    const details = 'credentials cannot be served now';
    call.emit('error', { code: status.UNAVAILABLE, details });
  }

  /** @returns `undefined` when its sources cannot be opened, which is a problem until they can. */
  async #open(): Promise<CredentialOffice | undefined> {
    this.#opening ??= this.#load();
    try {
      const office = await this.#opening;
      this.#office = office;
      this.#failure = undefined;
      return office;
    } catch (error) {
      // The next change or proxy tries again.
      this.#opening = undefined;
      this.#failure = errorText(error);
      this.#options.log.error({ err: error }, 'credentials cannot be served');
      return undefined;
    } finally {
      this.#tell();
    }
  }

  async #load(): Promise<CredentialOffice> {
    const { openCredentialOffice } = await import('./credential-office.ts');
    const { secrets, ...options } = this.#options;
    const office = await openCredentialOffice({
      ...options,
      index: this.#index,
      ...(secrets && { secrets: await secrets() }),
      onChange: () => this.#tell(),
    });
    if (!this.#isClosed) return office;
    await office[Symbol.asyncDispose]();
    throw new Error('Cannot open sources of credentials: the control plane is shutting down');
  }

  /** To be called when other control planes say something else. */
  changedElsewhere(): void {
    this.#office?.changed();
  }

  /** Whether a binding selects it: then its proxy is told to watch. */
  isGranted(proxyId: string): boolean {
    if (this.#index.size === 0) return false;
    return this.#index.hasAny(this.#options.views.mesh().workloads.get(proxyId));
  }

  /** Names of credentials that are in force at the proxy as they are now; `undefined` when it does not watch here. */
  inForceAt(proxyId: string): readonly string[] | undefined {
    return this.#office?.inForceAt(proxyId);
  }

  /** Called when `isGranted` may say something else. */
  onGrants(listener: () => void): Disposable {
    return this.#grantListeners.add(listener);
  }

  /** As of policies: where each binding is in force. */
  reports(): readonly PolicyReport[] {
    return this.#office?.reports() ?? [];
  }

  problems(): readonly Problem[] {
    if (this.#failure !== undefined) {
      const message = `credentials are not served: ${this.#failure}`;
      return [{ severity: 'error', code: 'credentials-not-served', message }];
    }
    return this.#office?.problems() ?? [];
  }

  state(): CredentialState {
    return this.#office?.state() ?? IDLE;
  }

  /** The newest acts, the oldest of them first. */
  audit(): readonly KeptLine[] {
    return this.#office?.audit() ?? [];
  }

  /** Called when reports or problems may be others. */
  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  #tell(): void {
    this.#listeners.tell();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#subscriptions.dispose();
    this.#listeners.clear();
    this.#grantListeners.clear();
    this.#telling?.[Symbol.dispose]();
    await this.#office?.[Symbol.asyncDispose]();
  }
}
