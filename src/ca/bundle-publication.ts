// Numbers what the trust domain publishes of its keys: a number that grows with every change, and is kept with the CA's state.
import { createHash } from 'node:crypto';
import type { Clock } from '@weft/model/clock';
import type { KeptState } from './kept-state.ts';
import type { TokenAuthority } from './token-authority.ts';
import type { PublishedKey } from './token-keys.ts';

/** What others are to verify our certificates and tokens with. */
export interface PublishedBundle {
  readonly sequence: number;
  /** Since when it is published. */
  readonly publishedAtMs: number;
  readonly rootsDer: readonly Buffer[];
  readonly tokenKeys: readonly PublishedKey[];
}

/** Control planes that publish a change at once: all but one of them take that one's number. */
const MAX_TRIES = 5;
const DIGEST_DIGITS = 32;

export class BundlePublication {
  readonly #kept: KeptState;
  readonly #tokens: Pick<TokenAuthority, 'freshKeys' | 'keys'>;
  readonly #clock: Clock;

  constructor(options: {
    readonly kept: KeptState;
    readonly tokens: Pick<TokenAuthority, 'freshKeys' | 'keys'>;
    readonly clock: Clock;
  }) {
    this.#kept = options.kept;
    this.#tokens = options.tokens;
    this.#clock = options.clock;
  }

  /** What is published; `undefined` when the keys of now are not, or not yet. */
  current(): PublishedBundle | undefined {
    const { state, bundle } = this.#kept.opened;
    const { publication } = state;
    if (publication === undefined || publication.digest !== this.#digest()) return undefined;
    const { sequence, publishedAtMs } = publication;
    return { sequence, publishedAtMs, rootsDer: bundle.rootsDer, tokenKeys: this.#tokens.keys() };
  }

  /**
   * Gives the keys of now a number, where they have none. Kept before it is told: a number that was told and forgotten
   * would be told again for other keys.
   * @returns `undefined` when it cannot be kept
   */
  async publish(): Promise<PublishedBundle | undefined> {
    await this.#tokens.freshKeys();
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const known = this.current();
      if (known !== undefined) return known;
      const saved = await this.#kept.exclusively(() => this.#number());
      if (!saved.ok && saved.reasonCode !== 'conflict') return undefined;
    }
    return this.current();
  }

  #number(): ReturnType<KeptState['commit']> {
    const { state } = this.#kept.opened;
    if (this.current() !== undefined) return Promise.resolve({ ok: true });
    const publishedAtMs = this.#clock.now();
    /** Seconds of the clock at least: so it grows also over a state that was brought back from a copy. */
    const least = Math.floor(publishedAtMs / 1_000);
    const sequence = Math.max((state.publication?.sequence ?? 0) + 1, least);
    const publication = { sequence, publishedAtMs, digest: this.#digest() };
    return this.#kept.commit({ ...state, publication });
  }

  #digest(): string {
    const digest = createHash('sha256');
    for (const der of this.#kept.opened.bundle.rootsDer) digest.update(der);
    for (const { kid } of this.#tokens.keys()) digest.update(kid);
    return digest.digest('hex').slice(0, DIGEST_DIGITS);
  }
}
