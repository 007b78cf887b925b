// Keeps the webhooks of one configuration that Weft installs empty: knows how it stands, and writes it as it should be.
import { resourceVersionOf } from '@weft/kube/https-client';
import type { KubeClient, KubeFailure, KubeObject } from '@weft/kube/kube-api';
import { startListWatch } from '@weft/kube/list-watch';
import type { KubeResource } from '@weft/kube/resource';
import type { Clock } from '@weft/model/clock';
import { isJsonEqual } from '@weft/model/json-equal';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Logger } from 'pino';

export interface KeptWebhooksOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch' | 'patch'>;
  readonly resource: KubeResource;
  readonly name: string;
  /** Told when it may stand otherwise than it was written. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly random?: () => number;
  readonly log: Logger;
}

/** How it stands after a look. */
export type Putting =
  | { readonly kind: 'there' }
  /** Nobody knows yet, or who waited for the answer has ended. */
  | { readonly kind: 'unknown' }
  /** It is not there, or cannot be read. */
  | { readonly kind: 'absent'; readonly reason: string }
  | { readonly kind: 'failed'; readonly failure: KubeFailure };

interface Kept {
  readonly webhooks: unknown;
  readonly resourceVersion: string;
}

const readKept = (object: KubeObject): Kept => ({
  webhooks: object['webhooks'] ?? [],
  resourceVersion: resourceVersionOf(object),
});

/** Watches it until it is disposed of. */
export class KeptWebhooks implements AsyncDisposable {
  readonly #options: KeptWebhooksOptions;
  readonly #owned = new AsyncDisposableStack();
  #isListed = false;
  #failure: KubeFailure | undefined;
  #kept: Kept | undefined;

  constructor(options: KeptWebhooksOptions) {
    this.#options = options;
    const { client, resource, name, onChange, clock, random, log } = options;
    const take = (kept: Kept | undefined): void => {
      this.#isListed = true;
      this.#kept = kept;
      onChange();
    };
    this.#owned.use(
      startListWatch<Kept>({
        client,
        clock,
        log,
        ...(random && { random }),
        resources: [resource],
        fieldSelector: `metadata.name=${name}`,
        read: readKept,
        onListed: ([kept]) => take(kept),
        onChanged: take,
        onDeleted: () => take(undefined),
        onStatus: (status) => {
          this.#failure = status.kind === 'failing' ? status.failure : undefined;
          if (this.#failure !== undefined) onChange();
        },
      }),
    );
  }

  get name(): string {
    return this.#options.name;
  }

  /** @param webhooks the whole list, defaults written out */
  async put(webhooks: readonly PlainObject[], signal: AbortSignal): Promise<Putting> {
    const { client, resource, name, log } = this.#options;
    if (signal.aborted) return { kind: 'unknown' };
    if (!this.#isListed) {
      const reason = this.#failure?.message;
      return reason === undefined || webhooks.length === 0
        ? { kind: 'unknown' }
        : { kind: 'absent', reason };
    }
    const kept = this.#kept;
    if (kept === undefined) {
      if (webhooks.length === 0) return { kind: 'there' };
      return { kind: 'absent', reason: `there is no ${resource.kind} ${name}: install it again` };
    }
    if (isJsonEqual(kept.webhooks, webhooks)) return { kind: 'there' };
    const { resourceVersion } = kept;
    const patch = { metadata: { resourceVersion }, webhooks };
    const answer = await client.patch(resource, { name }, { type: 'merge', patch, signal });
    if (signal.aborted) return { kind: 'unknown' };
    if (!answer.ok) return { kind: 'failed', failure: answer };
    this.#kept = readKept(answer.value);
    log.info({ name, webhooks: webhooks.length }, 'webhooks written');
    return { kind: 'there' };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync();
  }
}
