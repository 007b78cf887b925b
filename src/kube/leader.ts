// Elects one of several replicas by a Lease: who cannot renew it in time stops leading before another may begin.
import { type Clock, systemClock } from '@weft/model/clock';
import { Listeners } from '@weft/model/listeners';
import type { Logger } from 'pino';
import type { KubeClient, KubeFailure, KubeObject } from './kube-api.ts';
import { numberAt, objectAt, textAt } from './object-fields.ts';
import { apiVersionOf, LEASES } from './resource.ts';

export interface LeaderOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Default `weft-control-plane`. */
  readonly name?: string;
  /** Of this replica, and of no other ever: the Pod's name is. */
  readonly identity: string;
  /** How long a leader that is not heard of is waited for; default 15 s. */
  readonly leaseMs?: number;
  /** After so long without a renewal a leader stops leading; default 10 s. Less than `leaseMs` by what clocks may differ in speed. */
  readonly renewMs?: number;
  /** Between tries; default 2 s, and up to a fifth more, so that replicas do not try together. */
  readonly retryMs?: number;
  readonly clock?: Clock;
  /** Milliseconds that pass evenly whatever is done to the clock of the machine; default the process's own. */
  readonly elapsedMs?: () => number;
  readonly random?: () => number;
  readonly log?: Logger;
}

export const LEADER_LEASE = 'weft-control-plane';
const DEFAULT_LEASE_MS = 15_000;
const DEFAULT_RENEW_MS = 10_000;
const DEFAULT_RETRY_MS = 2_000;
const JITTER = 0.2;

interface Holding {
  readonly holder: string;
  readonly durationSeconds: number;
  readonly transitions: number;
}

/** Runs from the start until it is disposed of. */
export function startLeaderElection(options: LeaderOptions): LeaderElection {
  return new LeaderElection(options);
}

/**
 * Source: the protocol of client-go's leader election, so that its tools can read the Lease. Clocks of others are not trusted:
 * a Lease has run out when nothing in it has changed for its duration by our own clock.
 */
export class LeaderElection implements AsyncDisposable {
  readonly identity: string;
  readonly #options: LeaderOptions;
  readonly #clock: Clock;
  readonly #elapsedMs: () => number;
  readonly #name: string;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #retryMs: number;
  readonly #listeners = new Listeners<boolean>();
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #isLeader = false;
  #leader: string | undefined;
  /** When the last renewal that came through was sent: before the server took it, so never too late. */
  #renewedAtMs = 0;
  /** What the Lease said when we saw it change last. */
  #observed: { readonly text: string; readonly atMs: number } | undefined;
  #expiry: Disposable | undefined;
  #cutWait: (() => void) | undefined;
  #failure: string | undefined;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.identity = options.identity;
    this.#clock = options.clock ?? systemClock;
    this.#elapsedMs = options.elapsedMs ?? (() => performance.now());
    this.#name = options.name ?? LEADER_LEASE;
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    this.#renewMs = options.renewMs ?? DEFAULT_RENEW_MS;
    this.#retryMs = options.retryMs ?? DEFAULT_RETRY_MS;
    if (!(this.#leaseMs > this.#renewMs && this.#renewMs > this.#retryMs * (1 + JITTER))) {
      throw new RangeError(
        `Cannot elect a leader: lease ${this.#leaseMs} ms, renewal ${this.#renewMs} ms and retry ${this.#retryMs} ms must fall`,
      );
    }
    this.#ended = this.#run();
  }

  /** Whether this one leads now: false from the moment in which another might. */
  get isLeader(): boolean {
    return this.#isLeader && this.#elapsedMs() < this.#renewedAtMs + this.#renewMs;
  }

  /** Who leads, as far as we have seen. */
  get leader(): string | undefined {
    return this.#leader;
  }

  /** Why the last try failed, when it did. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Told with every beginning and end of our own leading. */
  onChange(listener: (isLeader: boolean) => void): Disposable {
    return this.#listeners.add(listener);
  }

  get #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #run(): Promise<void> {
    const { random = Math.random } = this.#options;
    while (!this.#isStopped) {
      await this.#attempt();
      if (this.#isStopped) return;
      await this.#wait(this.#retryMs * (1 + JITTER * random()));
    }
  }

