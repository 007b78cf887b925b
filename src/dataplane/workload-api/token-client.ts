// Gets JWT SVIDs and the keys to verify them from the control plane, and keeps both for a while.
import type { Clock } from '@weft/model/clock';
import { Listeners } from '@weft/model/listeners';
import { textOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import { Refused } from './api-server.ts';
import { whyNoAnswer } from '../control-plane/why-no-answer.ts';

/** A channel with the certificate of now, and no more of it than is needed. */
interface Lease extends Disposable {
  readonly channel: Pick<ChannelLease['channel'], 'ask'>;
}

export interface TokenClientOptions {
  readonly connect: () => Lease;
  readonly clock: Clock;
  readonly log: Logger;
}

/** JWK sets that tokens are verified with. */
export interface TokenKeySets {
  readonly own: string;
  /** Of federated trust domains, by name. */
  readonly federated: ReadonlyMap<string, string>;
}

interface Kept {
  readonly token: string;
  readonly renewAtMs: number;
}

const SERVICE = 'weft.enrolment.v1.Enrolment';
const ANSWER_MS = 10_000;
/** 5 min: a key is published a day before it signs. */
const KEYS_MS = 300_000;
/** 10 s: an unknown key is worth asking, but not at each token. */
const ASK_AGAIN_MS = 10_000;
/** One for each set of audiences. */
const MAX_KEPT = 64;

export class TokenClient implements Disposable {
  readonly #options: TokenClientOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #listeners = new Listeners<TokenKeySets>();
  #keys: TokenKeySets | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<TokenKeySets> | undefined;
  #timer: Disposable | undefined;
  #isDisposed = false;

  constructor(options: TokenClientOptions) {
    this.#options = options;
  }

  /** A token for these audiences with half of its life or more. @throws CallFailure as the control plane has it. */
  async token(audience: readonly string[]): Promise<string> {
    const { clock } = this.#options;
    const name = JSON.stringify(audience.toSorted());
    const known = this.#kept.get(name);
    if (known !== undefined && clock.now() < known.renewAtMs) return known.token;
    const answer = await this.#ask('IssueToken', { audience });
    const expiresAtMs = Number(answer['expires_at_unix_seconds'] ?? 0) * 1_000;
    const token = textOf(answer, 'token');
    if (token === '') throw new CallFailure(STATUS.INTERNAL, 'the answer has no token');
    const nowMs = clock.now();
    this.#kept.delete(name);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size < MAX_KEPT) break;
      this.#kept.delete(oldest);
    }
    this.#kept.set(name, { token, renewAtMs: nowMs + (expiresAtMs - nowMs) / 2 });
    return token;
  }

  /** What is kept is of an identity or a certificate that is another by now. */
  forgetTokens(): void {
    this.#kept.clear();
  }

  /** The keys, at most some minutes old. @throws CallFailure when there are none and none can be had. */
  async keys(): Promise<TokenKeySets> {
    const keys = this.#keys;
    if (keys !== undefined && this.#options.clock.now() < this.#askedAtMs + KEYS_MS) return keys;
    try {
      return await this.#fetchKeys();
    } catch (error) {
      /** Older ones are good as long as nobody says otherwise: keys are added, and not taken back. */
      if (keys !== undefined && error instanceof CallFailure) return keys;
      throw error;
    }
  }

  /** After a token of a key that is not known. @returns the keys as they are now, where it is time to ask. */
  async keysAgain(): Promise<TokenKeySets | undefined> {
    if (this.#options.clock.now() < this.#askedAtMs + ASK_AGAIN_MS) return undefined;
    return this.#fetchKeys();
  }

  #fetchKeys(): Promise<TokenKeySets> {
    this.#asking ??= this.#ask('GetTokenKeys', {})
      .then((answer) => {
        const own = textOf(answer, 'jwks');
        if (own === '') throw new CallFailure(STATUS.INTERNAL, 'the answer has no keys');
        this.#askedAtMs = this.#options.clock.now();
        const keys = { own, federated: textMapOf(answer, 'federated_jwks') };
        if (this.#keys !== undefined && isSame(keys, this.#keys)) return this.#keys;
        this.#keys = keys;
        this.#listeners.tell(keys);
        return keys;
      })
      .finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  /** Told at every change; as long as somebody listens the keys are asked for now and then. */
  onKeys(listener: (keys: TokenKeySets) => void): Disposable {
    this.#timer ??= this.#askLater();
    return this.#listeners.add(listener);
  }

  #askLater(): Disposable {
    const { clock, log } = this.#options;
    return clock.setTimeout(() => {
      this.#timer = undefined;
      if (this.#isDisposed || this.#listeners.size === 0) return;
      this.#timer = this.#askLater();
      this.#fetchKeys().catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        log.warn({ reason }, 'no news of the keys of tokens');
      });
    }, KEYS_MS);
  }

  async #ask(name: 'IssueToken' | 'GetTokenKeys', request: PlainMessage): Promise<PlainMessage> {
    const method = serviceDefinition(SERVICE)[name];
    if (method === undefined) throw new TypeError(`Cannot find ${name} of ${SERVICE}`);
    using lease = this.#connect();
    try {
      const answer = await lease.channel.ask(
        method.path,
        method.requestSerialize(request),
        ANSWER_MS,
      );
      return { ...method.responseDeserialize(answer) };
    } catch (error) {
      if (!(error instanceof CallFailure)) throw error;
      const details = `the control plane: ${whyNoAnswer(error.details)}`;
      throw new Refused('control-plane', error.code, details);
    }
  }

  #connect(): Lease {
    try {
      return this.#options.connect();
    } catch (error) {
      const details = error instanceof Error ? error.message : String(error);
      throw new Refused('no-identity', STATUS.UNAVAILABLE, details);
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#kept.clear();
  }
}

function isSame(a: TokenKeySets, b: TokenKeySets): boolean {
  const isAlike = a.own === b.own && a.federated.size === b.federated.size;
  return isAlike && [...a.federated].every(([name, jwks]) => b.federated.get(name) === jwks);
}

/** Names are of our control plane's choosing, and still no keys of an object. */
function textMapOf(message: PlainMessage, field: string): ReadonlyMap<string, string> {
  const value = message[field];
  if (typeof value !== 'object' || value === null) return new Map();
  return new Map(
    Object.entries(value).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
}
