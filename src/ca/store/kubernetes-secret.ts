// Keeps the CA's state in a Secret that all replicas of the control plane share: written with optimistic locking, followed by a watch.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { isAfter, type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { textAt } from '@weft/kube/object-fields';
import { apiVersionOf, CONFIG_MAPS, SECRETS } from '@weft/kube/resource';
import { type Clock, systemClock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import type { Logger } from 'pino';
import { Listeners } from '@weft/model/listeners';
import { openState } from '../opened-state.ts';
import { decodeState, encodeState } from './state-codec.ts';
import type { CaState, CaStore, SaveResult } from './store.ts';

export interface KubernetesSecretOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly trustDomain: TrustDomain;
  /** Default `weft-ca`. */
  readonly name?: string;
  readonly log?: Logger;
  readonly clock?: Clock;
}

export const CA_SECRET = 'weft-ca';
export const BUNDLE_CONFIG_MAP = 'weft-trust-bundle';
const STATE_KEY = 'state.json';
/** 5 s: until a Secret that could not be put back is tried again. */
const RETRY_MS = 5_000;
const LABELS = { 'app.kubernetes.io/part-of': 'weft', 'app.kubernetes.io/name': 'weft-ca' };

/** A state that was read or written, with the text and version that the Secret had with it. */
interface Seen {
  readonly state: CaState;
  readonly text: string;
  readonly version: string;
}

type Reading =
  | { readonly ok: true; readonly value: Seen }
  | { readonly ok: false; readonly reason: string };

export function createKubernetesSecretStore(
  options: KubernetesSecretOptions,
): KubernetesSecretStore {
  return new KubernetesSecretStore(options);
}

export class KubernetesSecretStore implements CaStore {
  readonly #options: KubernetesSecretOptions;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #states = new Listeners<CaState>();
  readonly #problems = new Listeners<string | undefined>();
  /** Of every state that this store gave or took. */
  readonly #versions = new WeakMap<CaState, string>();
  #latest: Seen | undefined;
  #problem: string | undefined;
  #watch: ListWatch | undefined;
  #saves = 0;
  /** What came while a save was under way: it may be the save's own trace. */
  #held: (() => void) | undefined;
  #again: Disposable | undefined;

  constructor(options: KubernetesSecretOptions) {
    this.#options = options;
    this.#name = options.name ?? CA_SECRET;
    this.#clock = options.clock ?? systemClock;
  }

  /** Why what is in the Secret is not in force; the last good state is then. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Told when `problem` has changed. */
  onProblem(listener: (problem: string | undefined) => void): Disposable {
    return this.#problems.add(listener);
  }

