// Keeps the keys of federated trust domains: fetched, refreshed, never gone back, and believed only for so long after the last good fetch.
import type { Clock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import type { SpiffeBundle } from '@weft/model/federation/bundle-document';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import type { TrustDomain } from '@weft/model/identity';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';
import type { Logger } from 'pino';
import { AddressGuard } from '../fetch/guard-address.ts';
import type { Resolve } from '../fetch/guarded-request.ts';
import { fetchBundle, type FetchedBundle, type FetchOptions } from './fetch-bundle.ts';
import { configurationOf, type KeptBundle, type KeptBundles } from './kept-bundles.ts';

/** By trust domain; another map whenever one of them is another. */
export type FederatedBundles = ReadonlyMap<TrustDomain, SpiffeBundle>;

export interface FederationState {
  readonly federation: FederatedTrustDomain;
  /** Of the last good fetch. */
  readonly bundle?: SpiffeBundle;
  readonly fetchedAtMs?: number;
  /** When the keys are believed no more, unless they are fetched again. */
  readonly holdsUntilMs?: number;
  readonly isInForce: boolean;
  /** Of the last fetch, when it has failed. */
  readonly failure?: string;
}

export interface FederationsOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Over a restart; absent: not. */
  readonly kept?: KeptBundles;
  /** Bounds of what publishers ask for; default {@link MIN_REFRESH_MS}. */
  readonly minRefreshMs?: number;
  readonly resolve?: Resolve;
  /** 0 ≤ r < 1. */
  readonly random?: () => number;
  readonly fetch?: (
    federation: FederatedTrustDomain,
    options: FetchOptions,
  ) => Promise<FetchedBundle>;
}

/** 10 s: whoever asks for more has all his consumers call six times a minute. */
export const MIN_REFRESH_MS = 10_000;
/** 1 h, whatever the publisher asks for: a key that it takes back is believed for so long. */
export const MAX_REFRESH_MS = 3_600_000;
/** 5 min, where it says nothing. */
const DEFAULT_REFRESH_MS = 300_000;
/** After a first failure; then twice as long each time. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 300_000;
/** Longer, a timer would not be kept exactly. */
const MAX_TIMER_MS = 86_400_000;

interface Entry {
  federation: FederatedTrustDomain;
  readonly configuration: string;
  good: KeptBundle | undefined;
  isInForce: boolean;
  failure: string | undefined;
  failures: number;
  isBusy: boolean;
  timer: Disposable | undefined;
  expiry: Disposable | undefined;
}

export class Federations implements Disposable {
  readonly #options: FederationsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Listeners();
  readonly #end = new AbortController();
  readonly #fetches = { good: 0, failed: 0 };
  #bundles: FederatedBundles = new Map();
  readonly #guard = new AddressGuard();
  #saving: Promise<void> = Promise.resolve();

  constructor(options: FederationsOptions) {
    this.#options = options;
  }

  /** Those that are believed now. */
  get bundles(): FederatedBundles {
    return this.#bundles;
  }

  /** Since the start. */
  get fetches(): { readonly good: number; readonly failed: number } {
    return this.#fetches;
  }

  states(): readonly FederationState[] {
    return [...this.#entries.values()].map(stateOf);
  }

  /** Called when `bundles`, `states` or `problems` may say something else. */
  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  /** What is federated with now: others are forgotten, new ones are fetched. */
  want(wanted: readonly FederatedTrustDomain[], allowedNetworks: readonly string[]): void {
    if (this.#end.signal.aborted) return;
    const isGuardNew = this.#guard.follow(allowedNetworks);
    const byConfiguration = new Map(wanted.map((one) => [configurationOf(one), one]));
    let isLess = false;
    for (const [configuration, entry] of this.#entries) {
      if (byConfiguration.has(configuration)) continue;
      this.#forget(entry);
      isLess = true;
    }
    for (const [configuration, federation] of byConfiguration) {
      const known = this.#entries.get(configuration);
      if (known === undefined) this.#begin(configuration, federation);
      else {
        const isKeptOtherwise = known.federation.keepForMs !== federation.keepForMs;
        known.federation = federation;
        if (isKeptOtherwise) this.#judgeAge(known);
        if (isGuardNew && known.failure !== undefined) this.#schedule(known, 0);
      }
    }
    if (isLess) this.#publish();
  }

  problems(): readonly Problem[] {
    return [...this.#entries.values()].flatMap(problemsOf);
  }

  [Symbol.dispose](): void {
    this.#end.abort();
    for (const entry of this.#entries.values()) stopTimers(entry);
    this.#entries.clear();
    this.#listeners.clear();
  }

  #begin(configuration: string, federation: FederatedTrustDomain): void {
    const entry: Entry = {
      federation,
      configuration,
      good: undefined,
      isInForce: false,
      failure: undefined,
      failures: 0,
      isBusy: true,
      timer: undefined,
      expiry: undefined,
    };
    this.#entries.set(configuration, entry);
    void this.#recall(entry);
  }

  /** What was kept holds as long as it would have, and is asked for anew at once. */
  async #recall(entry: Entry): Promise<void> {
    const { kept, log, clock } = this.#options;
    try {
      const good = await kept?.load(entry.federation);
      if (good !== undefined && this.#isCurrent(entry)) {
        entry.good = { ...good, fetchedAtMs: Math.min(good.fetchedAtMs, clock.now()) };
        this.#judgeAge(entry);
      }
    } catch (error) {
      log.error({ reason: errorText(error) }, 'kept bundles of federated trust domains not read');
    }
    entry.isBusy = false;
    this.#start(entry);
  }

  #isCurrent(entry: Entry): boolean {
    return !this.#end.signal.aborted && this.#entries.get(entry.configuration) === entry;
  }

  #forget(entry: Entry): void {
    stopTimers(entry);
    this.#entries.delete(entry.configuration);
  }

