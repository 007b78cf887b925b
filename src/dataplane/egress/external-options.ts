// What clusters outside the mesh are given by the sidecar: its resolver, its secrets, and whom to tell of trouble.
import type { Logger } from 'pino';
import type { Secret } from '@weft/xds/resources/secret';
import type { ExternalOptions } from './external-connector.ts';
import { createHostResolver } from './resolve-host.ts';

/** The same trouble of one cluster is told once in so long: callers may be many. */
const TELL_AGAIN_MS = 10_000;
/** Clusters whose last trouble is remembered. */
const MAX_TOLD = 256;

export function createExternalOptions(options: {
  readonly dnsServers: readonly string[] | undefined;
  readonly secret: (name: string) => Secret | undefined;
  readonly now: () => number;
  readonly log: Logger;
  readonly count: (reasonCode: string) => void;
}): ExternalOptions {
  const { dnsServers, secret, now, log, count } = options;
  const toldAt = new Map<string, number>();
  let resolve: ExternalOptions['resolve'] | undefined;
  return {
    secret,
    now,
    // Made when a name is first asked for: most sidecars never ask.
    resolve: (host) => (resolve ??= createHostResolver(dnsServers))(host),
    onProblem: (cluster, { reasonCode, detail }) => {
      count(reasonCode);
      const key = `${cluster} ${reasonCode}`;
      if (now() < (toldAt.get(key) ?? Number.NEGATIVE_INFINITY) + TELL_AGAIN_MS) return;
      if (toldAt.size >= MAX_TOLD) toldAt.clear();
      toldAt.set(key, now());
      log.warn(
        { cluster, reasonCode, detail },
        'a host outside the mesh cannot be called as configured',
      );
    },
  };
}
