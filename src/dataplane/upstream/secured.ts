// Whether nothing that is sent to a cluster can go out in the clear.
import type { Cluster } from '@weft/xds/resources/cluster';
import type { UpstreamEndpoint } from './endpoint.ts';

/** Whether it leads where its name says: to addresses that were looked up or listed, or that prove the name themselves. */
export const isNamed = ({ discovery, originatedTls }: Cluster): boolean =>
  discovery.kind !== 'originalDst' || originatedTls !== undefined;

/** Every endpoint that may be chosen is reached by TLS; of none nothing is known. */
export const isSecured = (
  { meshTls, originatedTls }: Cluster,
  endpoints: readonly Pick<UpstreamEndpoint, 'definition'>[],
): boolean =>
  originatedTls !== undefined ||
  (meshTls !== undefined && endpoints.every(({ definition }) => definition.tlsMode === 'mesh'));