  #schedule(entry: Entry, delayMs: number): void {
    entry.timer?.[Symbol.dispose]();
    entry.timer = this.#options.clock.setTimeout(() => this.#start(entry), delayMs);
  }

  #start(entry: Entry): void {
    if (entry.isBusy || !this.#isCurrent(entry)) return;
    entry.isBusy = true;
    void this.#run(entry);
  }

  /** Never rejects. */
  async #run(entry: Entry): Promise<void> {
    const { fetch = fetchBundle, resolve } = this.#options;
    let fetched: FetchedBundle;
    try {
      fetched = await fetch(entry.federation, {
        signal: this.#end.signal,
        isAllowed: this.#guard.isAllowed,
        roots: rootsOf(entry),
        ...(resolve && { resolve }),
      });
    } catch (error) {
      fetched = { ok: false, reason: error instanceof Error ? error.name : 'unknown' };
    }
    entry.isBusy = false;
    if (!this.#isCurrent(entry)) return;
    const why = fetched.ok ? whyNotNewer(entry, fetched.bundle, fetched.document) : fetched.reason;
    if (fetched.ok && why === undefined) this.#take(entry, fetched);
    else this.#failed(entry, why ?? '');
  }

  #take(entry: Entry, { bundle, document }: Extract<FetchedBundle, { ok: true }>): void {
    const { clock, log } = this.#options;
    const { trustDomain } = entry.federation;
    this.#fetches.good++;
    if (document !== entry.good?.document) {
      const { sequence, x509Authorities, jwtAuthorities } = bundle;
      const count = { roots: x509Authorities.length, tokenKeys: jwtAuthorities.length };
      log.info({ trustDomain, sequence, ...count }, 'bundle of a federated trust domain taken');
    }
    entry.good = { bundle, document, fetchedAtMs: clock.now() };
    entry.failure = undefined;
    entry.failures = 0;
    this.#judgeAge(entry);
    this.#save();
    this.#schedule(entry, this.#spread(this.#refreshMs(bundle)));
  }

  #failed(entry: Entry, reason: string): void {
    this.#fetches.failed++;
    if (entry.failure !== reason) {
      const { trustDomain } = entry.federation;
      this.#options.log.warn({ trustDomain, reason }, 'bundle of a trust domain not fetched');
    }
    entry.failure = reason;
    const delayMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** entry.failures);
    entry.failures = Math.min(entry.failures + 1, 32);
    this.#schedule(entry, this.#spread(delayMs));
    this.#notify();
  }

  #refreshMs({ refreshHintSeconds }: SpiffeBundle): number {
    const { minRefreshMs = MIN_REFRESH_MS } = this.#options;
    if (refreshHintSeconds === undefined) return DEFAULT_REFRESH_MS;
    return Math.min(Math.max(refreshHintSeconds * 1_000, minRefreshMs), MAX_REFRESH_MS);
  }

  /** Up to a tenth earlier, so that not all control planes ask at once. */
  #spread(delayMs: number): number {
    const { random = Math.random } = this.#options;
    return delayMs * (1 - random() / 10);
  }

  /** Puts the keys in force, or takes them out of it when they are too old. */
  #judgeAge(entry: Entry): void {
    const { clock, log } = this.#options;
    entry.expiry?.[Symbol.dispose]();
    entry.expiry = undefined;
    const untilMs = holdsUntil(entry);
    const leftMs = untilMs === undefined ? 0 : untilMs - clock.now();
    const wasInForce = entry.isInForce;
    entry.isInForce = leftMs > 0;
    if (leftMs > 0) {
      const delayMs = Math.min(leftMs, MAX_TIMER_MS);
      entry.expiry = clock.setTimeout(() => this.#judgeAge(entry), delayMs);
    } else if (wasInForce) {
      const { trustDomain } = entry.federation;
      log.error(
        { trustDomain },
        'bundle of a federated trust domain is too old: nobody of it is believed',
      );
    }
    this.#publish();
  }

  #publish(): void {
    const bundles = new Map<TrustDomain, SpiffeBundle>();
    for (const { federation, good, isInForce } of this.#entries.values()) {
      if (isInForce && good !== undefined) bundles.set(federation.trustDomain, good.bundle);
    }
    const sorted = new Map([...bundles].sort(([a], [b]) => (a < b ? -1 : 1)));
    if (!isSameBundles(this.#bundles, sorted)) this.#bundles = sorted;
    this.#notify();
  }

  #notify(): void {
    this.#listeners.tell();
  }

  /** One after the other; what cannot be kept is fetched again after a restart. */
  #save(): void {
    const { kept, log } = this.#options;
    if (kept === undefined) return;
    this.#saving = this.#saving.then(async () => {
      const good = [...this.#entries.values()].flatMap((entry) =>
        entry.good === undefined ? [] : [[entry.federation, entry.good] as const],
      );
      try {
        await kept.save(new Map(good));
      } catch (error) {
        log.error({ reason: errorText(error) }, 'bundles of federated trust domains not kept');
      }
    });
  }
}

