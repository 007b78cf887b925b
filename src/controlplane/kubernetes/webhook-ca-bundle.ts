// Keeps the CA bundle in the webhook configurations, by which the API server knows our webhooks: the leader's task.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { startListWatch } from '@weft/kube/list-watch';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { type KubeResource, MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS } from '@weft/kube/resource';
import { type Clock, systemClock } from '@weft/model/clock';
import { isPlainObject } from '@weft/model/policy/reader';
import type { Logger } from 'pino';

export interface WebhookCaBundleOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch' | 'patch'>;
  readonly bundle: () => { readonly pem: string };
  readonly onBundleChange: (listener: () => void) => Disposable;
  /** Default: the two that Weft installs. */
  readonly configurations?: readonly WebhookConfiguration[];
  /** Told with each change of `problems`. */
  readonly onProblems?: (problems: readonly string[]) => void;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: () => number;
}

export interface WebhookConfiguration {
  readonly resource: KubeResource;
  readonly name: string;
}

export const INJECTOR = 'weft-injector';
export const VALIDATOR = 'weft-validator';
export const WEBHOOK_CONFIGURATIONS: readonly WebhookConfiguration[] = [
  { resource: MUTATING_WEBHOOKS, name: INJECTOR },
  { resource: VALIDATING_WEBHOOKS, name: VALIDATOR },
];

/** After a patch that failed. */
const RETRY_MS = 5_000;
/** Whoever else writes a bundle there should not be fought with more often than that. */
const PUT_BACK_MS = 1_000;
/** Names of webhooks and their bundles are all that is looked at. */
const MAX_WEBHOOKS = 64;

interface Found {
  /** Of each webhook in it, in order; `undefined` for one that has none. */
  readonly bundles: readonly (string | undefined)[];
  readonly resourceVersion: string;
}

/** Runs until it is disposed of: begin when leading, end when leading no more. */
export function startWebhookCaBundles(options: WebhookCaBundleOptions): WebhookCaBundles {
  return new WebhookCaBundles(options);
}

export class WebhookCaBundles implements AsyncDisposable {
  readonly #options: WebhookCaBundleOptions;
  readonly #keepers: readonly Keeper[];
  readonly #owned = new AsyncDisposableStack();
  #told = '';

  constructor(options: WebhookCaBundleOptions) {
    this.#options = options;
    const { configurations = WEBHOOK_CONFIGURATIONS } = options;
    this.#keepers = configurations.map((configuration) =>
      this.#owned.use(new Keeper(configuration, options, () => this.#tell())),
    );
    this.#owned.use(
      options.onBundleChange(() => {
        for (const keeper of this.#keepers) keeper.check();
      }),
    );
  }

  /** Why the API server may not reach our webhooks, as sentences; empty when every one has the bundle of now. */
  get problems(): readonly string[] {
    return this.#keepers.flatMap(({ problem }) => problem ?? []);
  }

  #tell(): void {
    const { problems } = this;
    const text = problems.join('\n');
    if (text === this.#told) return;
    this.#told = text;
    for (const reason of problems) this.#options.log.warn({ reason }, 'webhook not kept');
    this.#options.onProblems?.(problems);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync();
  }
}

/** One configuration. */
class Keeper implements AsyncDisposable {
  readonly #configuration: WebhookConfiguration;
  readonly #options: WebhookCaBundleOptions;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #stop = new AbortController();
  readonly #owned = new AsyncDisposableStack();
  #found: Found | undefined;
  #writing: Promise<void> | undefined;
  #timer: Disposable | undefined;
  #notBeforeMs = 0;
  problem: string | undefined;

  constructor(
    configuration: WebhookConfiguration,
    options: WebhookCaBundleOptions,
    onChange: () => void,
  ) {
    this.#configuration = configuration;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#onChange = onChange;
    const { resource, name } = configuration;
    const { client, random } = options;
    this.#owned.use(
      startListWatch<Found>({
        client,
        clock: this.#clock,
        ...(random && { random }),
        resources: [resource],
        fieldSelector: `metadata.name=${name}`,
        read: readFound,
        onListed: ([found]) => this.#take(found),
        onChanged: (found) => this.#take(found),
        onDeleted: () => this.#take(undefined),
        onStatus: (status) => {
          if (status.kind === 'failing') this.#setProblem(status.failure.message);
        },
      }),
    );
  }

  #take(found: Found | undefined): void {
    this.#found = found;
    this.check();
  }

  check(): void {
    if (this.#stop.signal.aborted) return;
    const { resource, name } = this.#configuration;
    if (this.#found === undefined) {
      this.#setProblem(
        `there is no ${resource.kind} ${name}, so that webhook is never asked: install it again`,
      );
      return;
    }
    const wanted = this.#wanted();
    if (this.#found.bundles.every((bundle) => bundle === wanted)) {
      this.#setProblem(undefined);
      return;
    }
    const waitMs = this.#notBeforeMs - this.#clock.now();
    if (waitMs > 0) this.#later(waitMs);
    else this.#writing ??= this.#write(this.#found, wanted);
  }

  #wanted(): string {
    return Buffer.from(this.#options.bundle().pem).toString('base64');
  }

  #later(delayMs: number): void {
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      this.check();
    }, delayMs);
  }

  async #write({ bundles, resourceVersion }: Found, wanted: string): Promise<void> {
    const { resource, name } = this.#configuration;
    this.#notBeforeMs = this.#clock.now() + PUT_BACK_MS;
    const answer = await this.#options.client.patch(
      resource,
      { name },
      {
        type: 'json',
        patch: [
          // Places in the list hold for the version that was read, and for no other.
          { op: 'test', path: '/metadata/resourceVersion', value: resourceVersion },
          ...bundles.map((_, index) => ({
            op: 'add',
            path: `/webhooks/${index}/clientConfig/caBundle`,
            value: wanted,
          })),
        ],
        signal: this.#stop.signal,
      },
    );
    this.#writing = undefined;
    if (this.#stop.signal.aborted) return;
    if (answer.ok) {
      this.#options.log.info({ webhooks: name }, 'ca bundle written');
      this.#take(readFound(answer.value));
      return;
    }
    // Changed meanwhile: the watch brings the newer version, and the look after this one takes it.
    const isLate = answer.code === 409 || answer.code === 422;
    if (!isLate) this.#setProblem(answer.message);
    const delayMs = isLate ? PUT_BACK_MS : RETRY_MS;
    this.#notBeforeMs = this.#clock.now() + delayMs;
    this.#later(delayMs);
  }

  #setProblem(problem: string | undefined): void {
    this.problem = problem;
    this.#onChange();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#timer?.[Symbol.dispose]();
    await this.#owned.disposeAsync();
    await this.#writing;
  }
}

function readFound(object: KubeObject): Found {
  const { webhooks } = object;
  const list: readonly unknown[] = Array.isArray(webhooks) ? webhooks.slice(0, MAX_WEBHOOKS) : [];
  return {
    bundles: list.map((webhook) =>
      isPlainObject(webhook) ? textAt(objectAt(webhook, 'clientConfig'), 'caBundle') : undefined,
    ),
    resourceVersion: textAt(object, 'metadata', 'resourceVersion') ?? '',
  };
}
