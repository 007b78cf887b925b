// Decides with which state a CA opens: the one that is kept, or a new one where there never was any.
import type { Clock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import { type BroughtCa, broughtState } from './brought.ts';
import { createState, withLongestLeaf } from './generation.ts';
import type { CaState, CaStore, Generation } from './store/store.ts';

/** Control planes that open at once: all but one of them find the state of that one, which is kept by then. */
const MAX_CONFLICTS = 10;

export interface OpeningState {
  readonly state: CaState;
  /** Generations that others, or earlier runs, may have issued certificates of. */
  readonly inherited: readonly Generation[];
}

/** @throws when what is kept cannot be trusted or is another trust domain's, or a new state cannot be kept. */
export async function openingState(options: {
  readonly store: CaStore;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly svidTtlMs: number;
  readonly brought?: BroughtCa;
}): Promise<OpeningState> {
  const { store, trustDomain, svidTtlMs } = options;
  for (let conflicts = 0; ; conflicts++) {
    const loaded = await store.load();
    if (loaded !== undefined && loaded.trustDomain !== trustDomain) {
      throw new Error(
        `Cannot open the CA of trust domain ${trustDomain}: the store holds that of ${loaded.trustDomain}`,
      );
    }
    const inherited = loaded?.generations ?? [];
    const state = withLongestLeaf(loaded ?? (await newState(options)), svidTtlMs);
    if (state === loaded) return { state, inherited };
    const saved = await store.save(state, loaded);
    if (saved.ok) return { state, inherited };
    if (saved.reasonCode !== 'conflict' || conflicts === MAX_CONFLICTS) {
      throw new Error(`Cannot keep the CA: ${saved.reason}`);
    }
  }
}

async function newState(options: {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly brought?: BroughtCa;
}): Promise<CaState> {
  const { trustDomain, clock, brought } = options;
  if (brought === undefined) return createState(trustDomain, clock.now());
  return broughtState(trustDomain, await brought.load());
}
