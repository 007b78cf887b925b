// Puts beside a cluster's objects the Secrets and ConfigMaps that they name, each followed by its own name, and no others of the cluster.
import type { KubeClient } from '@weft/kube/kube-api';
import type { Clock } from '@weft/model/clock';
import type { DataObject, RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { SecretText } from '@weft/model/secret-text';
import { Listeners } from '@weft/model/listeners';
import { createSecretSource } from '../../credentials/sources/secret-source.ts';
import type { CredentialSource, SourceReading } from '../../credentials/sources/source.ts';
import { type Difference, differences, PersistentMap } from '../persistent-map.ts';
import type { SourceState } from '../source.ts';
import { createConfigMapSource } from './config-map-source.ts';
import type { KubernetesSource } from './kubernetes-source.ts';

/** Each is a watch of its own; those beyond are not followed, and what names them stays closed. */
const MAX_SECRETS = 2_000;

export interface NamedSecretsOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  readonly clock: Clock;
  readonly random?: () => number;
}

/** Of the object's own namespace: `Secret/NAMESPACE/NAME`, `ConfigMap/NAMESPACE/NAME`. */
export function namedBy(object: RegistryObject | undefined): readonly string[] {
  switch (object?.kind) {
    case 'TlsTermination': {
      const { namespace, certificates, clientCertificates } = object.policy;
      const trust = clientCertificates?.trust;
      return [...certificates, ...(trust === undefined ? [] : [trust])].flatMap((one) =>
        one.kind === 'secret' ? [`Secret/${namespace}/${one.name}`] : [],
      );
    }
    case 'BasicAuthentication':
      return [`Secret/${object.policy.namespace}/${object.policy.users.secret}`];
    case 'ExternalService': {
      const { namespace, tls } = object.service;
      return [tls?.ca, tls?.client].flatMap((one) => {
        if (one?.kind === 'configMap') return [`ConfigMap/${namespace}/${one.name}`];
        return one?.kind === 'secret' ? [`Secret/${namespace}/${one.name}`] : [];
      });
    }
    default:
      return [];
  }
}

/**
 * The same source with those Secrets in its snapshots. One that may not be read is as one that is not there. The first
 * state has all that could be read: for want of one that is about to be read nobody loses what it has.
 */
export async function withNamedSecrets(
  source: KubernetesSource,
  options: NamedSecretsOptions,
): Promise<KubernetesSource> {
  const whole = new SourceWithSecrets(source, options);
  await whole.firstReading(options.clock);
  return whole;
}

/** 10 s: an API server that has just listed everything else answers sooner, or not at all. */
const FIRST_READING_MS = 10_000;

interface Followed {
  /** How many objects name it. */
  count: number;
  readonly subscription: Disposable | undefined;
}

class SourceWithSecrets implements KubernetesSource {
  readonly #source: KubernetesSource;
  readonly #sources: { readonly [K in DataObject['of']]: CredentialSource };
  readonly #followed = new Map<string, Followed>();
  readonly #data = new Map<string, DataObject>();
  /** Of which nothing has been said yet. */
  readonly #unread = new Set<string>();
  readonly #allRead = Promise.withResolvers<void>();
  readonly #listeners = new Listeners();
  readonly #subscription: Disposable;
  #base: SourceState;
  #state: SourceState;

  constructor(source: KubernetesSource, options: NamedSecretsOptions) {
    this.#source = source;
    this.#sources = {
      Secret: createSecretSource(options),
      ConfigMap: createConfigMapSource(options),
    };
    this.#base = source.state;
    this.#state = source.state;
    this.#follow(differences(new Map<string, RegistryObject>(), this.#base.snapshot.objects));
    this.#subscription = source.subscribe(() => this.#onChange());
  }

  get state(): SourceState {
    return this.#state;
  }

  get staleSinceMs(): number | undefined {
    return this.#source.staleSinceMs;
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  async firstReading(clock: Clock): Promise<void> {
    if (this.#unread.size === 0) return;
    using _ = clock.setTimeout(() => this.#allRead.resolve(), FIRST_READING_MS);
    await this.#allRead.promise;
  }

  #onChange(): void {
    const before = this.#base.snapshot.objects;
    this.#base = this.#source.state;
    this.#follow(differences(before, this.#base.snapshot.objects));
    this.#advance();
  }

  #follow(changes: Iterable<Difference<RegistryObject>>): void {
    for (const { before, after } of changes) {
      // First what is new: what both name is never let go in between.
      for (const place of namedBy(after)) this.#hold(place);
      for (const place of namedBy(before)) this.#release(place);
    }
  }

  #hold(place: string): void {
    const known = this.#followed.get(place);
    if (known !== undefined) known.count++;
    else if (this.#followed.size < MAX_SECRETS) {
      this.#unread.add(place);
      const { of, at } = partsOf(place);
      const subscription = this.#sources[of].follow(at, (reading) =>
        this.#onReading(place, reading),
      );
      this.#followed.set(place, { count: 1, subscription });
    }
  }

  #release(place: string): void {
    const known = this.#followed.get(place);
    if (known === undefined || --known.count > 0) return;
    known.subscription?.[Symbol.dispose]();
    this.#followed.delete(place);
    this.#unread.delete(place);
    this.#data.delete(place);
  }

  #onReading(place: string, reading: SourceReading): void {
    const isLast = this.#unread.delete(place) && this.#unread.size === 0;
    if (this.#followed.has(place) && reading.kind !== 'unavailable') {
      if (reading.kind === 'gone') this.#data.delete(place);
      else this.#data.set(place, dataOf(place, reading.values));
      this.#advance();
    }
    if (isLast) this.#allRead.resolve();
  }

  #advance(): void {
    this.#state = { ...this.#base, snapshot: this.#nextSnapshot() };
    this.#listeners.tell();
  }

  #nextSnapshot(): Snapshot {
    const { snapshot } = this.#base;
    const entries = [...this.#data];
    const objects =
      snapshot.objects instanceof PersistentMap
        ? snapshot.objects.with(entries)
        : new Map([...snapshot.objects, ...entries]);
    return { revision: this.#state.snapshot.revision + 1, objects };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription[Symbol.dispose]();
    this.#listeners.clear();
    for (const { subscription } of this.#followed.values()) subscription?.[Symbol.dispose]();
    for (const source of Object.values(this.#sources)) await source[Symbol.asyncDispose]();
    await this.#source[Symbol.asyncDispose]();
  }
}

const partsOf = (place: string): { readonly of: DataObject['of']; readonly at: string } => ({
  of: place.startsWith('ConfigMap/') ? 'ConfigMap' : 'Secret',
  at: place.slice(place.indexOf('/') + 1),
});

const NOTHING: ReadonlyMap<string, string> = new Map();

function dataOf(place: string, values: ReadonlyMap<string, Uint8Array>): DataObject {
  const { of, at } = partsOf(place);
  const [namespace = '', name = ''] = at.split('/');
  return {
    kind: 'Data',
    of,
    meta: { namespace, name, labels: NOTHING, annotations: NOTHING },
    values: new Map(
      [...values].map(([key, bytes]) => [key, new SecretText(Buffer.from(bytes).toString('utf8'))]),
    ),
  };
}
