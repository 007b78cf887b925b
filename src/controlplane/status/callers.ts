// Knows who calls which destinations, and whether each caller has acknowledged what holds for it there now.
import { ABSENT } from '@weft/xds/protocol/subscription';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { AdsServer } from '../serve/ads-server.ts';
import type { ProxyRef } from '../serve/view-source.ts';

/** By destination, then by proxy: whether it has the cluster and the routes of now. */
export type Callers = ReadonlyMap<string, ReadonlyMap<string, boolean>>;

export interface CallersOptions {
  readonly ads: Pick<AdsServer, 'eachEntry'>;
  readonly views: Pick<MeshViews, 'viewFor'>;
}

/**
 * What a caller follows is in two resources: of the cluster how connections are made and limited, of the route what
 * is sent again. Who has asked for neither does not call. @param names of destinations, `outbound|PORT||HOST`.
 */
export function findCallers({ ads, views }: CallersOptions, names: ReadonlySet<string>): Callers {
  const callers = new Map<string, Map<string, boolean>>();
  if (names.size === 0) return callers;
  for (const kind of ['cluster', 'route'] as const) {
    ads.eachEntry(kind, (proxy: ProxyRef, name: string, acked: string | undefined) => {
      if (!names.has(name)) return;
      const byProxy = callers.get(name) ?? new Map<string, boolean>();
      callers.set(name, byProxy);
      const wanted = views.viewFor(proxy).get(kind, name)?.version ?? ABSENT;
      // Who may not call any more has it when it has nothing.
      const isCurrent = acked === wanted;
      byProxy.set(proxy.id, isCurrent && byProxy.get(proxy.id) !== false);
    });
  }
  return callers;
}
