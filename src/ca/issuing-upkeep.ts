// Sees to it that what signs is good tomorrow as well: our own issuing CA is made anew in time, a brought one is taken over.
import type { Clock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import type { Logger } from 'pino';
import { type BroughtCa, towardsBrought } from './brought.ts';
import { ISSUING_RENEWAL_MS, issuingRenewalInMs, renewIssuing } from './generation.ts';
import type { KeptState } from './kept-state.ts';
import type { IssuingMaterial } from './store/store.ts';

/** 1 min: how soon a change that the store refused is tried again. */
const RETRY_MS = 60_000;

export interface IssuingUpkeepOptions {
  readonly kept: KeptState;
  readonly trustDomain: TrustDomain;
  readonly svidTtlMs: number;
  readonly clock: Clock;
  readonly brought?: BroughtCa;
  readonly log?: Logger;
}

export class IssuingUpkeep implements Disposable {
  readonly #options: IssuingUpkeepOptions;
  #renewal: Disposable | undefined;
  #again: Disposable | undefined;
  #subscription: Disposable | undefined;
  #wanted: IssuingMaterial | undefined;
  #isDisposed = false;

  constructor(options: IssuingUpkeepOptions) {
    this.#options = options;
  }

  /** Where the CA comes from when it is not our own. */
  get broughtFrom(): string | undefined {
    return this.#options.brought?.name;
  }

  /** Once; the first renewal that is due is done when this returns. */
  async start(): Promise<void> {
    const { kept, brought } = this.#options;
    await kept.exclusively(() => this.#renewIssuing());
    this.#subscription = brought?.subscribe((material) => {
      this.#wanted = material;
      this.stateChanged();
    });
  }

  /** A state came into force: what could not be done before it may be possible now. */
  stateChanged(): void {
    if (this.#wanted === undefined || this.#isDisposed) return;
    this.#options.kept
      .exclusively(() => this.#takeBrought())
      .catch((error: unknown) => {
        if (this.#isDisposed) return;
        this.#options.log?.error({ err: error }, 'brought ca not taken over');
      });
  }

  async #takeBrought(): Promise<void> {
    const { kept, svidTtlMs, brought, clock, log } = this.#options;
    if (this.#wanted === undefined) return;
    const changed = towardsBrought(kept.opened.state, this.#wanted, svidTtlMs);
    if (changed === undefined) return;
    const { phase } = changed.rotation;
    log?.info({ from: brought?.name, phase }, 'another brought ca is taken over');
    const saved = await kept.commit(changed);
    // After a conflict the state of the other is in force, and was told.
    if (saved.ok || saved.reasonCode === 'conflict') return;
    this.#again?.[Symbol.dispose]();
    this.#again = clock.setTimeout(() => this.stateChanged(), RETRY_MS);
  }

  /** Makes the active generation's issuing CA anew once half of its life has gone, and sees to the next time. */
  async #renewIssuing(): Promise<void> {
    const { kept, clock, trustDomain, log } = this.#options;
    const { state, active } = kept.opened;
    const nowMs = clock.now();
    let delayMs = Math.max(issuingRenewalInMs(active, nowMs), RETRY_MS);
    if (issuingRenewalInMs(active, nowMs) <= 0) {
      const generations = state.generations.map((generation) =>
        generation.id === active.id ? renewIssuing(generation, { trustDomain, nowMs }) : generation,
      );
      const saved = await kept.commit({ ...state, generations });
      delayMs = saved.ok ? ISSUING_RENEWAL_MS : RETRY_MS;
    }
    this.#renewal = clock.setTimeout(() => {
      kept
        .exclusively(() => this.#renewIssuing())
        .catch((error: unknown) => log?.error({ err: error }, 'issuing ca not renewed'));
    }, delayMs);
  }

  /** Twice does no harm: a renewal that was under way may have asked for the next. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#subscription?.[Symbol.dispose]();
    this.#renewal?.[Symbol.dispose]();
    this.#again?.[Symbol.dispose]();
  }
}
