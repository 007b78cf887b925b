// Asks DNS for the addresses of a host outside the mesh, and how long the answer holds.
import { Resolver, lookup } from 'node:dns/promises';

export interface Answer {
  /** Both families; never empty. */
  readonly addresses: readonly string[];
  /** `undefined` where nothing says it: names from the hosts file. */
  readonly ttlMs: number | undefined;
}

/** @throws Error with DNS' own `code` when there is no answer. */
export type ResolveHost = (host: string) => Promise<Answer>;

/** 2 s a try, two tries: callers wait for the first answer within their connect timeout of 10 s. */
const TRY_MS = 2_000;
const TRIES = 2;

/** @param servers `IP[:PORT]`; absent: those of the system. */
export function createHostResolver(servers?: readonly string[]): ResolveHost {
  const resolver = new Resolver({ timeout: TRY_MS, tries: TRIES });
  if (servers !== undefined) resolver.setServers(servers);
  return async (host) => {
    const found = await Promise.allSettled([
      resolver.resolve4(host, { ttl: true }),
      resolver.resolve6(host, { ttl: true }),
    ]);
    const records = found.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    if (records.length > 0) {
      const ttl = Math.min(...records.map((record) => record.ttl));
      return { addresses: records.map(({ address }) => address), ttlMs: ttl * 1_000 };
    }
    if (servers === undefined) {
      // What only the hosts file knows: `hostAliases` of a Pod.
      const local = await lookup(host, { all: true }).catch(() => []);
      if (local.length > 0)
        return { addresses: local.map(({ address }) => address), ttlMs: undefined };
    }
    const failed = found.find((one) => one.status === 'rejected');
    throw failed?.reason instanceof Error ? failed.reason : new Error(`Cannot resolve ${host}`);
  };
}
