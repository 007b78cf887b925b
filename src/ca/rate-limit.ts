// Decides who has asked too often: a bucket of tokens for everybody, and one for each address.
import type { Clock } from '@weft/model/clock';

export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

export interface Bucket {
  /** @returns whether there was one to take. */
  take(): boolean;
}

export function createBucket({ burst, perSecond }: Rate, clock: Clock): Bucket {
  let tokens = burst;
  let filledAtMs = clock.now();
  return {
    take() {
      const nowMs = clock.now();
      // A clock that was set back adds nothing.
      const elapsedMs = Math.max(0, nowMs - filledAtMs);
      filledAtMs = nowMs;
      tokens = Math.min(burst, tokens + (elapsedMs * perSecond) / 1_000);
      if (tokens < 1) return false;
      tokens--;
      return true;
    },
  };
}

export interface RateLimit {
  admits(address: string): boolean;
}

/** About 1 MB; beyond, the address that asked least recently is forgotten, and the rate of all still holds. */
const MAX_ADDRESSES = 10_000;

export function createRateLimit(options: {
  readonly total: Rate;
  readonly perAddress: Rate;
  readonly clock: Clock;
}): RateLimit {
  const { clock, perAddress } = options;
  const total = createBucket(options.total, clock);
  const buckets = new Map<string, Bucket>();
  return {
    admits(address) {
      const bucket = buckets.get(address) ?? createBucket(perAddress, clock);
      buckets.delete(address);
      for (const oldest of buckets.keys()) {
        if (buckets.size < MAX_ADDRESSES) break;
        buckets.delete(oldest);
      }
      buckets.set(address, bucket);
      // The address first: one that floods must not empty the bucket of all.
      return bucket.take() && total.take();
    },
  };
}

/** `address:port` without the port. */
export function addressOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  return colon === -1 ? peer : peer.slice(0, colon);
}
