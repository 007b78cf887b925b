// Credentials in a KV v2 engine of Vault or OpenBao: the metadata of each place is asked for often, its values when they change.
import { createHash } from 'node:crypto';
import type { Clock } from '@weft/model/clock';
import { isCredentialKey, isCredentialPath } from '@weft/model/credentials/key-names';
import { MAX_KEYS } from '@weft/model/credentials/types';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { createPolledSource } from '../polling.ts';
import { type CredentialSource, type SourceReading, whyTooLarge } from '../source.ts';
import type { VaultAnswer } from './vault-http.ts';
import type { VaultSession } from './vault-session.ts';

export interface VaultSourceOptions {
  readonly session: VaultSession;
  /** Where the engine is mounted. */
  readonly mount: string;
  readonly description: string;
  readonly clock: Clock;
  /** Default 3 s: with the time it takes to hand them on, changes are everywhere within five. */
  readonly pollMs?: number;
  readonly random?: () => number;
}

const DEFAULT_POLL_MS = 3_000;

/** The session is ended with the source. */
export function createVaultSource(options: VaultSourceOptions): CredentialSource {
  const { session, clock, pollMs = DEFAULT_POLL_MS, random, description } = options;
  const polled = createPolledSource({
    description,
    readerOf: (place) => {
      const reader = new PlaceReader(options, place);
      return (signal) => reader.read(signal);
    },
    clock,
    pollMs,
    random,
  });
  return {
    ...polled,
    async [Symbol.asyncDispose]() {
      await polled[Symbol.asyncDispose]();
      await session[Symbol.asyncDispose]();
    },
  };
}

/** A version of the engine, and when it was made: a place that is made anew counts from 1 again. */
interface Version {
  readonly number: number;
  readonly createdAt: string;
}

const gone = (reason: string): SourceReading => ({ kind: 'gone', reason });
const unavailable = (reason: string): SourceReading => ({ kind: 'unavailable', reason });

class PlaceReader {
  readonly #session: VaultSession;
  readonly #mount: string;
  readonly #place: string;
  readonly #clock: Clock;
  #last: Extract<SourceReading, { readonly kind: 'values' }> | undefined;

  constructor({ session, mount, clock }: VaultSourceOptions, place: string) {
    this.#session = session;
    this.#clock = clock;
    this.#mount = quoted(mount);
    this.#place = place;
  }

  async read(signal: AbortSignal): Promise<SourceReading> {
    if (!isCredentialPath(this.#place)) return gone('it is no place in a source');
    const place = quoted(this.#place);
    const answer = await this.#session.get(`${this.#mount}/metadata/${place}`, signal);
    // Who may read values need not be allowed to read metadata: then the values say which version they are.
    if (answer.ok && answer.status === 403) return this.#readValues(place, signal, undefined);
    const failed = failureOf(answer);
    if (failed !== undefined) return failed;
    const version = answer.ok ? currentOf(answer.body, this.#clock.now()) : undefined;
    if (version === undefined) return gone('its newest version was deleted, or there is none');
    if (this.#last !== undefined && this.#last.version === textOf(version)) return this.#last;
    return this.#readValues(place, signal, version);
  }

  async #readValues(
    place: string,
    signal: AbortSignal,
    version: Version | undefined,
  ): Promise<SourceReading> {
    const query = version === undefined ? '' : `?version=${version.number}`;
    const answer = await this.#session.get(`${this.#mount}/data/${place}${query}`, signal);
    const failed = failureOf(answer);
    if (failed !== undefined || !answer.ok) return failed ?? unavailable('there is no answer');
    const found = valuesOf(answer.body, this.#clock.now());
    if (found.kind === 'values') this.#last = found;
    return found;
  }
}

function failureOf(answer: VaultAnswer): SourceReading | undefined {
  if (!answer.ok) return unavailable(answer.reason);
  const { status } = answer;
  if (status === 200) return undefined;
  if (status === 404) return gone('there is nothing at this place, or it was deleted');
  if (status === 403) return gone('its role may not read this place');
  if (status === 503) return unavailable('it is sealed or in maintenance');
  return unavailable(`it answers ${status}`);
}

/** Of a metadata answer. @returns `undefined` when the newest version is deleted or destroyed. */
function currentOf(body: PlainObject, nowMs: number): Version | undefined {
  const data = isPlainObject(body['data']) ? body['data'] : {};
  const number = data['current_version'];
  const versions = isPlainObject(data['versions']) ? data['versions'] : {};
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 1) return undefined;
  const newest = versions[String(number)];
  return isPlainObject(newest) ? liveVersion(number, newest, nowMs) : undefined;
}

/** One may have been given its end when it was written. */
function liveVersion(number: number, metadata: PlainObject, nowMs: number): Version | undefined {
  const { destroyed, deletion_time: deletedAt, created_time: createdAt } = metadata;
  if (destroyed === true) return undefined;
  if (typeof deletedAt === 'string' && deletedAt !== '' && !(Date.parse(deletedAt) > nowMs)) {
    return undefined;
  }
  return { number, createdAt: typeof createdAt === 'string' ? createdAt : '' };
}

function valuesOf(body: PlainObject, nowMs: number): SourceReading {
  const outer = isPlainObject(body['data']) ? body['data'] : {};
  const metadata = isPlainObject(outer['metadata']) ? outer['metadata'] : {};
  const number = metadata['version'];
  const version = typeof number === 'number' ? liveVersion(number, metadata, nowMs) : undefined;
  if (version === undefined || !isPlainObject(outer['data'])) {
    return gone('its newest version was deleted, or it is no place of a KV v2 engine');
  }
  const entries = Object.entries(outer['data']);
  if (entries.length === 0) return gone('there is no value in it');
  if (entries.length > MAX_KEYS)
    return gone(`it has ${entries.length} keys, of ${MAX_KEYS} at most`);
  const values = new Map<string, Uint8Array>();
  for (const [key, value] of entries) {
    const isText = ['string', 'number', 'boolean'].includes(typeof value);
    if (!isText || !isCredentialKey(key)) {
      return gone(`it has a key that cannot be handed over: ${JSON.stringify(key.slice(0, 64))}`);
    }
    values.set(key, new TextEncoder().encode(String(value)));
  }
  const reason = whyTooLarge(values);
  if (reason !== undefined) return gone(reason);
  return { kind: 'values', version: textOf(version), values };
}

const DIGITS = 8;

const textOf = ({ number, createdAt }: Version): string =>
  `${number}.${createHash('sha256').update(createdAt).digest('hex').slice(0, DIGITS)}`;

const quoted = (path: string): string => path.split('/').map(encodeURIComponent).join('/');
