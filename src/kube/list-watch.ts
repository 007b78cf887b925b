// Follows one resource of the API server: lists it page by page, watches it from there, and starts again when it must.
import type { Clock } from '@weft/model/clock';
import { systemClock } from '@weft/model/clock';
import type { Logger } from 'pino';
import { resourceVersionOf } from './https-client.ts';
import type { KubeClient, KubeFailure, KubeObject, KubeResult, WatchEvent } from './kube-api.ts';
import { FIRST_STEP, nextStep, type StepOutcome } from './list-watch-steps.ts';
import { resourceName, type KubeResource } from './resource.ts';

export type ListWatchStatus =
  | { readonly kind: 'starting' }
  /** What failed has succeeded since. */
  | { readonly kind: 'good' }
  | {
      readonly kind: 'failing';
      readonly verb: 'list' | 'watch';
      readonly failure: KubeFailure;
      /** In a row. */
      readonly failures: number;
      readonly sinceMs: number;
    };

export interface ListWatchOptions<T> {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  /** Versions of one resource, the preferred first: the first that the server has is followed. */
  readonly resources: readonly [KubeResource, ...KubeResource[]];
  readonly namespace?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly isMetadataOnly?: boolean;
  /** Objects a page; fewer where they are large. Default 500. */
  readonly pageSize?: number;
  /** Called once for each version of an object; the object itself is not kept. */
  readonly read: (object: KubeObject, resource: KubeResource) => T;
  /** All that there is: what is not among them is gone. */
  readonly onListed: (items: readonly T[]) => void;
  readonly onChanged: (item: T) => void;
  /** The last version before it went. */
  readonly onDeleted: (object: KubeObject, resource: KubeResource) => void;
  readonly onStatus?: (status: ListWatchStatus) => void;
  readonly log?: Logger;
  readonly clock?: Clock;
  /** From 0 to 1. */
  readonly random?: () => number;
}

export interface ListWatch extends AsyncDisposable {
  readonly status: ListWatchStatus;
  /** Cuts a wait short: something has changed that may help. */
  retryNow(): void;
}

/** Objects a page: a few MiB of Pods, read in a few tens of milliseconds. */
const PAGE_SIZE = 500;
/** A watch that lasted so long was one, though it brought nothing. */
const GOOD_WATCH_MS = 1_000;

/** Runs until it is disposed of; whatever the server answers, it goes on. */
export function startListWatch<T>(options: ListWatchOptions<T>): ListWatch {
  return new Follower(options);
}

class Follower<T> implements ListWatch {
  readonly #options: ListWatchOptions<T>;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #resource: KubeResource;
  #state = FIRST_STEP;
  #status: ListWatchStatus = { kind: 'starting' };
  #cutWait: (() => void) | undefined;
  #isHurried = false;

  constructor(options: ListWatchOptions<T>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#resource = options.resources[0];
    this.#ended = this.#run();
  }

  get status(): ListWatchStatus {
    return this.#status;
  }

  retryNow(): void {
    if (this.#cutWait === undefined) this.#isHurried = true;
    else this.#cutWait();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#cutWait?.();
    await this.#ended;
  }

  get #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      this.#isHurried = false;
      const outcome = await this.#step();
      if (this.#isStopped) return;
      const { state, delayMs } = nextStep(this.#state, outcome, this.#random());
      this.#state = state;
      this.#judge(outcome, delayMs);
      await this.#wait(delayMs);
    }
  }

  async #step(): Promise<StepOutcome> {
    const { version } = this.#state;
    try {
      return version === undefined ? await this.#list() : await this.#watch(version);
    } catch (error) {
      // A flaw of ours in taking over what came: listing anew is the way back.
      this.#options.log?.error(
        { err: error, resource: resourceName(this.#resource) },
        'taking over objects failed',
      );
      return { kind: 'list-failed', failure: this.#ownFailure(error) };
    }
  }

  #ownFailure(error: unknown): KubeFailure {
    const why = error instanceof Error ? error.message : String(error);
    const message = `Cannot take over ${resourceName(this.#resource)}: ${why}`;
    return { ok: false, kind: 'malformed', code: 0, reason: 'Internal', message };
  }

  async #list(): Promise<StepOutcome> {
    let first: KubeFailure | undefined;
    for (const resource of this.#options.resources) {
      const listed = await this.#listPages(resource);
      if (listed.ok) {
        this.#resource = resource;
        if (!this.#isStopped) this.#handOver(listed.value.items);
        return { kind: 'listed', version: listed.value.version };
      }
      first ??= listed;
      if (listed.code !== 404) return { kind: 'list-failed', failure: listed };
    }
    return { kind: 'list-failed', failure: first ?? this.#ownFailure('no version to list') };
  }

  #handOver(items: readonly T[]): void {
    // A watch that fails is not made good by the list that follows it.
    const isWatchFailing = this.#status.kind === 'failing' && this.#status.verb === 'watch';
    if (!isWatchFailing) this.#setStatus({ kind: 'good' });
    this.#options.onListed(items);
  }

  async #listPages(
    resource: KubeResource,
  ): Promise<KubeResult<{ readonly items: readonly T[]; readonly version: string }>> {
    const { client, namespace, fieldSelector, isMetadataOnly, read, pageSize } = this.#options;
    const items: T[] = [];
    let continueToken: string | undefined;
    for (;;) {
      const page = await client.list(resource, {
        namespace,
        limit: pageSize ?? PAGE_SIZE,
        signal: this.#stop.signal,
        ...(fieldSelector !== undefined && { fieldSelector }),
        ...(isMetadataOnly !== undefined && { isMetadataOnly }),
        ...(continueToken !== undefined && { continueToken }),
      });
      if (!page.ok) return page;
      for (const object of page.value.items) items.push(read(object, resource));
      // Each page has the version of the first.
      const version = page.value.resourceVersion;
      if (page.value.continueToken === undefined) return { ok: true, value: { items, version } };
      ({ continueToken } = page.value);
    }
  }

