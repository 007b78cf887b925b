// Keeps the keys of token issuers: fetched when a policy asks for them, refreshed, and kept when an issuer is away.
import { type Clock, systemClock } from '@weft/model/clock';
import { parseHttpUri } from '@weft/model/http-uri';
import { isPlainObject } from '@weft/model/policy/reader';
import { readJwks, type VerificationKey } from '@weft/model/policy/jwks';
import {
  remoteSources,
  type FetchedKeys,
  type RemoteKeySource,
  type RequestAuthentication,
} from '@weft/model/policy/token-rules';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';
import { fetchDocument, type Fetched, type FetchOptions } from './fetch-document.ts';
import { AddressGuard } from '../fetch/guard-address.ts';

export interface KeySetsOptions {
  readonly clock?: Clock;
  /** Between fetches of a set that could be read; default 20 min. */
  readonly refreshMs?: number;
  /** 0 ≤ r < 1. */
  readonly random?: () => number;
  readonly fetch?: (uri: string, options: FetchOptions) => Promise<Fetched>;
}

/** 20 min, as Istio has it: a key that its issuer takes back is taken for so long. */
const REFRESH_MS = 1_200_000;
/** 1 s after a first failure: until then every token of the issuer is refused. */
const FIRST_RETRY_MS = 1_000;
/** 5 min: an issuer that is away for long is asked no more often. */
const LAST_RETRY_MS = 300_000;
/** Sets of one mesh. Each is one address that somebody has us call. */
export const MAX_SOURCES = 1_000;
/** Policies that are told what is wrong with one set. */
const MAX_TOLD = 16;
/** Fetches at a time. */
const MAX_FETCHES = 8;

interface Entry {
  readonly key: string;
  source: RemoteKeySource;
  keys: readonly VerificationKey[] | undefined;
  /** Of the last fetch. */
  failure: string | undefined;
  failures: number;
  leftOut: readonly string[];
  timer: Disposable | undefined;
  isBusy: boolean;
}

export class KeySets implements Disposable {
  readonly #clock: Clock;
  readonly #options: KeySetsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Listeners();
  readonly #waiting: Entry[] = [];
  readonly #end = new AbortController();
  #fetches = 0;
  #keys: FetchedKeys = new Map();
  /** Policies that ask for a set, by its key. */
  #askers: ReadonlyMap<string, readonly ObjectRef[]> = new Map();
  readonly #guard = new AddressGuard();
  #tooMany = 0;

