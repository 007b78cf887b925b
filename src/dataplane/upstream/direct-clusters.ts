// Clusters of one address or name each, for calls that go where their client was going: made when first used, bounded.
import type { Cluster } from '@weft/xds/resources/cluster';
import type { DnsDiscovery } from '@weft/xds/resources/egress';
import type { Address } from './connector.ts';
import { endpointKey } from './endpoint.ts';

/** Addresses and names that connections are kept to; the longest unused one goes. */
const MAX_KEPT = 256;

export class DirectClusters<C extends Disposable> implements Disposable {
  readonly #create: (cluster: Cluster) => C;
  /** The longest unused first. */
  readonly #kept = new Map<string, C>();

  constructor(create: (cluster: Cluster) => C) {
    this.#create = create;
  }

  towards(cluster: Cluster, address: Address): C {
    const discovery = { kind: 'static', endpoints: [address] } as const;
    return this.#keep(endpointKey(address), { ...cluster, discovery });
  }

  named(cluster: Cluster, discovery: DnsDiscovery): C {
    return this.#keep(`${discovery.host} ${discovery.port}`, { ...cluster, discovery });
  }

  #keep(key: string, cluster: Cluster): C {
    const made = this.#kept.get(key) ?? this.#create(cluster);
    this.#kept.delete(key);
    this.#kept.set(key, made);
    const [oldest] = this.#kept;
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) {
      this.#kept.delete(oldest[0]);
      oldest[1][Symbol.dispose]();
    }
    return made;
  }

  [Symbol.dispose](): void {
    for (const cluster of this.#kept.values()) cluster[Symbol.dispose]();
    this.#kept.clear();
  }
}
