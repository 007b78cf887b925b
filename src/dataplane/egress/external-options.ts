// What clusters outside the mesh are given by the sidecar: its resolver, its secrets, and whom to tell of trouble.
import type { Secret } from '@weft/xds/resources/secret';
import type { SidecarOptions } from '../options.ts';
import type { ExternalOptions } from './external-connector.ts';

/** The same trouble of one cluster is told once in so long: callers may be many. */
const TELL_AGAIN_MS = 10_000;
/** Clusters whose last trouble is remembered. */
const MAX_TOLD = 256;

export function createExternalOptions(
  options: Pick<SidecarOptions, 'dnsServers' | 'clock' | 'log'>,
  metrics: { refused(direction: 'outbound', reason: string): void },
  secret: (name: string) => Secret | undefined,
): ExternalOptions {
  const { dnsServers, clock } = options;
  const log = options.log.child({ component: 'egress' });
  const now = (): number => clock.now();
  const toldAt = new Map<string, number>();
  let resolver: Promise<ExternalOptions['resolve']> | undefined;
  return {
    secret,
    now,
    resolve: async (host) => {
      resolver ??= loadResolver(dnsServers);
      return (await resolver)(host);
    },
    onProblem: (cluster, { reasonCode, detail }) => {
      metrics.refused('outbound', reasonCode);
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

/** When a name is first asked for: most sidecars never ask. */
async function loadResolver(
  servers: readonly string[] | undefined,
): Promise<ExternalOptions['resolve']> {
  const { createHostResolver } = await import('./resolve-host.ts');
  return createHostResolver(servers);
}
