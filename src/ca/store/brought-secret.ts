// Takes the issuing CA from a Secret that somebody else keeps, as cert-manager does: tls.crt, tls.key and ca.crt.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { textAt } from '@weft/kube/object-fields';
import { SECRETS } from '@weft/kube/resource';
import { type Clock, systemClock } from '@weft/model/clock';
import type { Logger } from 'pino';
import { type BroughtCa, readBroughtCa } from '../brought.ts';
import { Listeners } from '@weft/model/listeners';
import type { IssuingMaterial } from './store.ts';

export interface BroughtSecretOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly secretName: string;
  readonly log?: Logger;
  readonly clock?: Clock;
}

/** 1 h: how often a CA that nobody touches is looked at for its end. */
const LOOK_AGAIN_MS = 3_600_000;

export const createBroughtSecret = (options: BroughtSecretOptions): BroughtSecret =>
  new BroughtSecret(options);

export class BroughtSecret implements BroughtCa, AsyncDisposable {
  readonly name: string;
  readonly #options: BroughtSecretOptions;
  readonly #clock: Clock;
  readonly #listeners = new Listeners<IssuingMaterial>();
  #problem: string | undefined;
  #watch: ListWatch | undefined;
  #object: KubeObject | undefined;
  #timer: Disposable | undefined;

  constructor(options: BroughtSecretOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.name = `Secret ${options.namespace}/${options.secretName}`;
  }

  /** Why what is in the Secret now is not taken, or will not do for long; the CA of before stays in use. */
  get problem(): string | undefined {
    return this.#problem;
  }

  async load(): Promise<IssuingMaterial> {
    const { client, namespace, secretName: name } = this.#options;
    const answer = await client.get(SECRETS, { namespace, name });
    if (!answer.ok) {
      if (answer.code !== 404) throw new Error(answer.message);
      throw new Error(
        `Cannot open the CA: ${this.name} (--ca-secret) is not there; make it, of type kubernetes.io/tls with tls.crt, tls.key and ca.crt`,
      );
    }
    const reading = this.#read(answer.value);
    if (reading.ok) return reading.material;
    throw new Error(`Cannot use ${this.name} (--ca-secret): ${reading.problems.join('; ')}`);
  }

  #read(object: KubeObject) {
    const text = (key: string): string =>
      Buffer.from(textAt(object, 'data', key) ?? '', 'base64').toString('utf8');
    const pem = { chain: text('tls.crt'), key: text('tls.key'), root: text('ca.crt') };
    return readBroughtCa(pem, this.#clock.now());
  }

  subscribe(listener: (material: IssuingMaterial) => void): Disposable {
    const subscription = this.#listeners.add(listener);
    this.#watch ??= this.#follow();
    return subscription;
  }

  #follow(): ListWatch {
    const { client, namespace, secretName, log } = this.#options;
    this.#lookAgain();
    return startListWatch<KubeObject>({
      client,
      resources: [SECRETS],
      namespace,
      fieldSelector: `metadata.name=${secretName}`,
      read: (object) => object,
      onListed: ([object]) => this.#seen(object),
      onChanged: (object) => this.#seen(object),
      onDeleted: () => this.#seen(undefined),
      clock: this.#clock,
      ...(log && { log }),
    });
  }

  /** An end that comes near is said, though nothing has changed. */
  #lookAgain(): void {
    this.#timer = this.#clock.setTimeout(() => {
      if (this.#object !== undefined) this.#seen(this.#object);
      this.#lookAgain();
    }, LOOK_AGAIN_MS);
  }

  #seen(object: KubeObject | undefined): void {
    this.#object = object;
    if (object === undefined) {
      this.#setProblem(`${this.name} (--ca-secret) is gone: the CA that it held stays in use`);
      return;
    }
    const reading = this.#read(object);
    if (reading.ok) {
      this.#setProblem(undefined);
      this.#listeners.tell(reading.material);
      return;
    }
    const why = reading.problems.join('; ');
    this.#setProblem(
      `${this.name} (--ca-secret) cannot be used, and the CA of before stays in use: ${why}`,
    );
  }

  #setProblem(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem === undefined) this.#options.log?.info('brought ca is good again');
    else this.#options.log?.error({ reason: problem }, 'brought ca is not good');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.[Symbol.dispose]();
    await this.#watch?.[Symbol.asyncDispose]();
  }
}