  /** One supervisor: a flaw of ours costs one try, not the election. */
  async #attempt(): Promise<void> {
    // A renewal that takes longer than that would come too late.
    const limit = new AbortController();
    using _ = this.#clock.setTimeout(() => limit.abort(), this.#renewMs - this.#retryMs);
    try {
      await this.#try(AbortSignal.any([limit.signal, this.#stop.signal]));
    } catch (error) {
      this.#options.log?.error({ err: error }, 'leader election failed');
    }
  }

  async #try(signal: AbortSignal): Promise<void> {
    const { client, namespace } = this.#options;
    const startedMs = this.#elapsedMs();
    const found = await client.get(LEASES, { namespace, name: this.#name }, signal);
    if (this.#isStopped) return;
    if (!found.ok) {
      if (found.code !== 404) return this.#failed(found);
      const made = await client.create(LEASES, this.#lease(undefined, 0), { signal });
      return made.ok ? this.#won(startedMs) : this.#failed(made);
    }
    const held = holdingOf(found.value);
    this.#observe(found.value, held);
    if (held.holder !== '' && held.holder !== this.identity && !this.#hasRunOut(held)) {
      this.#follows(held.holder);
      return;
    }
    const isOurs = held.holder === this.identity;
    const lease = this.#lease(found.value, held.transitions + (isOurs ? 0 : 1));
    const taken = await client.replace(LEASES, lease, { signal });
    if (taken.ok) this.#won(startedMs);
    else this.#failed(taken);
  }

  #observe(lease: KubeObject, held: Holding): void {
    const text = JSON.stringify(objectAt(lease, 'spec') ?? {});
    if (this.#observed?.text !== text) this.#observed = { text, atMs: this.#elapsedMs() };
    this.#leader = held.holder === '' ? undefined : held.holder;
    this.#failure = undefined;
  }

  #hasRunOut({ durationSeconds }: Holding): boolean {
    const sinceMs = this.#observed?.atMs ?? this.#elapsedMs();
    return this.#elapsedMs() >= sinceMs + durationSeconds * 1_000;
  }

  #lease(before: KubeObject | undefined, leaseTransitions: number): KubeObject {
    const { namespace } = this.#options;
    const now = microTime(this.#clock.now());
    const isOurs = textAt(before, 'spec', 'holderIdentity') === this.identity;
    return {
      ...before,
      apiVersion: apiVersionOf(LEASES),
      kind: LEASES.kind,
      // With the version that was read: of two that take it at once, one does.
      metadata: { ...objectAt(before, 'metadata'), name: this.#name, namespace },
      spec: {
        ...objectAt(before, 'spec'),
        holderIdentity: this.identity,
        leaseDurationSeconds: Math.ceil(this.#leaseMs / 1_000),
        acquireTime: (isOurs ? textAt(before, 'spec', 'acquireTime') : undefined) ?? now,
        renewTime: now,
        leaseTransitions,
      },
    };
  }

  #won(startedMs: number): void {
    if (this.#isStopped) return;
    this.#failure = undefined;
    this.#leader = this.identity;
    this.#renewedAtMs = startedMs;
    this.#expiry?.[Symbol.dispose]();
    const leftMs = startedMs + this.#renewMs - this.#elapsedMs();
    this.#expiry = this.#clock.setTimeout(() => this.#lose('not renewed in time'), leftMs);
    if (leftMs > 0) this.#setLeader(true, 'the lease is ours');
  }

  #follows(holder: string): void {
    if (this.#isLeader) this.#lose(`${holder} has the lease`);
  }

  #failed(failure: KubeFailure): void {
    if (this.#isStopped) return;
    // Somebody else was first: the next try sees who.
    if (failure.code === 409) return;
    if (this.#failure !== failure.message) {
      this.#options.log?.warn({ reason: failure.message }, 'leader election is held up');
    }
    this.#failure = failure.message;
  }

  #lose(why: string): void {
    this.#expiry?.[Symbol.dispose]();
    this.#expiry = undefined;
    this.#setLeader(false, why);
  }

  #setLeader(isLeader: boolean, reason: string): void {
    if (isLeader === this.#isLeader) return;
    this.#isLeader = isLeader;
    const { identity } = this;
    this.#options.log?.info({ identity, reason }, isLeader ? 'leading' : 'leading no more');
    this.#listeners.tell(isLeader);
  }

  async #wait(delayMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#cutWait = resolve;
    using _ = this.#clock.setTimeout(resolve, delayMs);
    await promise;
  }

  /** Stops leading, and gives the Lease back, so that the next need not wait for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isStopped) return this.#ended;
    const wasLeader = this.isLeader;
    this.#stop.abort();
    this.#cutWait?.();
    this.#lose('it is ending');
    await this.#ended;
    if (wasLeader) await this.#release();
  }

  async #release(): Promise<void> {
    const { client, namespace, log } = this.#options;
    const limit = new AbortController();
    using _ = this.#clock.setTimeout(() => limit.abort(), this.#retryMs);
    const { signal } = limit;
    const found = await client.get(LEASES, { namespace, name: this.#name }, signal);
    if (!found.ok || holdingOf(found.value).holder !== this.identity) return;
    const spec = objectAt(found.value, 'spec');
    // One second: the API server takes no less, and an empty holder is taken over at once.
    const released = { ...spec, holderIdentity: '', leaseDurationSeconds: 1 };
    const given = await client.replace(LEASES, { ...found.value, spec: released }, { signal });
    if (!given.ok) log?.warn({ reason: given.message }, 'lease not given back');
  }
}

function holdingOf(lease: KubeObject): Holding {
  return {
    holder: textAt(lease, 'spec', 'holderIdentity') ?? '',
    durationSeconds: numberAt(lease, 'spec', 'leaseDurationSeconds') ?? DEFAULT_LEASE_MS / 1_000,
    transitions: numberAt(lease, 'spec', 'leaseTransitions') ?? 0,
  };
}

/** As Kubernetes' MicroTime is written: six digits of a second. */
const microTime = (unixMs: number): string => new Date(unixMs).toISOString().replace('Z', '000Z');
