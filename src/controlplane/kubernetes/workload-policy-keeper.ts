// Keeps what WorkloadPolicies ask in the API server's own policies, and its webhook asking about the right Pods: the leader's task.
import { resourceVersionOf } from '@weft/kube/https-client';
import type { KubeClient, KubeFailure, KubeObject } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { objectAt, textAt } from '@weft/kube/object-fields';
import {
  type KubeResource,
  MUTATING_WEBHOOKS,
  VALIDATING_ADMISSION_BINDINGS,
  VALIDATING_ADMISSION_POLICIES,
  VALIDATING_WEBHOOKS,
} from '@weft/kube/resource';
import { resolvesImages } from '@weft/model/admission/check-images';
import type { CheckContext } from '@weft/model/admission/check-workload';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import type { Clock } from '@weft/model/clock';
import { isJsonEqual } from '@weft/model/json-equal';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Logger } from 'pino';
import { OWN_LABEL, renderedName, renderPolicy } from '../admission/render-policies.ts';
import {
  asksMore,
  IMAGES,
  renderImageWebhooks,
  renderWebhooks,
  type WebhookRendering,
  WORKLOADS,
} from '../admission/render-webhooks.ts';
import { workloadPoliciesOf } from '../admission/workload-policies.ts';
import { SoonestTimer } from '../core/soonest-timer.ts';
import type { Source } from '../registry/source.ts';
import { KeptWebhooks } from './kept-webhooks.ts';

export interface WorkloadPolicyKeeperOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch' | 'create' | 'replace' | 'patch' | 'delete'>;
  readonly source: Pick<Source, 'state' | 'subscribe'>;
  readonly context: Omit<CheckContext, 'nowMs'>;
  readonly bundle: () => { readonly pem: string };
  readonly onBundleChange: (listener: () => void) => Disposable;
  readonly clientConfig?: WebhookRendering['clientConfig'];
  /** Told after each change of what `stateOf` says. */
  readonly onChange?: () => void;
  readonly clock: Clock;
  readonly random?: () => number;
  readonly log: Logger;
}

/** How far the API server has a policy. */
export interface Rendering {
  /** Of the ValidatingAdmissionPolicy; absent where nothing of it could be one. */
  readonly name?: string;
  /** Whether the API server has to ask the webhook about it as well. */
  readonly isAsked: boolean;
  /** As it is now; false until it was seen there. */
  readonly isInPlace: boolean;
  /** Why not. */
  readonly problem?: string;
}

/** 50 ms: policies that are written together are rendered together. */
const SETTLE_MS = 50;
/** After a write that failed; doubled with each that follows, up to the second. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
/** Whoever else changes what is kept here is not fought with more often than that. */
const PUT_BACK_MS = 1_000;
/** The longest that a timer can be set for with certainty; exemptions may end later. */
const LONGEST_MS = 3_600_000;

interface Kept {
  readonly name: string;
  readonly isOwn: boolean;
  readonly content: unknown;
  readonly resourceVersion: string;
}

interface Shelf {
  readonly resource: KubeResource;
  /** Absent until it was listed. */
  kept: Map<string, Kept> | undefined;
  failure: KubeFailure | undefined;
}

const shelfOf = (resource: KubeResource): Shelf => ({
  resource,
  kept: undefined,
  failure: undefined,
});

/** Runs until it is disposed of: begin when leading, end when leading no more. */
export class WorkloadPolicyKeeper implements AsyncDisposable {
  readonly #options: WorkloadPolicyKeeperOptions;
  readonly #owned = new AsyncDisposableStack();
  readonly #stop = new AbortController();
  readonly #policies = shelfOf(VALIDATING_ADMISSION_POLICIES);
  readonly #bindings = shelfOf(VALIDATING_ADMISSION_BINDINGS);
  readonly #webhooks: KeptWebhooks;
  readonly #imageWebhooks: KeptWebhooks;
  readonly #problems = new Map<string, string>();
  readonly #inPlace = new Map<string, unknown>();
  /** The API server asks the webhook about what these are for. */
  #asked: ReadonlySet<WorkloadPolicy> = new Set();
  #running: Promise<void> | undefined;
  #isDue = false;
  readonly #timer: SoonestTimer;
  #retryMs = FIRST_RETRY_MS;

