// Chooses an endpoint among those that are well, in the way the cluster asks for.
import { type Locality, nearness } from '@weft/model/mesh/locality';
import type { Balancing, Cluster } from '@weft/xds/resources/cluster';
import type { UpstreamEndpoint } from './endpoint.ts';
import { HashRing } from './hash-ring.ts';

export interface Choice {
  /** Addresses that failed for this request already. */
  readonly tried: ReadonlySet<string>;
  readonly now: number;
  /** What the route has hashed of the request; nothing chooses at random. */
  readonly hash: bigint | undefined;
}

type Way = (usable: readonly UpstreamEndpoint[]) => UpstreamEndpoint | undefined;

export class Balancer {
  readonly #random: () => number;
  /** Where the caller runs. */
  readonly #own: Locality | undefined;
  #prefersLocal = false;
  #balancing: Balancing = 'leastRequest';
  #endpoints: readonly UpstreamEndpoint[] = [];
  /** Of all endpoints, made when it is first asked for. */
  #ring: HashRing | undefined;
  #turn: number;

  constructor(random: () => number, own: Locality | undefined) {
    this.#random = random;
    this.#own = own;
    /** Proxies that start together do not all begin with the same endpoint. */
    this.#turn = Math.floor(random() * TURNS);
  }

  setBalancing({ balancing, prefersLocal }: Pick<Cluster, 'balancing' | 'prefersLocal'>): void {
    this.#prefersLocal = prefersLocal === true && this.#own !== undefined;
    this.#balancing = balancing;
    this.#ring = undefined;
  }

  setEndpoints(endpoints: readonly UpstreamEndpoint[]): void {
    this.#endpoints = endpoints;
    this.#ring = undefined;
  }

  /**
   * Healthy and not ejected first, of those the nearest where they are preferred; when none is, any that is not draining (better a bad chance than none); never one
   * that was tried. @returns `undefined` when there is nothing to try.
   */
  choose({ now, tried, hash }: Choice): UpstreamEndpoint | undefined {
    const endpoints = this.#endpoints;
    const only = endpoints[0];
    if (endpoints.length === 1 && only !== undefined) {
      const isUsable = only.definition.health !== 'draining' && !tried.has(only.key);
      return isUsable ? only : undefined;
    }
    const usable = endpoints.filter(
      (endpoint) => endpoint.definition.health !== 'draining' && !tried.has(endpoint.key),
    );
    const well = usable.filter(
      (endpoint) => endpoint.definition.health === 'healthy' && endpoint.ejectedUntil <= now,
    );
    const best = well.length > 0 ? well : usable;
    return this.#pick(this.#prefersLocal ? this.#nearest(best) : best, hash);
  }

  /** Those of the same zone; without any, of the same region; without any, all. */
  #nearest(among: readonly UpstreamEndpoint[]): readonly UpstreamEndpoint[] {
    const near = among.filter(({ definition }) => nearness(definition.locality, this.#own) > 0);
    const nearest = near.filter(({ definition }) => nearness(definition.locality, this.#own) === 2);
    if (nearest.length > 0) return nearest;
    return near.length > 0 ? near : among;
  }

  #pick(
    among: readonly UpstreamEndpoint[],
    hash: bigint | undefined,
  ): UpstreamEndpoint | undefined {
    if (among.length < 2) return among[0];
    const balancing = this.#balancing;
    if (typeof balancing === 'object') {
      this.#ring ??= new HashRing(this.#endpoints, balancing);
      return this.#ring.find(hash ?? this.#randomHash(), new Set(among));
    }
    return this.#ways[balancing](among);
  }

  readonly #ways: { readonly [K in Extract<Balancing, string>]: Way } = {
    leastRequest: (among) => leastLoadedOfTwo(among, this.#random),
    random: (among) => among[Math.floor(this.#random() * among.length)],
    roundRobin: (among) => nextInTurn(among) ?? this.#nextOfEqual(among),
  };

  #nextOfEqual(among: readonly UpstreamEndpoint[]): UpstreamEndpoint | undefined {
    this.#turn = (this.#turn + 1) % TURNS;
    return among[this.#turn % among.length];
  }

  #randomHash(): bigint {
    return BigInt(Math.floor(this.#random() * Number.MAX_SAFE_INTEGER)) << 11n;
  }
}

const TURNS = 0x4000_0000;

/** Each is credited by its weight, and the richest pays for all. @returns `undefined` where weights are equal. */
function nextInTurn(among: readonly UpstreamEndpoint[]): UpstreamEndpoint | undefined {
  const weight = among[0]?.definition.weight;
  if (among.every(({ definition }) => definition.weight === weight)) return undefined;
  let richest: UpstreamEndpoint | undefined;
  let total = 0;
  for (const endpoint of among) {
    endpoint.credit += endpoint.definition.weight;
    total += endpoint.definition.weight;
    if (richest === undefined || endpoint.credit > richest.credit) richest = endpoint;
  }
  if (richest !== undefined) richest.credit -= total;
  return richest;
}

function leastLoadedOfTwo(
  endpoints: readonly UpstreamEndpoint[],
  random: () => number,
): UpstreamEndpoint | undefined {
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
