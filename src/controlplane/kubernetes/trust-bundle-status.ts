// Shows trust as the TrustBundle object, and takes from it the wish for another root: the leader's task.
import type { Authority } from '@weft/ca/authority';
import type { AuthorityStatus } from '@weft/ca/opened-state';
import type { KubeClient, KubeFailure, KubeObject } from '@weft/kube/kube-api';
import { type ListWatchStatus, startListWatch } from '@weft/kube/list-watch';
import { numberAt, objectAt, textAt } from '@weft/kube/object-fields';
import { apiVersionOf, TRUST_BUNDLES } from '@weft/kube/resource';
import { type Clock, systemClock } from '@weft/model/clock';
import type { Logger } from 'pino';

export interface TrustBundleOptions {
  readonly client: KubeClient;
  readonly authority: Pick<Authority, 'status' | 'startRotation' | 'onBundleChange' | 'onRenewNow'>;
  /** Why the CA's state in the cluster is not the one in force; absent or `undefined`: it is. */
  readonly problem?: () => string | undefined;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: () => number;
}

export const TRUST_BUNDLE = 'weft';
/** Between two looks, and so between two writes at least: what a rotation waits for changes with each proxy. */
const LOOK_MS = 1_000;
/** Between two tries of what failed. */
const RETRY_MS = 5_000;

export interface BundleCondition {
  readonly type: 'Ready' | 'Rotating';
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

/** Everything but transition times. Pure. */
export function describeTrust(
  status: AuthorityStatus,
  facts: { readonly problem: string | undefined; readonly observedRotate: string },
): { readonly fields: KubeObject; readonly conditions: readonly BundleCondition[] } {
  const { phase, waitsFor } = status.rotation;
  const fields = {
    trustDomain: status.trustDomain,
    bundleVersion: status.bundleVersion,
    phase,
    waitsFor,
    observedRotate: facts.observedRotate,
    roots: status.roots.map((root) => ({
      keyId: root.keyId,
      subject: root.subject,
      fingerprint: root.fingerprint,
      notBefore: isoSeconds(root.notBefore),
      notAfter: isoSeconds(root.notAfter),
      isActive: root.isActive,
    })),
  };
  const waiting = waitsFor.length === 0 ? 'it goes on by itself' : waitsFor.join('; ');
  const isRotating = phase !== 'stable';
  return {
    fields,
    conditions: [
      facts.problem === undefined
        ? { type: 'Ready', status: 'True', reason: 'StateKept', message: 'the CA issues' }
        : { type: 'Ready', status: 'False', reason: 'StateNotUsable', message: facts.problem },
      {
        type: 'Rotating',
        status: isRotating ? 'True' : 'False',
        reason: REASONS[phase],
        message: isRotating ? waiting : 'one root is trusted',
      },
    ],
  };
}

const REASONS: Readonly<Record<AuthorityStatus['rotation']['phase'], string>> = {
  stable: 'Stable',
  distribute: 'Distributing',
  sign: 'Signing',
  retire: 'Retiring',
};

const isoSeconds = (date: Date): string => `${date.toISOString().slice(0, -5)}Z`;

/** Runs until it is disposed of: begin when leading, end when leading no more. */
export function startTrustBundleStatus(options: TrustBundleOptions): TrustBundleStatus {
  return new TrustBundleStatus(options);
}

export class TrustBundleStatus implements AsyncDisposable {
  readonly #options: TrustBundleOptions;
  readonly #clock: Clock;
  readonly #owned = new AsyncDisposableStack();
  #object: KubeObject | undefined;
  /** Whether the object was looked for; what is not known to be absent is not created. */
  #isListed = false;
  #timer: Disposable | undefined;
  #running: Promise<void> | undefined;
  #isDisposed = false;
  #problem: string | undefined;

  constructor(options: TrustBundleOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { client, authority, log, random } = options;
    this.#owned.use(authority.onBundleChange(() => this.#look()));
    this.#owned.use(authority.onRenewNow(() => this.#look()));
    this.#owned.use(
      startListWatch<KubeObject>({
        client,
        resources: [TRUST_BUNDLES],
        fieldSelector: `metadata.name=${TRUST_BUNDLE}`,
        read: (object) => object,
        onListed: ([object]) => {
          this.#isListed = true;
          this.#seen(object);
        },
        onChanged: (object) => this.#seen(object),
        onDeleted: () => this.#seen(undefined),
        onStatus: (status) => this.#judge(status),
        clock: this.#clock,
        ...(log && { log }),
        ...(random && { random }),
      }),
    );
    this.#timer = this.#clock.setTimeout(() => this.#look(), LOOK_MS);
  }

  /** Why the object does not say what is true, when it does not. */
  get problem(): string | undefined {
    return this.#problem;
  }

