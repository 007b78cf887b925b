// Holds a token of Vault or OpenBao: logs in with a JWT, renews the token while it lives, and logs in again when it must.
import { readFile } from 'node:fs/promises';
import type { Clock } from '@weft/model/clock';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { VaultAnswer, VaultHttp } from './vault-http.ts';

export interface VaultSessionOptions {
  readonly http: VaultHttp;
  /** Where a JWT is exchanged: `kubernetes`, `jwt`. */
  readonly authMount: string;
  readonly role: string;
  /** Read at each login: kubelet writes it anew while it lives. */
  readonly jwtFile: string;
  readonly clock: Clock;
}

export interface VaultSession extends AsyncDisposable {
  /** Asks with the token. A refusal is that of a token that is good. */
  get(path: string, signal: AbortSignal): Promise<VaultAnswer>;
}

interface Token {
  readonly text: string;
  readonly isRenewable: boolean;
  readonly renewAtMs: number;
  readonly expiresAtMs: number;
}

/** A token is renewed at so much of its life. */
const RENEW_AT = 0.6;
/** After a login that failed, doubled with each, so that a wrong role does not lock an account or flood a log. */
const BACK_OFF_MS = 2_000;
const MAX_BACK_OFF_MS = 60_000;
/** Between two logins because a token was refused: each makes a token that the server keeps. */
const AGAIN_MS = 10_000;
/** Tokens of service accounts are about 1 KiB. */
const MAX_JWT_BYTES = 16_384;
/** A token that never expires is exchanged all the same. */
const MAX_LIFE_MS = 24 * 3_600_000;

const REVOKED: VaultAnswer = { ok: false, reason: 'its token is refused again and again' };

export function createVaultSession(options: VaultSessionOptions): VaultSession {
  return new Session(options);
}

class Session implements VaultSession {
  readonly #options: VaultSessionOptions;
  #token: Token | undefined;
  #replacedAtMs = Number.NEGATIVE_INFINITY;
  #gaining: Promise<string | undefined> | undefined;
  #failures = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #reason = '';

  constructor(options: VaultSessionOptions) {
    this.#options = options;
  }

  async get(path: string, signal: AbortSignal): Promise<VaultAnswer> {
    const { http, clock } = this.#options;
    const token = await this.#current();
    if (token === undefined) return { ok: false, reason: this.#reason };
    const answer = await http.ask({ method: 'GET', path, token, signal });
    const isRefused = answer.ok && (answer.status === 403 || answer.status === 401);
    if (!isRefused || (await this.#isGood(token, signal))) return answer;
    // It was revoked: that says nothing of what may be read.
    if (this.#token?.text === token) {
      if (clock.now() - this.#replacedAtMs < AGAIN_MS) return REVOKED;
      this.#replacedAtMs = clock.now();
      this.#token = undefined;
    }
    const again = await this.#current();
    if (again === undefined) return { ok: false, reason: this.#reason };
    return http.ask({ method: 'GET', path, token: again, signal });
  }

  /** Whether the server knows it, as the policy `default` lets each ask of itself. */
  async #isGood(token: string, signal: AbortSignal): Promise<boolean> {
    const path = 'auth/token/lookup-self';
    const answer = await this.#options.http.ask({ method: 'GET', path, token, signal });
    return answer.ok && answer.status === 200;
  }

  /** One login or renewal at a time, whoever asks. */
  #current(): Promise<string | undefined> {
    const nowMs = this.#options.clock.now();
    if (this.#token !== undefined && nowMs < this.#token.renewAtMs) {
      return Promise.resolve(this.#token.text);
    }
    this.#gaining ??= this.#gain().finally(() => {
      this.#gaining = undefined;
    });
    return this.#gaining;
  }

  async #gain(): Promise<string | undefined> {
    const { clock } = this.#options;
    const old = this.#token;
    if (old?.isRenewable === true && clock.now() < old.expiresAtMs && (await this.#renew(old))) {
      return this.#token?.text;
    }
    if (clock.now() >= this.#notBeforeMs) await this.#logIn();
    const held = this.#token;
    return held !== undefined && clock.now() < held.expiresAtMs ? held.text : undefined;
  }

  async #renew({ text }: Token): Promise<boolean> {
    const { http } = this.#options;
    const answer = await http.ask({
      method: 'POST',
      path: 'auth/token/renew-self',
      token: text,
      body: {},
    });
    return this.#take(answer);
  }

  async #logIn(): Promise<void> {
    const { http, authMount, role, clock } = this.#options;
    const jwt = await this.#readJwt();
    const path = `auth/${authMount.split('/').map(encodeURIComponent).join('/')}/login`;
    const answer: VaultAnswer =
      jwt === undefined
        ? { ok: false, reason: `${this.#options.jwtFile} cannot be read` }
        : await http.ask({ method: 'POST', path, body: { role, jwt } });
    if (this.#take(answer)) {
      this.#failures = 0;
      return;
    }
    const why = answer.ok ? `it answers ${answer.status}` : answer.reason;
    this.#reason = `no login as role ${role} at auth/${authMount}: ${why}`;
    const pauseMs = Math.min(MAX_BACK_OFF_MS, BACK_OFF_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    this.#notBeforeMs = clock.now() + pauseMs;
  }

  async #readJwt(): Promise<string | undefined> {
    try {
      const text = (await readFile(this.#options.jwtFile, 'utf8')).trim();
      return text === '' || text.length > MAX_JWT_BYTES ? undefined : text;
    } catch (error) {
      if (error instanceof Error && 'code' in error) return undefined;
      throw error;
    }
  }

  #take(answer: VaultAnswer): boolean {
    if (!answer.ok || answer.status !== 200) return false;
    const { auth } = answer.body;
    if (!isPlainObject(auth)) return false;
    const text = auth['client_token'];
    if (typeof text !== 'string' || text === '') return false;
    const nowMs = this.#options.clock.now();
    const lifeMs = lifeOf(auth);
    this.#token = {
      text,
      isRenewable: auth['renewable'] === true,
      renewAtMs: nowMs + lifeMs * RENEW_AT,
      expiresAtMs: nowMs + lifeMs,
    };
    return true;
  }

  /** Nobody else is to use it: it goes with us, as far as the server hears of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const token = this.#token?.text;
    this.#token = undefined;
    this.#notBeforeMs = Number.POSITIVE_INFINITY;
    if (token === undefined) return;
    await this.#options.http.ask({ method: 'POST', path: 'auth/token/revoke-self', token });
  }
}

function lifeOf(auth: PlainObject): number {
  const seconds = auth['lease_duration'];
  const isLife = typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0;
  return isLife ? Math.min(seconds * 1_000, MAX_LIFE_MS) : MAX_LIFE_MS;
}
