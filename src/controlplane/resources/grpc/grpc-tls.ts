// Mutual TLS as gRPC has it: certificates come from the provider that the bootstrap names, and a peer is known by exact SPIFFE ids.
import { encodeStringMatcher } from '@weft/xds/codec/string-match';
import { encodeExtension } from '@weft/xds/codec/well-known';
import type { PlainMessage } from '@weft/xds/registry';
import { MESH_SERVER_NAMES } from '@weft/xds/resources/listener';
import { CERTIFICATE_PROVIDER } from './grpc-names.ts';

const TLS_TYPES = 'envoy.extensions.transport_sockets.tls.v3';
/** gRPC takes no other name. */
export const TLS_SOCKET = 'envoy.transport_sockets.tls';
export const DOWNSTREAM_TLS = `${TLS_TYPES}.DownstreamTlsContext`;

/** TLS versions and ALPN are gRPC's own: what names them is refused, or ignored. */
export const ownIdentity = (): PlainMessage => ({
  tls_certificate_provider_instance: { instance_name: CERTIFICATE_PROVIDER },
});

export const trustedRoots = (): PlainMessage => ({
  ca_certificate_provider_instance: { instance_name: CERTIFICATE_PROVIDER },
});

/** RFC 1035 §2.3.4; a longer one is not said. */
const MAX_SERVER_NAME = 253;

/**
 * By which a PERMISSIVE sidecar tells the mesh's TLS. Said by libraries that know gRFC A101; there is no underscore in
 * it, as in those of sidecars, for Java's takes none.
 */
function serverNameOf(host: string): string | undefined {
  const name = `${host}${MESH_SERVER_NAMES}`;
  return name.length > MAX_SERVER_NAME ? undefined : name;
}

/**
 * `match_subject_alt_names`, deprecated or not, is what gRPC reads; `match_typed_subject_alt_names` it passes over, and
 * would take any certificate of the bundle.
 * @throws {TypeError} when no peer is named: then any would do.
 */
export function encodeGrpcUpstreamTls(host: string, peerUris: readonly string[]): PlainMessage {
  if (peerUris.length === 0)
    throw new TypeError('Cannot encode a TLS context: it names no peer, and would accept any');
  const names = peerUris.map((value) =>
    encodeStringMatcher({ kind: 'exact', value, ignoreCase: false }),
  );
  return encodeExtension(
    { name: TLS_SOCKET, typeName: `${TLS_TYPES}.UpstreamTlsContext` },
    {
      sni: serverNameOf(host),
      common_tls_context: {
        ...ownIdentity(),
        validation_context: { ...trustedRoots(), match_subject_alt_names: names },
      },
    },
  );
}
