// How a listener that takes other TLS, too, tells the mesh's: by its own ALPN, or by the name that its clients call.
import { isHttp, type PortProtocol } from '@weft/model/mesh/protocol';
import {
  type FilterChainMatch,
  MESH_ALPN,
  MESH_OFFERS,
  MESH_SERVER_NAMES,
} from '@weft/xds/resources/listener';

export interface MeshMatch {
  readonly label: string;
  readonly carries: 'http' | 'tcp';
  readonly match: Pick<
    FilterChainMatch,
    'transportProtocol' | 'applicationProtocols' | 'serverNames'
  >;
}

/** By which a client says that it carries HTTP, where it is known already that it belongs to the mesh. */
export const HTTP_OFFERS: readonly string[] = [...MESH_OFFERS.http2, ...MESH_OFFERS.http1];
const MESH_HTTP: readonly string[] = [MESH_ALPN.http2, MESH_ALPN.http1];
/** Every name of the mesh alone. */
export const MESH_NAMES: readonly string[] = [...MESH_HTTP, MESH_ALPN.tcp];
const CALLED: readonly string[] = [`*${MESH_SERVER_NAMES}`];

/**
 * No application's TLS matches: neither the names of protocols nor those of servers are for anybody else. Whoever takes
 * them all the same is asked for a certificate of the mesh.
 */
export function meshMatches(protocol: PortProtocol): readonly MeshMatch[] {
  const by = (
    carries: 'http' | 'tcp',
    applicationProtocols: readonly string[],
    serverNames: readonly string[] = [],
  ): MeshMatch => ({
    label: serverNames.length === 0 ? `mesh-${carries}` : `mesh-named-${carries}`,
    carries,
    match: { transportProtocol: 'tls', applicationProtocols, serverNames },
  });
  if (protocol === 'http1') return [by('http', MESH_NAMES)];
  // Clients of gRPC without a proxy offer `h2`, and no name of the mesh's.
  if (isHttp(protocol)) return [by('http', MESH_NAMES), by('http', [], CALLED)];
  if (protocol !== 'auto') return [by('tcp', MESH_NAMES)];
  return [
    by('http', MESH_HTTP),
    by('tcp', [MESH_ALPN.tcp]),
    by('http', HTTP_OFFERS, CALLED),
    by('tcp', [], CALLED),
  ];
}