function stopTimers(entry: Entry): void {
  entry.timer?.[Symbol.dispose]();
  entry.expiry?.[Symbol.dispose]();
}

/** Who publishes is known by the keys that it published last, and by those given to begin with until there are any. */
function rootsOf({ federation: { profile }, good }: Entry): readonly Buffer[] {
  if (profile.kind !== 'https_spiffe') return [];
  const known = good?.bundle.x509Authorities ?? [];
  return known.length > 0 ? known : profile.initial.x509Authorities;
}

const holdsUntil = ({ good, federation }: Entry): number | undefined =>
  good === undefined ? undefined : good.fetchedAtMs + federation.keepForMs;

/** A document may only go forward: an old one could have keys that were taken back since. */
function whyNotNewer(entry: Entry, bundle: SpiffeBundle, document: string): string | undefined {
  const { profile } = entry.federation;
  const initial = profile.kind === 'https_spiffe' ? profile.initial : undefined;
  const before = entry.good?.bundle.sequence ?? initial?.sequence;
  const { sequence } = bundle;
  if (before === undefined) return undefined;
  if (sequence === undefined) return `the document has no sequence, and ${before} was seen`;
  if (sequence < before) return `the document goes back from sequence ${before} to ${sequence}`;
  if (sequence > before || entry.good === undefined || document === entry.good.document) {
    return undefined;
  }
  if (isSameKeys(bundle, entry.good.bundle)) return undefined;
  return `the document has other keys than before under the same sequence ${sequence}`;
}

const keysText = ({ x509Authorities, jwtAuthorities }: SpiffeBundle): string =>
  JSON.stringify([x509Authorities.map((der) => der.toString('base64')), jwtAuthorities]);

const isSameKeys = (a: SpiffeBundle, b: SpiffeBundle): boolean =>
  a === b || keysText(a) === keysText(b);

function isSameBundles(a: FederatedBundles, b: FederatedBundles): boolean {
  if (a.size !== b.size) return false;
  for (const [name, bundle] of b) {
    const other = a.get(name);
    if (other === undefined || !isSameKeys(other, bundle)) return false;
  }
  return true;
}

function stateOf(entry: Entry): FederationState {
  const { federation, good, isInForce, failure } = entry;
  const holdsUntilMs = holdsUntil(entry);
  return {
    federation,
    ...(good && { bundle: good.bundle, fetchedAtMs: good.fetchedAtMs }),
    ...(holdsUntilMs !== undefined && { holdsUntilMs }),
    isInForce,
    ...(failure !== undefined && { failure }),
  };
}

function problemsOf(entry: Entry): readonly Problem[] {
  const { federation, failure, isInForce } = entry;
  if (failure === undefined) return [];
  const { namespace, name, url } = federation;
  const object: ObjectRef = { kind: 'FederatedTrustDomain', namespace, name };
  const what = `the bundle at ${url} cannot be fetched: ${failure}`;
  const cure =
    'check url, profile and bundle, and list networks that are not public in jwksAllowedNetworks';
  const untilMs = holdsUntil(entry);
  if (isInForce && untilMs !== undefined) {
    const message = `${what}; the last good one is believed until ${new Date(untilMs).toISOString()}`;
    return [{ severity: 'warning', code: 'bundle-stale', message, cure, object }];
  }
  const message = `${what}; nobody of its trust domain is believed`;
  return [{ severity: 'error', code: 'bundle-missing', message, cure, object }];
}
