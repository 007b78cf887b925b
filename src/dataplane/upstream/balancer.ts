// Chooses an endpoint: the least loaded of two taken at random, among those that are well.
import type { UpstreamEndpoint } from './endpoint.ts';

export interface Choice {
  /** Addresses that failed for this request already. */
  readonly tried: ReadonlySet<string>;
  readonly now: number;
  readonly random: () => number;
}

/**
 * Healthy and not ejected first; when none is, any that is not draining (better a bad chance than none); never one
 * that was tried. @returns `undefined` when there is nothing to try.
 */
export function chooseEndpoint(
  endpoints: readonly UpstreamEndpoint[],
  choice: Choice,
): UpstreamEndpoint | undefined {
  const only = endpoints[0];
  if (endpoints.length === 1 && only !== undefined) {
    const isUsable = only.definition.health !== 'draining' && !choice.tried.has(only.key);
    return isUsable ? only : undefined;
  }
  const { now, tried } = choice;
  const usable = endpoints.filter(
    (endpoint) => endpoint.definition.health !== 'draining' && !tried.has(endpoint.key),
  );
  const well = usable.filter(
    (endpoint) => endpoint.definition.health === 'healthy' && endpoint.ejectedUntil <= now,
  );
  return leastLoadedOfTwo(well.length > 0 ? well : usable, choice.random);
}

function leastLoadedOfTwo(
  endpoints: readonly UpstreamEndpoint[],
  random: () => number,
): UpstreamEndpoint | undefined {
  if (endpoints.length < 2) return endpoints[0];
  const first = Math.floor(random() * endpoints.length);
  const step = 1 + Math.floor(random() * (endpoints.length - 1));
  const a = endpoints[first];
  const b = endpoints[(first + step) % endpoints.length];
  if (a === undefined || b === undefined) return a ?? b;
  return costOf(b) < costOf(a) ? b : a;
}

/** An endpoint of twice the weight is asked to do twice the work. */
const costOf = (endpoint: UpstreamEndpoint): number =>
  (endpoint.load + 1) / Math.max(1, endpoint.definition.weight);