  constructor(options: WorkloadPolicyKeeperOptions) {
    this.#options = options;
    this.#timer = new SoonestTimer(options.clock, () => this.#start());
    const soon = (): void => this.#timer.schedule(SETTLE_MS);
    this.#owned.use(options.source.subscribe(soon));
    this.#owned.use(options.onBundleChange(soon));
    for (const shelf of [this.#policies, this.#bindings]) this.#owned.use(this.#follow(shelf));
    const keep = (resource: KubeResource, name: string): KeptWebhooks =>
      this.#owned.use(new KeptWebhooks({ ...options, resource, name, onChange: soon }));
    this.#webhooks = keep(VALIDATING_WEBHOOKS, WORKLOADS);
    this.#imageWebhooks = keep(MUTATING_WEBHOOKS, IMAGES);
    soon();
  }

  /** What is wrong with keeping them, as sentences. */
  get problems(): readonly string[] {
    return [...new Set(this.#problems.values())];
  }

  /** @returns `undefined` when it asks for nothing that the API server could enforce by itself. */
  stateOf(policy: WorkloadPolicy): Rendering | undefined {
    const rendered = renderPolicy(policy, this.#context());
    const isAsked = asksMore(policy);
    if (rendered === undefined && !isAsked) return undefined;
    const { name } = rendered ?? {};
    const isWritten =
      rendered === undefined ||
      isJsonEqual(this.#inPlace.get(rendered.name), rendered.policy['spec']);
    const isInPlace = isWritten && (!isAsked || this.#asked.has(policy));
    const problem =
      (name === undefined ? undefined : this.#problems.get(name)) ??
      this.#problems.get(WORKLOADS) ??
      (resolvesImages(policy) ? this.#problems.get(IMAGES) : undefined);
    return {
      ...(name !== undefined && { name }),
      isAsked,
      isInPlace,
      ...(problem !== undefined && !isInPlace && { problem }),
    };
  }

  #context(): CheckContext {
    return { ...this.#options.context, nowMs: this.#options.clock.now() };
  }

  #follow(shelf: Shelf): ListWatch {
    const { client, clock, random, log } = this.#options;
    const changed = (): void => this.#timer.schedule(SETTLE_MS);
    return startListWatch<Kept>({
      client,
      clock,
      log,
      ...(random && { random }),
      resources: [shelf.resource],
      read: readKept,
      onListed(items) {
        shelf.kept = new Map(items.map((item) => [item.name, item]));
        changed();
      },
      onChanged(item) {
        shelf.kept?.set(item.name, item);
        changed();
      },
      onDeleted(object) {
        shelf.kept?.delete(readKept(object).name);
        changed();
      },
      onStatus(status) {
        shelf.failure = status.kind === 'failing' ? status.failure : undefined;
        if (shelf.failure !== undefined) changed();
      },
    });
  }

  #start(): void {
    if (this.#running !== undefined) {
      this.#isDue = true;
      return;
    }
    this.#running = this.#keep()
      .catch((error: unknown) => {
        // A flaw of ours is met again, not left.
        this.#options.log.error({ err: error }, 'workload policies not kept');
        this.#timer.schedule(LAST_RETRY_MS);
      })
      .then(() => {
        this.#running = undefined;
        if (this.#isDue) {
          this.#isDue = false;
          this.#timer.schedule(SETTLE_MS);
        }
      });
  }

  async #keep(): Promise<void> {
    const policies = workloadPoliciesOf(this.#options.source.state.snapshot);
    const context = this.#context();
    this.#problems.clear();
    const rendered = policies.flatMap((policy) => renderPolicy(policy, context) ?? []);
    const names = new Set(rendered.map(({ name }) => name));
    if (this.#policies.kept !== undefined && this.#bindings.kept !== undefined) {
      for (const { name, policy, binding } of rendered) {
        const isWritten =
          (await this.#put(this.#policies, policy)) && (await this.#put(this.#bindings, binding));
        if (isWritten) this.#inPlace.set(name, policy['spec']);
        else this.#inPlace.delete(name);
      }
      // What refuses goes last: nothing is bound to a policy that is not there.
      for (const shelf of [this.#bindings, this.#policies]) await this.#removeOthers(shelf, names);
    }
    this.#noteFailures(names);
    for (const name of this.#inPlace.keys()) if (!names.has(name)) this.#inPlace.delete(name);
    await this.#putWebhooks(policies);
    this.#options.onChange?.();
    this.#scheduleNext(policies, context.nowMs);
  }

  /** An API server before 1.30 has no policies of its own. */
  #noteFailures(names: ReadonlySet<string>): void {
    const failure = this.#policies.failure ?? this.#bindings.failure;
    if (failure === undefined) return;
    const message =
      failure.code === 404
        ? 'the API server has no ValidatingAdmissionPolicies: the webhook alone enforces it'
        : failure.message;
    for (const name of names) {
      this.#problems.set(name, message);
      // Away, it still enforces what it has.
      if (failure.code === 404) this.#inPlace.delete(name);
    }
  }

  /** @returns whether it stands there as wanted. */
  async #put(shelf: Shelf, wanted: PlainObject): Promise<boolean> {
    const { client, log } = this.#options;
    const name = textAt(wanted, 'metadata', 'name') ?? '';
    const there = shelf.kept?.get(name);
    if (there !== undefined && isJsonEqual(there.content, wanted['spec'])) return true;
    const options = { signal: this.#stop.signal };
    const metadata = objectAt(wanted, 'metadata');
    const answer =
      there === undefined
        ? await client.create(shelf.resource, wanted, options)
        : await client.replace(
            shelf.resource,
            { ...wanted, metadata: { ...metadata, resourceVersion: there.resourceVersion } },
            options,
          );
    if (this.#stop.signal.aborted) return false;
    if (!answer.ok) {
      this.#failed(name, answer);
      return false;
    }
    const kept = readKept(answer.value);
    shelf.kept?.set(name, kept);
    log.info({ kind: shelf.resource.kind, name }, 'workload policy rendered');
    if (isJsonEqual(kept.content, wanted['spec'])) return true;
    this.#problems.set(name, `${shelf.resource.kind} ${name} is changed by who admits it`);
    this.#timer.schedule(LAST_RETRY_MS);
    return false;
  }

  async #removeOthers(shelf: Shelf, names: ReadonlySet<string>): Promise<void> {
    const { client, log } = this.#options;
    for (const { name, isOwn } of shelf.kept?.values() ?? []) {
      if (!isOwn || names.has(name) || this.#stop.signal.aborted) continue;
      const answer = await client.delete(shelf.resource, { name }, { signal: this.#stop.signal });
      if (answer.ok || answer.code === 404) {
        shelf.kept?.delete(name);
        log.info({ kind: shelf.resource.kind, name }, 'workload policy taken away');
      } else this.#failed(name, answer);
    }
  }

  /** Whoever cannot be rendered is enforced by the webhook alone, which is then waited for. */
  async #putWebhooks(policies: readonly WorkloadPolicy[]): Promise<void> {
    const { bundle, clientConfig, context } = this.#options;
    const rendering: WebhookRendering = {
      rootNamespace: context.rootNamespace,
      caBundle: Buffer.from(bundle().pem).toString('base64'),
      isNative: (policy) => !this.#problems.has(renderedName(policy)),
      ...(clientConfig && { clientConfig }),
    };
    // Digests are given before they are asked for.
    const images = renderImageWebhooks(policies, rendering);
    const isResolving = await this.#putOne(this.#imageWebhooks, images);
    const isAsking = await this.#putOne(this.#webhooks, renderWebhooks(policies, rendering));
    this.#asked = new Set(
      isAsking ? policies.filter((policy) => isResolving || !resolvesImages(policy)) : [],
    );
  }

  /** @returns whether it stands as wanted. */
  async #putOne(kept: KeptWebhooks, webhooks: readonly PlainObject[]): Promise<boolean> {
    const putting = await kept.put(webhooks, this.#stop.signal);
    if (putting.kind === 'absent') this.#problems.set(kept.name, putting.reason);
    if (putting.kind === 'failed') this.#failed(kept.name, putting.failure);
    return putting.kind === 'there';
  }

  #failed(name: string, { message, code }: KubeFailure): void {
    if (this.#stop.signal.aborted) return;
    // Changed meanwhile: the watch brings the newer version.
    const isLate = code === 409;
    if (!isLate) {
      this.#problems.set(name, message);
      this.#options.log.warn({ name, reason: message }, 'workload policy not rendered');
    }
    this.#timer.schedule(isLate ? PUT_BACK_MS : this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  /** An exemption that ends is taken out of what was rendered. */
  #scheduleNext(policies: readonly WorkloadPolicy[], nowMs: number): void {
    if (this.#problems.size === 0) this.#retryMs = FIRST_RETRY_MS;
    const ends = policies
      .flatMap(({ exemptions }) => exemptions.map(({ expiresAtMs }) => expiresAtMs))
      .filter((at) => at > nowMs);
    if (ends.length > 0) this.#timer.schedule(Math.min(Math.min(...ends) - nowMs, LONGEST_MS));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#timer[Symbol.dispose]();
    await this.#owned.disposeAsync();
    await this.#running;
  }
}

const readKept = (object: KubeObject): Kept => ({
  name: textAt(object, 'metadata', 'name') ?? '',
  isOwn: textAt(object, 'metadata', 'labels', OWN_LABEL) !== undefined,
  content: object['spec'],
  resourceVersion: resourceVersionOf(object),
});