  constructor(options: KeySetsOptions = {}) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Another map whenever keys have changed. Of a set that can no longer be read the last good keys. */
  get keys(): FetchedKeys {
    return this.#keys;
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  /** What is in force now: sets that no policy asks for are forgotten, new ones are fetched. */
  want(policies: readonly RequestAuthentication[], allowedNetworks: readonly string[]): void {
    if (this.#end.signal.aborted) return;
    const isGuardNew = this.#guard.follow(allowedNetworks);
    this.#askers = askersOf(policies);
    const sources = [...remoteSources(policies)];
    const wanted = new Map(sources.slice(0, MAX_SOURCES));
    this.#tooMany = sources.length - wanted.size;
    for (const [key, entry] of this.#entries) {
      if (!wanted.has(key)) this.#forget(entry);
    }
    for (const [key, source] of wanted) {
      const known = this.#entries.get(key);
      if (known !== undefined) {
        known.source = source;
        if (isGuardNew && known.failure !== undefined) this.#schedule(known, 0);
        continue;
      }
      const entry = createEntry(key, source);
      this.#entries.set(key, entry);
      this.#start(entry);
    }
  }

  problems(): readonly Problem[] {
    const problems = [...this.#entries.values()].flatMap((entry) => {
      const askers = this.#askers.get(entry.key) ?? [];
      return problemsOf(entry).flatMap((problem) =>
        askers.slice(0, MAX_TOLD).map((object): Problem => ({ ...problem, object })),
      );
    });
    if (this.#tooMany > 0) {
      const message = `${this.#tooMany} key sets are not fetched: at most ${MAX_SOURCES} are`;
      problems.push({ severity: 'error', code: 'too-many-key-sets', message });
    }
    return problems;
  }

  [Symbol.dispose](): void {
    this.#end.abort();
    for (const entry of this.#entries.values()) entry.timer?.[Symbol.dispose]();
    this.#entries.clear();
    this.#listeners.clear();
    this.#waiting.length = 0;
  }

  #forget(entry: Entry): void {
    entry.timer?.[Symbol.dispose]();
    this.#entries.delete(entry.key);
    if (entry.keys !== undefined) this.#publish();
  }

  #schedule(entry: Entry, delayMs: number): void {
    entry.timer?.[Symbol.dispose]();
    entry.timer = this.#clock.setTimeout(() => {
      entry.timer = undefined;
      this.#start(entry);
    }, delayMs);
  }

  #start(entry: Entry): void {
    if (entry.isBusy || this.#entries.get(entry.key) !== entry) return;
    if (this.#fetches >= MAX_FETCHES) {
      if (!this.#waiting.includes(entry)) this.#waiting.push(entry);
      return;
    }
    entry.isBusy = true;
    this.#fetches++;
    void this.#run(entry);
  }

  async #run(entry: Entry): Promise<void> {
    let read: KeysRead;
    try {
      read = await this.#read(entry.source);
    } catch (error) {
      read = { ok: false, reason: error instanceof Error ? error.name : 'unknown' };
    }
    this.#fetches--;
    entry.isBusy = false;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#start(next);
    if (this.#end.signal.aborted || this.#entries.get(entry.key) !== entry) return;
    this.#take(entry, read);
  }

  #take(entry: Entry, read: KeysRead): void {
    const { refreshMs = REFRESH_MS, random = Math.random } = this.#options;
    /** Up to a tenth earlier, so that the sets of a mesh are not fetched all at once. */
    const spread = 1 - random() / 10;
    const keysBefore = JSON.stringify(entry.keys);
    const before = JSON.stringify([entry.failure, entry.leftOut]);
    if (read.ok) {
      entry.keys = read.keys;
      entry.leftOut = read.leftOut;
      entry.failure = undefined;
      entry.failures = 0;
      this.#schedule(entry, refreshMs * spread);
    } else {
      entry.failure = read.reason;
      const delayMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** entry.failures);
      entry.failures = Math.min(entry.failures + 1, 32);
      this.#schedule(entry, delayMs * spread);
    }
    if (JSON.stringify(entry.keys) !== keysBefore) this.#publish();
    else if (JSON.stringify([entry.failure, entry.leftOut]) !== before) this.#notify();
  }

  /** An issuer that publishes no key has taken all back. Only sets that were read: without one there are no keys, and none take their place (CVE-2026-31837). */
  #publish(): void {
    const keys = new Map<string, readonly VerificationKey[]>();
    for (const entry of this.#entries.values()) {
      if (entry.keys !== undefined) keys.set(entry.key, entry.keys);
    }
    this.#keys = keys;
    this.#notify();
  }

  #notify(): void {
    this.#listeners.tell();
  }

  async #read(source: RemoteKeySource): Promise<KeysRead> {
    const uri = source.kind === 'jwks' ? source.uri : await this.#discover(source);
    if (typeof uri !== 'string') return uri;
    const fetched = await this.#fetch(uri, source.timeoutMs);
    if (!fetched.ok) return fetched;
    const read = readJwks(fetched.body);
    return read.ok ? read : { ok: false, reason: `what is there ${read.reason}` };
  }

  /** Where an issuer's configuration says that its keys are (OpenID Connect Discovery 1.0 §4.3). */
  async #discover({ uri, timeoutMs }: RemoteKeySource): Promise<string | Failure> {
    const fetched = await this.#fetch(uri, timeoutMs);
    if (!fetched.ok) return fetched;
    let document: unknown;
    try {
      document = JSON.parse(fetched.body);
    } catch {
      return { ok: false, reason: 'the OpenID configuration is no JSON' };
    }
    const { jwks_uri: keys } = isPlainObject(document) ? document : {};
    if (typeof keys !== 'string' || parseHttpUri(keys) === undefined) {
      return { ok: false, reason: 'the OpenID configuration names no keys' };
    }
    const isWeaker = uri.toLowerCase().startsWith('https:') && !keys.startsWith('https:');
    return isWeaker ? { ok: false, reason: 'the OpenID configuration leaves https' } : keys;
  }

  #fetch(uri: string, timeoutMs: number): Promise<Fetched> {
    const { fetch = fetchDocument } = this.#options;
    const { signal } = this.#end;
    return fetch(uri, { timeoutMs, signal, isAllowed: this.#guard.isAllowed });
  }
}

interface Failure {
  readonly ok: false;
  readonly reason: string;
}

type KeysRead =
  | {
      readonly ok: true;
      readonly keys: readonly VerificationKey[];
      readonly leftOut: readonly string[];
    }
  | Failure;

function askersOf(
  policies: readonly RequestAuthentication[],
): ReadonlyMap<string, readonly ObjectRef[]> {
  const askers = new Map<string, ObjectRef[]>();
  for (const policy of policies) {
    const { namespace, name } = policy;
    for (const key of remoteSources([policy]).keys()) {
      const refs = askers.get(key) ?? [];
      refs.push({ kind: 'RequestAuthentication', namespace, name });
      askers.set(key, refs);
    }
  }
  return askers;
}

const createEntry = (key: string, source: RemoteKeySource): Entry => ({
  key,
  source,
  keys: undefined,
  failure: undefined,
  failures: 0,
  leftOut: [],
  timer: undefined,
  isBusy: false,
});

function problemsOf({ source, keys, failure, leftOut }: Entry): readonly Problem[] {
  if (failure !== undefined) {
    const what = `the keys at ${source.uri} cannot be fetched: ${failure}`;
    const cure = 'check jwksUri, and list networks that are not public in jwksAllowedNetworks';
    return keys === undefined
      ? [
          {
            severity: 'error',
            code: 'keys-missing',
            message: `${what}; tokens of their issuer are refused`,
            cure,
          },
        ]
      : [
          {
            severity: 'warning',
            code: 'keys-stale',
            message: `${what}; the last good ones are in force`,
            cure,
          },
        ];
  }
  const [first] = leftOut;
  if (keys?.length === 0) {
    const message = `none of the keys at ${source.uri} can verify a token: all of their issuer are refused`;
    return [{ severity: 'error', code: 'keys-missing', message }];
  }
  if (first === undefined) return [];
  const message = `of the keys at ${source.uri} some are not used: ${first}`;
  return [{ severity: 'warning', code: 'key-left-out', message }];
}
