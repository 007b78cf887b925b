// Issues tokens that say who a workload is to those outside the mesh, and publishes the keys that they are signed with.
import type { KeyObject } from 'node:crypto';
import type { Clock } from '@weft/model/clock';
import { type IdentityParts, type SpiffeId, spiffeIdOf } from '@weft/model/identity';
import type { AuditEntry } from './audit.ts';
import type { AuthorityOptions } from './authority-options.ts';
import type { KeptState } from './kept-state.ts';
import type { TokenKey } from './store/store.ts';
import {
  areFresh,
  createTokenId,
  freshKeys,
  openTokenKey,
  type PublishedKey,
  publishKey,
  signingKey,
  signToken,
} from './token-keys.ts';

export interface TokenAuthorityOptions {
  readonly kept: KeptState;
  readonly clock: Clock;
  /** Nobody is given a token of the control plane. */
  readonly reservedId: SpiffeId;
  /** In `iss`, where it is known. */
  readonly issuer?: string;
  readonly heldBack?: AuthorityOptions['heldBack'];
  readonly audit: (entry: AuditEntry) => void;
}

export interface TokenAsker {
  readonly identity: IdentityParts;
  /** When what it has shown is good no more. */
  readonly notAfterMs: number;
  readonly audience: readonly string[];
  readonly peer: string;
}

export type TokenIssuance =
  | { readonly ok: true; readonly token: string; readonly expiresAtMs: number }
  | {
      readonly ok: false;
      readonly reasonCode: 'audience-not-allowed' | 'identity-revoked' | 'peer-expired' | 'no-key';
      readonly reason: string;
    };

/** 5 min: nothing takes a token back but its end. */
const TOKEN_MS = 300_000;
const MAX_AUDIENCES = 16;
const MAX_AUDIENCE_LENGTH = 512;
const ATTESTOR = 'certificate';
/** Control planes that make the first key at once: all but one of them take that one's. */
const MAX_TRIES = 5;
/** 1 min: how soon a key that the store refused is tried again. */
const RETRY_MS = 60_000;

interface OpenKey {
  readonly published: PublishedKey;
  readonly key: KeyObject;
}

export class TokenAuthority {
  readonly #options: TokenAuthorityOptions;
  readonly #open = new WeakMap<TokenKey, OpenKey>();
  #failedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TokenAuthorityOptions) {
    this.#options = options;
  }

  get issuer(): string | undefined {
    return this.#options.issuer;
  }

  /** Public: whoever verifies tokens needs them. Empty as long as nobody has asked for a token or for them. */
  keys(): readonly PublishedKey[] {
    return this.#kept.map((key) => this.#opened(key).published);
  }

  /** The keys, made where there were none. @returns `undefined` when they cannot be kept. */
  async freshKeys(): Promise<readonly PublishedKey[] | undefined> {
    return (await this.#refresh()) ? this.keys() : undefined;
  }

  /** One line of audit, whatever the answer. */
  async issue(asker: TokenAsker): Promise<TokenIssuance> {
    const { identity, audience, peer } = asker;
    const issuance = (await this.#refusal(asker)) ?? this.#sign(asker);
    const { namespace, serviceAccount } = identity;
    if (issuance.ok) {
      this.#options.audit({
        ok: true,
        spiffeId: spiffeIdOf(identity),
        serial: issuance.id,
        notAfter: new Date(issuance.expiresAtMs),
        audience,
        attestor: ATTESTOR,
        peer,
      });
      return { ok: true, token: issuance.token, expiresAtMs: issuance.expiresAtMs };
    }
    this.#options.audit({ ...issuance, namespace, serviceAccount, attestor: ATTESTOR, peer });
    return issuance;
  }

  async #refusal(asker: TokenAsker): Promise<Extract<TokenIssuance, { ok: false }> | undefined> {
    const { clock, heldBack, reservedId } = this.#options;
    const { identity, notAfterMs, audience, peer } = asker;
    if (clock.now() >= notAfterMs) {
      const reason = 'the certificate has expired; connect with a new one';
      return { ok: false, reasonCode: 'peer-expired', reason };
    }
    const held = heldBack?.(identity, peer);
    if (held !== undefined) return { ok: false, reasonCode: 'identity-revoked', reason: held };
    if (spiffeIdOf(identity) === reservedId) {
      const reason = 'the control plane gives itself no tokens';
      return { ok: false, reasonCode: 'identity-revoked', reason };
    }
    const isAllowed = (one: string): boolean => one !== '' && one.length <= MAX_AUDIENCE_LENGTH;
    if (audience.length === 0 || audience.length > MAX_AUDIENCES || !audience.every(isAllowed)) {
      const reason = `1 to ${MAX_AUDIENCES} audiences of 1 to ${MAX_AUDIENCE_LENGTH} characters are needed`;
      return { ok: false, reasonCode: 'audience-not-allowed', reason };
    }
    if (await this.#refresh()) return undefined;
    return { ok: false, reasonCode: 'no-key', reason: 'the keys for tokens cannot be kept' };
  }

  #sign({ identity, notAfterMs, audience }: TokenAsker) {
    const { clock, issuer } = this.#options;
    const nowMs = clock.now();
    const active = signingKey(this.#kept, nowMs);
    if (active === undefined) throw new TypeError('Cannot sign a token: there is no key');
    const { key, published } = this.#opened(active);
    const iat = Math.floor(nowMs / 1_000);
    /** A token does not outlive what it was given for. */
    const exp = Math.floor(Math.min(nowMs + TOKEN_MS, notAfterMs) / 1_000);
    const jti = createTokenId();
    const sub = spiffeIdOf(identity);
    const claims = { ...(issuer !== undefined && { iss: issuer }), sub, aud: audience };
    const token = signToken(key, published.kid, { ...claims, iat, exp, jti });
    return { ok: true, token, id: jti, expiresAtMs: exp * 1_000 } as const;
  }

  get #kept(): readonly TokenKey[] {
    return this.#options.kept.opened.state.tokenKeys ?? [];
  }

  #opened(key: TokenKey): OpenKey {
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const made = { published: publishKey(key), key: openTokenKey(key) };
    this.#open.set(key, made);
    return made;
  }

  /** Kept before anything is signed: a key that nobody else has would make tokens that nobody can verify. */
  async #refresh(): Promise<boolean> {
    const { kept, clock } = this.#options;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const nowMs = clock.now();
      if (areFresh(this.#kept, nowMs)) return true;
      /** Where there are keys, the next one may wait for a store that takes it. */
      if (this.#kept.length > 0 && nowMs < this.#failedAtMs + RETRY_MS) return true;
      const saved = await kept.exclusively(() => {
        const tokenKeys = freshKeys(this.#kept, nowMs);
        return tokenKeys === this.#options.kept.opened.state.tokenKeys
          ? Promise.resolve({ ok: true } as const)
          : kept.commit({ ...kept.opened.state, tokenKeys });
      });
      if (saved.ok) return true;
      if (saved.reasonCode === 'conflict') continue;
      this.#failedAtMs = nowMs;
      break;
    }
    return this.#kept.length > 0;
  }
}