  async #watch(from: string): Promise<StepOutcome> {
    const { client, namespace, fieldSelector, isMetadataOnly } = this.#options;
    const startedMs = this.#clock.now();
    let version = from;
    let isOpen = false;
    let hasEvents = false;
    let flaw: { readonly error: unknown } | undefined;
    const broken = new AbortController();
    const end = await client.watch(this.#resource, {
      namespace,
      resourceVersion: from,
      signal: AbortSignal.any([this.#stop.signal, broken.signal]),
      ...(fieldSelector !== undefined && { fieldSelector }),
      ...(isMetadataOnly !== undefined && { isMetadataOnly }),
      onOpen: () => {
        isOpen = true;
        this.#setStatus({ kind: 'good' });
      },
      onEvent: (event) => {
        if (this.#isStopped || flaw !== undefined) return;
        hasEvents = true;
        try {
          version = this.#take(event, version);
        } catch (error) {
          flaw = { error };
          broken.abort();
        }
      },
    });
    if (flaw !== undefined) throw flaw.error;
    const hasLasted = isOpen && this.#clock.now() - startedMs >= GOOD_WATCH_MS;
    return { kind: 'watch-ended', end, version, wasGood: hasEvents || hasLasted };
  }

  /** @returns the version that is reached. An event that is not after the last one was seen already. */
  #take(event: WatchEvent, last: string): string {
    const version =
      event.kind === 'bookmark' ? event.resourceVersion : resourceVersionOf(event.object);
    if (!isAfter(version, last)) return last;
    if (event.kind === 'deleted') this.#options.onDeleted(event.object, this.#resource);
    else if (event.kind !== 'bookmark') {
      this.#options.onChanged(this.#options.read(event.object, this.#resource));
    }
    return version;
  }

  #judge(outcome: StepOutcome, delayMs: number): void {
    if (outcome.kind === 'listed' || (outcome.kind === 'watch-ended' && outcome.end.ok)) return;
    const failure = outcome.kind === 'list-failed' ? outcome.failure : outcome.end;
    // Nothing is amiss with a version that has become too old.
    if (failure.ok || delayMs === 0) return;
    const { failures } = this.#state;
    const sinceMs = this.#status.kind === 'failing' ? this.#status.sinceMs : this.#clock.now();
    const verb = outcome.kind === 'list-failed' ? 'list' : 'watch';
    this.#setStatus({ kind: 'failing', verb, failure, failures, sinceMs });
  }

  #setStatus(status: ListWatchStatus): void {
    this.#status = status;
    this.#options.onStatus?.(status);
  }

  async #wait(delayMs: number): Promise<void> {
    if (delayMs === 0 || this.#isHurried || this.#isStopped) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#cutWait = resolve;
    const timer = this.#clock.setTimeout(resolve, delayMs);
    await promise;
    timer[Symbol.dispose]();
    this.#cutWait = undefined;
  }
}

const isDecimal = (text: string): boolean => text.length > 0 && /^[0-9]+$/.test(text);

/**
 * Versions of one resource are decimal numbers that grow (KEP-5504); of others nothing can be said but that they
 * differ.
 */
export function isAfter(version: string, last: string): boolean {
  if (!isDecimal(version) || !isDecimal(last)) return version !== last;
  if (version.length !== last.length) return version.length > last.length;
  return version > last;
}
