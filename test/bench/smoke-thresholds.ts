// Decides when a smoke run fails: on a ratio beyond its limit in every single round, which noise does not do.
import type { Ratio } from './statistics.ts';

export interface SmokeCheck {
  readonly name: string;
  readonly ratio: Ratio;
  /** What no round may be above, or below. */
  readonly limit: { readonly atMost: number } | { readonly atLeast: number };
}

export interface SmokeVerdict {
  readonly name: string;
  readonly isOk: boolean;
  readonly text: string;
}

export function judge({ name, ratio, limit }: SmokeCheck): SmokeVerdict {
  const isCeiling = 'atMost' in limit;
  // Not a number is no pass: nothing was measured then.
  const isOk = isCeiling ? ratio.min <= limit.atMost : ratio.max >= limit.atLeast;
  const [word, bound] = isCeiling ? ['at most', limit.atMost] : ['at least', limit.atLeast];
  const figures = [ratio.ofMedians, ratio.min, ratio.max].map((value) => value.toFixed(2));
  const [median, min, max] = figures;
  return {
    name,
    isOk,
    text: `${isOk ? 'ok  ' : 'FAIL'} ${name}: ${median}× (${min}–${max}), ${word} ${bound}× in one round`,
  };
}
