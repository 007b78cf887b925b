// Feeds a sidecar of its own file with credentials: follows the sources in this process, and says anew what is granted at each change.
import {
  CredentialBroker,
  type FollowedPlace,
} from '@weft/controlplane/credentials/credential-broker';
import { grantedCredential } from '@weft/controlplane/credentials/granted-credential';
import { openConfiguredSources } from '@weft/controlplane/credentials/sources/configured-sources';
import { type Credential, readCredential } from '@weft/dataplane/credentials/credential';
import type { CredentialFeed, FedCredentials } from '@weft/dataplane/credentials/options';
import { systemClock } from '@weft/model/clock';
import type { CredentialSpec } from '@weft/model/credentials/types';
import type { Logger } from 'pino';
import type { StaticCredentialsConfig } from './read-credentials.ts';
import { WORKLOAD } from './workload-objects.ts';

interface Followed {
  readonly spec: CredentialSpec;
  readonly place: FollowedPlace;
}

export class StaticCredentials implements AsyncDisposable {
  readonly #broker: CredentialBroker;
  readonly #log: Logger;
  #grants: readonly CredentialSpec[];
  #followed: readonly Followed[] = [];
  #take: ((fed: FedCredentials) => void) | undefined;
  /** Why each is not there, as it was said last. */
  #missing: ReadonlyMap<string, string> = new Map();

  /** @throws Error that names the source which cannot be opened. */
  static async open(config: StaticCredentialsConfig, log: Logger): Promise<StaticCredentials> {
    const sources = await openConfiguredSources({ configs: config.sources, clock: systemClock });
    return new StaticCredentials(new CredentialBroker(sources), config.grants, log);
  }

  private constructor(broker: CredentialBroker, grants: readonly CredentialSpec[], log: Logger) {
    this.#broker = broker;
    this.#grants = grants;
    this.#log = log;
  }

  readonly feed: CredentialFeed = (take) => {
    this.#take = take;
    this.#follow();
    return {
      [Symbol.dispose]: () => {
        this.#take = undefined;
        this.#letGo();
      },
    };
  };

  /** Others are granted from now on. */
  replace(grants: readonly CredentialSpec[]): void {
    this.#grants = grants;
    if (this.#take !== undefined) this.#follow();
  }

  /** The new ones first: a place that stays is not read again. */
  #follow(): void {
    const before = this.#followed;
    this.#followed = this.#grants.map((spec) => ({
      spec,
      place: this.#broker.follow(WORKLOAD.namespace, spec.source, () => this.#tell()),
    }));
    for (const { place } of before) place[Symbol.dispose]();
    this.#tell();
  }

  #letGo(): void {
    for (const { place } of this.#followed) place[Symbol.dispose]();
    this.#followed = [];
  }

  /** Once every place has been asked: before that nothing that is missing is known to be gone. */
  #tell(): void {
    if (this.#followed.some(({ place }) => place.state.kind === 'pending')) return;
    const credentials: Credential[] = [];
    const missing = new Map<string, string>();
    for (const { spec, place } of this.#followed) {
      const made = credentialOf(spec, place);
      if (typeof made === 'string') missing.set(spec.name, made);
      else credentials.push(made);
    }
    for (const [name, reason] of missing) {
      if (this.#missing.get(name) === reason) continue;
      this.#log.warn({ credential: name, reason }, 'a credential cannot be had');
    }
    this.#missing = missing;
    this.#take?.({ credentials });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#letGo();
    await this.#broker[Symbol.asyncDispose]();
  }
}

/** @returns why there is none. */
function credentialOf(credential: CredentialSpec, { state }: FollowedPlace): Credential | string {
  const { namespace, serviceAccount } = WORKLOAD;
  const binding = {
    namespace,
    name: 'credentials',
    createdAtMs: 0,
    serviceAccounts: [serviceAccount],
    selector: undefined,
    credentials: [credential],
  };
  const granted = grantedCredential({ binding, credential }, state);
  if (granted.kind === 'pending') return 'its source has not answered';
  if (granted.kind !== 'values') return granted.reason;
  const read = readCredential(granted.message());
  return read.ok ? read.credential : read.reason;
}
