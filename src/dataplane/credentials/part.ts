// The place of credentials in a sidecar: nothing but this is loaded until the workload or the control plane asks for them.
import type { Credentials, CredentialsDependencies } from './credentials.ts';
import type { Injections } from './injection.ts';
import type { CredentialsOptions } from './options.ts';

export interface CredentialsPartOptions extends CredentialsDependencies {
  readonly options: CredentialsOptions | undefined;
  /** What is still missing may have come. */
  readonly onChange: () => void;
}

export class CredentialsPart implements AsyncDisposable {
  readonly #options: CredentialsPartOptions;
  #credentials: Promise<Credentials> | undefined;
  #loaded: Credentials | undefined;
  #hasIdentity = false;
  #isDisposed = false;

  constructor(options: CredentialsPartOptions) {
    this.#options = options;
  }

  get injections(): Injections | undefined {
    return this.#loaded?.injections;
  }

  /** Where the application asks for them. */
  get address(): string | undefined {
    return this.#loaded?.address;
  }

  /** Why the application cannot be served yet: it waits for what it was told it would find. */
  get reasons(): readonly string[] {
    if (this.#options.options === undefined || this.#loaded?.isComplete === true) return [];
    return ['no word yet of which credentials are granted'];
  }

  /** Opens what the workload asked for. @throws Error that says what cannot be opened, and why. */
  async start(): Promise<void> {
    const { options } = this.#options;
    if (options !== undefined) await (await this.#load()).open(options);
  }

  /** The control plane says that something is granted to this identity. */
  wanted(): void {
    if (this.#credentials !== undefined || this.#isDisposed) return;
    this.#load().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.log.error({ reason }, 'cannot handle credentials');
    });
  }

  identityChanged(hasIdentity: boolean): void {
    if (this.#hasIdentity === hasIdentity) return;
    this.#hasIdentity = hasIdentity;
    if (hasIdentity) this.#loaded?.watch();
    else this.#loaded?.unwatch();
  }

  #load(): Promise<Credentials> {
    this.#credentials ??= this.#create();
    return this.#credentials;
  }

  async #create(): Promise<Credentials> {
    const { Credentials } = await import('./credentials.ts');
    const credentials = new Credentials(this.#options);
    credentials.onChange(this.#options.onChange);
    this.#loaded = credentials;
    if (this.#hasIdentity) credentials.watch();
    return credentials;
  }

  /** Names, versions and ways, for people; `undefined` where nothing is granted. */
  describe(): unknown {
    return this.#loaded?.describe();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    await (await this.#credentials)?.[Symbol.asyncDispose]();
  }
}
