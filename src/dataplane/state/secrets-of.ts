// Which secrets connections to a cluster are made with.
import type { Cluster } from '@weft/xds/resources/cluster';

export function secretsOf(cluster: Cluster | undefined): readonly string[] {
  if (cluster?.meshTls !== undefined) return [cluster.meshTls.validationSecret];
  const { trust, certificate } = cluster?.originatedTls ?? {};
  return [trust, certificate].flatMap((one) => (one?.kind === 'secret' ? [one.name] : []));
}

/** What TLS to the outside is made with; one that the control plane does not have is waited for no longer. */
export const isAwaitingSecrets = (
  cluster: Cluster,
  secrets: ReadonlyMap<string, { readonly value: unknown; readonly isGone: boolean }>,
): boolean =>
  cluster.originatedTls !== undefined &&
  secretsOf(cluster).some((name) => {
    const entry = secrets.get(name);
    return entry === undefined || (entry.value === undefined && !entry.isGone);
  });
