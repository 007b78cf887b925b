// How a cluster chooses endpoints, on the wire.
import type { PlainMessage } from '../registry.ts';
import type { Balancing, Cluster, RingHash } from '../resources/cluster.ts';
import { choose, type Fields, integer, message, type Read, report } from './fields.ts';
import { encodeUint } from './well-known.ts';

/** Envoy's own bound. */
export const MAX_RING_SIZE = 8_388_608;

export function encodeBalancing({ discovery, balancing, prefersLocal }: Cluster): PlainMessage {
  if (discovery.kind === 'originalDst') return { lb_policy: 'CLUSTER_PROVIDED' };
  const common = prefersLocal && { common_lb_config: LOCAL_FIRST };
  if (typeof balancing === 'object') {
    const { minimumRingSize, maximumRingSize } = balancing;
    return {
      ...common,
      lb_policy: 'RING_HASH',
      ring_hash_lb_config: {
        minimum_ring_size: encodeUint(minimumRingSize),
        maximum_ring_size: encodeUint(maximumRingSize),
      },
    };
  }
  return { ...common, lb_policy: LB_POLICIES[balancing] };
}

/** Also where there are few. */
const LOCAL_FIRST: PlainMessage = { zone_aware_lb_config: { min_cluster_size: encodeUint(1) } };

export const readPrefersLocal: Read<true> = (fields) =>
  message(fields, 'zone_aware_lb_config', (config): true | undefined => {
    const least = message(config, 'min_cluster_size', (wrapper) => integer(wrapper, 'value'));
    return least === 1 ? true : report(config, 'min_cluster_size', 'not-supported', 'must be 1');
  }) ?? report(fields, 'zone_aware_lb_config', 'missing', 'is missing');

const LB_POLICIES: { readonly [K in Exclude<Balancing, RingHash>]: string } = {
  leastRequest: 'LEAST_REQUEST',
  roundRobin: 'ROUND_ROBIN',
  random: 'RANDOM',
};

/** Endpoints that the client chose itself are not balanced: there the policy on the wire is another, read as round robin. */
export function readBalancing(
  fields: Fields,
  discovery: Cluster['discovery']['kind'] | undefined,
): Balancing | undefined {
  if (discovery === 'originalDst')
    return choose(fields, 'lb_policy', { CLUSTER_PROVIDED: 'roundRobin' } as const);
  const policy = choose(fields, 'lb_policy', {
    '': 'roundRobin',
    ROUND_ROBIN: 'roundRobin',
    LEAST_REQUEST: 'leastRequest',
    RANDOM: 'random',
    RING_HASH: 'ringHash',
  } as const);
  if (policy !== 'ringHash') return policy;
  return (
    message(fields, 'ring_hash_lb_config', readRing) ??
    report(fields, 'ring_hash_lb_config', 'missing', 'is missing')
  );
}

const readRing: Read<RingHash> = (fields) => {
  const sizeOf = (name: string): number =>
    message(fields, name, (wrapper) => integer(wrapper, 'value', MAX_RING_SIZE)) ?? 0;
  const minimumRingSize = sizeOf('minimum_ring_size');
  const maximumRingSize = sizeOf('maximum_ring_size');
  if (minimumRingSize === 0 || minimumRingSize > maximumRingSize)
    return report(fields, 'minimum_ring_size', 'out-of-range', 'is not within 1 to the maximum');
  return { kind: 'ringHash', minimumRingSize, maximumRingSize };
};