  #judge(status: ListWatchStatus): void {
    if (status.kind === 'failing') this.#failed(status.failure);
  }

  #seen(object: KubeObject | undefined): void {
    this.#object = object;
    this.#look();
  }

  /** One look at a time; what changes meanwhile is seen by the next, which comes in any case. */
  #look(): void {
    if (this.#isDisposed || !this.#isListed || this.#running !== undefined) return;
    this.#timer?.[Symbol.dispose]();
    this.#running = this.#reconcile()
      .catch((error: unknown) => {
        this.#options.log?.error({ err: error }, 'trust bundle status not written');
        return RETRY_MS;
      })
      .then((delayMs) => {
        this.#running = undefined;
        if (!this.#isDisposed) {
          this.#timer = this.#clock.setTimeout(() => this.#look(), delayMs);
        }
      });
  }

  /** @returns when to look again. */
  async #reconcile(): Promise<number> {
    if (this.#object === undefined) return this.#create();
    const observedRotate = await this.#observe(this.#object);
    const status = this.#statusOf(this.#object, observedRotate);
    if (status === undefined) {
      this.#problem = undefined;
      return LOOK_MS;
    }
    const target = { name: TRUST_BUNDLE };
    return this.#written(
      await this.#options.client.patch(TRUST_BUNDLES, target, {
        type: 'merge',
        patch: { status },
        subresource: 'status',
      }),
    );
  }

  async #create(): Promise<number> {
    return this.#written(
      await this.#options.client.create(TRUST_BUNDLES, {
        apiVersion: apiVersionOf(TRUST_BUNDLES),
        kind: TRUST_BUNDLES.kind,
        metadata: { name: TRUST_BUNDLE },
        spec: {},
      }),
    );
  }

  #written(answer: Awaited<ReturnType<KubeClient['patch']>>): number {
    if (answer.ok) {
      this.#object = answer.value;
      this.#problem = undefined;
      return LOOK_MS;
    }
    // Created or deleted by somebody else: the watch shows it.
    if (answer.code !== 409 && answer.code !== 404) this.#failed(answer);
    return RETRY_MS;
  }

  #failed({ message }: KubeFailure): void {
    if (this.#problem !== message) {
      this.#options.log?.warn({ reason: message }, 'trust bundle status not written');
    }
    this.#problem = message;
  }

  /**
   * Begins a rotation when `spec.rotate` is another than the one observed. What an object says that never had a status is how things are:
   * installing it anew must not rotate. A wish that comes while a next root is on its way is met by that one.
   */
  async #observe(object: KubeObject): Promise<string> {
    const wanted = textAt(object, 'spec', 'rotate') ?? '';
    const observed = textAt(object, 'status', 'observedRotate');
    if (observed === undefined || wanted === observed || wanted === '') return wanted;
    const { phase } = this.#options.authority.status().rotation;
    if (phase === 'retire') return observed;
    if (phase !== 'stable') return wanted;
    const started = await this.#options.authority.startRotation();
    if (started.ok) this.#options.log?.info({ rotate: wanted }, 'rotation asked for');
    else this.#options.log?.warn({ reason: started.reason }, 'rotation not begun');
    return started.ok ? wanted : observed;
  }

  /** @returns `undefined` when the object says the same already. */
  #statusOf(object: KubeObject, observedRotate: string): KubeObject | undefined {
    const { authority, problem } = this.#options;
    const { fields, conditions } = describeTrust(authority.status(), {
      problem: problem?.(),
      observedRotate,
    });
    const observedGeneration = numberAt(object, 'metadata', 'generation') ?? 0;
    const before = conditionsOf(object);
    const now = isoSeconds(new Date(this.#clock.now()));
    const status = {
      ...fields,
      observedGeneration,
      conditions: conditions.map((condition) => {
        const known = before.get(condition.type);
        const isSame = textAt(known, 'status') === condition.status;
        const since = isSame ? textAt(known, 'lastTransitionTime') : undefined;
        return { ...condition, observedGeneration, lastTransitionTime: since ?? now };
      }),
    };
    return isWithin(status, objectAt(object, 'status')) ? undefined : status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
    await this.#owned.disposeAsync();
    await this.#running;
  }
}

function conditionsOf(object: KubeObject): ReadonlyMap<string, KubeObject> {
  const list = objectAt(object, 'status')?.['conditions'];
  const found = new Map<string, KubeObject>();
  for (const item of Array.isArray(list) ? list : []) {
    const condition = objectAt({ item }, 'item');
    const type = textAt(condition, 'type');
    if (condition !== undefined && type !== undefined) found.set(type, condition);
  }
  return found;
}

/** Whether all of `wanted` is in `found`, whatever the order of keys. */
function isWithin(wanted: unknown, found: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(found) &&
      wanted.length === found.length &&
      wanted.every((item, index) => isWithin(item, found[index]))
    );
  }
  if (typeof wanted !== 'object' || wanted === null) return wanted === found;
  const other = objectAt({ found }, 'found');
  return (
    other !== undefined &&
    Object.entries(wanted).every(([key, value]) => isWithin(value, other[key]))
  );
}
