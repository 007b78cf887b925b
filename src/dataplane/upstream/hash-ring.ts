// A ring of endpoints: equal hashes find the same one, and when one goes only its own keys move.
import type { RingHash } from '@weft/xds/resources/cluster';
import type { UpstreamEndpoint } from './endpoint.ts';
import { xxhash64 } from './xxhash64.ts';

/** Made as Envoy makes its ring (Ketama, points by XXH64 of `ADDRESS_NUMBER`), so that both send a key to the same place. */
export class HashRing {
  readonly #points: BigUint64Array;
  readonly #owners: readonly UpstreamEndpoint[];

  constructor(endpoints: readonly UpstreamEndpoint[], sizes: RingHash) {
    const points = pointsOf(endpoints, sizes).sort((a, b) => (a.at < b.at ? -1 : 1));
    this.#points = BigUint64Array.from(points, ({ at }) => at);
    this.#owners = points.map(({ owner }) => owner);
  }

  get size(): number {
    return this.#points.length;
  }

  /** The first from the hash on that is usable. */
  find(hash: bigint, usable: ReadonlySet<UpstreamEndpoint>): UpstreamEndpoint | undefined {
    const { size } = this;
    const start = this.#firstFrom(hash);
    for (let step = 0; step < size; step++) {
      const owner = this.#owners[(start + step) % size];
      if (owner !== undefined && usable.has(owner)) return owner;
    }
    return undefined;
  }

  #firstFrom(hash: bigint): number {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#points[middle] ?? 0n) < hash) low = middle + 1;
      else high = middle;
    }
    return low === this.#points.length ? 0 : low;
  }
}

interface Point {
  readonly at: bigint;
  readonly owner: UpstreamEndpoint;
}

/** So many points that the lightest endpoint has a fair share of `minimumRingSize`, and no more than `maximumRingSize`. */
function pointsOf(
  endpoints: readonly UpstreamEndpoint[],
  { minimumRingSize, maximumRingSize }: RingHash,
): Point[] {
  const points: Point[] = [];
  const members = endpoints.filter(({ definition }) => definition.health !== 'draining');
  const total = members.reduce((sum, { definition }) => sum + definition.weight, 0);
  if (total === 0) return points;
  const shares = members.map(({ definition }) => definition.weight / total);
  const least = Math.min(...shares);
  const scale = Math.min(Math.ceil(least * minimumRingSize) / least, maximumRingSize);
  let target = 0;
  for (const [index, owner] of members.entries()) {
    target += scale * (shares[index] ?? 0);
    for (let number = 0; points.length < target; number++) {
      points.push({ at: xxhash64(Buffer.from(`${owner.key}_${number}`)), owner });
    }
  }
  return points;
}
