// Whether nothing that is sent to a cluster can go out in the clear.
import type { Cluster } from '@weft/xds/resources/cluster';
import type { UpstreamEndpoint } from './endpoint.ts';

/** Every endpoint that may be chosen is reached by TLS; of none nothing is known. */
export const isSecured = (
  { meshTls, originatedTls }: Cluster,
  endpoints: readonly Pick<UpstreamEndpoint, 'definition'>[],
): boolean =>
  originatedTls !== undefined ||
  (meshTls !== undefined && endpoints.every(({ definition }) => definition.tlsMode === 'mesh'));
