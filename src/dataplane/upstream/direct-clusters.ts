// Clusters of one address each, for requests that go where their client was going: made when first used, bounded.
import type { Cluster } from '@weft/xds/resources/cluster';
import type { Address } from './connector.ts';
import { endpointKey } from './endpoint.ts';

/** Addresses that connections are kept to; the longest unused one goes. */
const MAX_ADDRESSES = 256;

export class DirectClusters<C extends Disposable> implements Disposable {
  readonly #create: (cluster: Cluster) => C;
  /** The longest unused first. */
  readonly #byAddress = new Map<string, C>();

  constructor(create: (cluster: Cluster) => C) {
    this.#create = create;
  }

  towards(cluster: Cluster, address: Address): C {
    const key = endpointKey(address);
    const known = this.#byAddress.get(key);
    this.#byAddress.delete(key);
    const made =
      known ?? this.#create({ ...cluster, discovery: { kind: 'static', endpoints: [address] } });
    this.#byAddress.set(key, made);
    if (this.#byAddress.size > MAX_ADDRESSES) {
      const [oldest] = this.#byAddress;
      if (oldest !== undefined) {
        this.#byAddress.delete(oldest[0]);
        oldest[1][Symbol.dispose]();
      }
    }
    return made;
  }

  [Symbol.dispose](): void {
    for (const cluster of this.#byAddress.values()) cluster[Symbol.dispose]();
    this.#byAddress.clear();
  }
}