  get #place(): string {
    return `Secret ${this.#options.namespace}/${this.#name}`;
  }

  async load(): Promise<CaState | undefined> {
    const found = await this.#get();
    if (found === undefined) return this.#noSecret();
    const seen = this.#read(found);
    if (!seen.ok) throw new Error(`Cannot read ${this.#place}: ${seen.reason}; ${this.#cure}`);
    this.#keep(seen.value);
    return seen.value.state;
  }

  async #get(): Promise<KubeObject | undefined> {
    const { client, namespace } = this.#options;
    const answer = await client.get(SECRETS, { namespace, name: this.#name });
    if (answer.ok) return answer.value;
    if (answer.code === 404) return undefined;
    throw new Error(answer.message);
  }

  /** A bundle without a CA: the CA was lost, and with a new root no workload would get in any more. */
  async #noSecret(): Promise<CaState | undefined> {
    const { client, namespace } = this.#options;
    const target = { namespace, name: BUNDLE_CONFIG_MAP };
    const answer = await client.get(CONFIG_MAPS, target);
    if (!answer.ok) {
      if (answer.code === 404) return undefined;
      throw new Error(answer.message);
    }
    // Another replica may have made both in between; it makes the Secret first.
    if ((await this.#get()) !== undefined) return this.load();
    throw new Error(
      `Cannot open the CA: ConfigMap ${namespace}/${BUNDLE_CONFIG_MAP} is there, and ${this.#place} is not; ` +
        `restore the Secret from a backup, or, to begin with a new root, run: kubectl -n ${namespace} delete configmap ${BUNDLE_CONFIG_MAP} ` +
        '(every workload must then be restarted)',
    );
  }

  get #cure(): string {
    const { namespace } = this.#options;
    return (
      `restore it from a backup; while a control plane still runs that has read it before, it is enough to run: kubectl -n ${namespace} delete secret ${this.#name} ` +
      '(it is put back as it was)'
    );
  }

  #read(object: KubeObject): Reading {
    const version = textAt(object, 'metadata', 'resourceVersion') ?? '';
    const base64 = textAt(object, 'data', STATE_KEY);
    if (base64 === undefined) return { ok: false, reason: `it has no key ${STATE_KEY}` };
    const text = Buffer.from(base64, 'base64').toString('utf8');
    const { state, text: known } = this.#latest ?? {};
    if (state !== undefined && text === known) return { ok: true, value: { state, text, version } };
    const reading = decodeState(text);
    if (!reading.ok) return reading;
    return this.#usable({ state: reading.state, text, version });
  }

  /** A checksum says that nobody has typed in it, not that keys and certificates belong together. */
  #usable(seen: Seen): Reading {
    const { trustDomain } = seen.state;
    // At the start the authority itself says so, and how.
    if (this.#latest !== undefined && trustDomain !== this.#options.trustDomain) {
      return { ok: false, reason: `it is the CA of trust domain ${trustDomain}` };
    }
    try {
      openState(seen.state);
      return { ok: true, value: seen };
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  #keep(seen: Seen): void {
    this.#latest = seen;
    this.#versions.set(seen.state, seen.version);
    this.#setProblem(undefined);
  }

  async save(state: CaState, replaces: CaState | undefined): Promise<SaveResult> {
    this.#saves++;
    try {
      return replaces === undefined
        ? await this.#create(state)
        : await this.#replace(state, this.#versions.get(replaces));
    } finally {
      this.#saves--;
      const held = this.#held;
      this.#held = undefined;
      held?.();
    }
  }

  async #create(state: CaState): Promise<SaveResult> {
    const { client, namespace } = this.#options;
    const text = encodeState(state);
    const answer = await client.create(SECRETS, {
      apiVersion: apiVersionOf(SECRETS),
      kind: SECRETS.kind,
      type: 'Opaque',
      metadata: { name: this.#name, namespace, labels: LABELS },
      data: { [STATE_KEY]: Buffer.from(text).toString('base64') },
    });
    return this.#saved(answer, state, text);
  }

  /** A patch, so that labels and annotations of others stay; with the version, so that a state of others does too. */
  async #replace(state: CaState, resourceVersion: string | undefined): Promise<SaveResult> {
    if (resourceVersion === undefined) return this.#conflict();
    const { client, namespace } = this.#options;
    const text = encodeState(state);
    const data = { [STATE_KEY]: Buffer.from(text).toString('base64') };
    const answer = await client.patch(
      SECRETS,
      { namespace, name: this.#name },
      { type: 'merge', patch: { metadata: { resourceVersion }, data } },
    );
    if (!answer.ok && answer.code === 404) return this.#create(state);
    return this.#saved(answer, state, text);
  }

  #saved(
    answer: Awaited<ReturnType<KubeClient['create']>>,
    state: CaState,
    text: string,
  ): SaveResult {
    if (answer.ok) {
      const version = textAt(answer.value, 'metadata', 'resourceVersion') ?? '';
      this.#keep({ state, text, version });
      return { ok: true };
    }
    if (answer.code === 409) return this.#conflict();
    return { ok: false, reasonCode: 'store-failed', reason: answer.message };
  }

  #conflict(): SaveResult {
    const reason = `${this.#place} was written by another in the meantime; try again`;
    return { ok: false, reasonCode: 'conflict', reason };
  }

  /** The bundle goes to every namespace: the leader sees to that. */
  publishBundle(): Promise<SaveResult> {
    return Promise.resolve({ ok: true });
  }

  subscribe(listener: (state: CaState) => void): Disposable {
    const subscription = this.#states.add(listener);
    this.#watch ??= this.#follow();
    return subscription;
  }

  #follow(): ListWatch {
    const { client, namespace, log } = this.#options;
    return startListWatch<KubeObject>({
      client,
      resources: [SECRETS],
      namespace,
      fieldSelector: `metadata.name=${this.#name}`,
      read: (object) => object,
      onListed: ([object]) => {
        if (object === undefined) this.#gone();
        else this.#noticed(object);
      },
      onChanged: (object) => this.#noticed(object),
      onDeleted: () => this.#gone(),
      clock: this.#clock,
      ...(log && { log }),
    });
  }

  #noticed(object: KubeObject): void {
    if (this.#saves > 0) {
      this.#held = () => this.#noticed(object);
      return;
    }
    const before = this.#latest;
    const version = textAt(object, 'metadata', 'resourceVersion') ?? '';
    if (before !== undefined && !isAfter(version, before.version)) return;
    const seen = this.#read(object);
    if (!seen.ok) {
      const kept = 'the state before stays in force';
      this.#setProblem(`${this.#place} cannot be used, and ${kept}: ${seen.reason}; ${this.#cure}`);
      return;
    }
    this.#keep(seen.value);
    if (seen.value.state !== before?.state) this.#states.tell(seen.value.state);
  }

  /** Whoever has the last good state puts it back: with none, the next replica to start would have no CA. */
  #gone(): void {
    const latest = this.#latest;
    if (latest === undefined) return;
    if (this.#saves > 0) {
      this.#held = () => this.#gone();
      return;
    }
    this.#setProblem(`${this.#place} is gone; it is being put back`);
    this.#putBack(latest.state).catch((error: unknown) =>
      this.#options.log?.error({ err: error }, 'ca secret not put back'),
    );
  }

  async #putBack(state: CaState): Promise<void> {
    const saved = await this.save(state, undefined);
    if (saved.ok) this.#options.log?.warn({ secret: this.#name }, 'ca secret put back');
    // Another has put it back: the watch shows it.
    if (saved.ok || saved.reasonCode === 'conflict') return;
    this.#setProblem(`${this.#place} is gone, and cannot be put back: ${saved.reason}`);
    this.#again?.[Symbol.dispose]();
    this.#again = this.#clock.setTimeout(() => this.#gone(), RETRY_MS);
  }

  #setProblem(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem === undefined) this.#options.log?.info('ca secret is good again');
    else this.#options.log?.error({ reason: problem }, 'ca secret is not good');
    this.#problems.tell(problem);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#again?.[Symbol.dispose]();
    await this.#watch?.[Symbol.asyncDispose]();
  }
}
