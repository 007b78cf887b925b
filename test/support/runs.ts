// How often a property is tried: a number that takes no time among unit tests, times what PROPERTY_RUNS says for a long search.

const TIMES = Number(process.env['PROPERTY_RUNS'] ?? 1);

/** For `numRuns` of a property. */
export const runs = (count: number): number => count * TIMES;
