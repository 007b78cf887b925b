// Decides what a handful of noisy rounds say: medians with their spread, and ratios of medians.

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: readonly number[];
}

/** @param sorted ascending @param share 0.5 is the median */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const { length } = sorted;
  if (length === 0) return Number.NaN;
  const at = Math.min(length - 1, Math.max(0, Math.ceil(share * length) - 1));
  return sorted[at] ?? Number.NaN;
}

export function medianOf(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const low = sorted[(sorted.length - 1) >> 1] ?? Number.NaN;
  const high = sorted[sorted.length >> 1] ?? Number.NaN;
  return (low + high) / 2;
}

export const summarize = (samples: readonly number[]): Summary => ({
  median: medianOf(samples),
  min: Math.min(...samples),
  max: Math.max(...samples),
  samples,
});

export interface Ratio {
  /** Of the two medians. */
  readonly ofMedians: number;
  /** Of the pairs of one round each: what noise would have made of it. */
  readonly min: number;
  readonly max: number;
}

/** How many of `theirs` one of `ours` is; samples of one round stand at the same place. */
export function ratioOf(ours: Summary, theirs: Summary): Ratio {
  const pairs = ours.samples.map((sample, round) => sample / (theirs.samples[round] ?? Number.NaN));
  return {
    ofMedians: ours.median / theirs.median,
    min: Math.min(...pairs),
    max: Math.max(...pairs),
  };
}
