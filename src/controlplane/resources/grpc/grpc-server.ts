// Builds the listener of a gRPC server without a proxy: mutual TLS with its own certificate, and the rules that judge every call.
import type { InboundSpec, MeshSettings } from '@weft/model/mesh/mesh';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { MtlsMode } from '@weft/model/policy/types';
import { encodeAddress } from '@weft/xds/codec/address';
import { encodeAny } from '@weft/xds/codec/fields';
import { encodeRbac } from '@weft/xds/codec/rbac';
import { encodeBool, encodeExtension } from '@weft/xds/codec/well-known';
import type { PlainMessage } from '@weft/xds/registry';
import { rulesWithoutPeers } from '../rules-of-outsiders.ts';
import type { GrpcLibrary } from '../../serve/view-source.ts';
import type { ListeningAddress } from './grpc-names.ts';
import { HTTP_MANAGER, ROUTER } from './grpc-destinations.ts';
import { serverRules } from './grpc-server-rules.ts';
import { DOWNSTREAM_TLS, TLS_SOCKET, ownIdentity, trustedRoots } from './grpc-tls.ts';

const RBAC_FILTER = 'envoy.extensions.filters.http.rbac.v3.RBAC';

export interface ServerSpec {
  readonly name: string;
  readonly at: ListeningAddress;
  readonly inbound: InboundSpec;
  readonly library: GrpcLibrary;
}

/**
 * It cannot tell TLS from plaintext on one port: where a port is PERMISSIVE, mutual TLS is asked for all the same. Where
 * it is DISABLEd, the application's own credentials hold, and nobody is anybody of the mesh.
 */
export function buildServerListener({ name, at, inbound, library }: ServerSpec): PlainMessage {
  const mode = inbound.ports.find(({ port }) => port === at.port)?.mode ?? inbound.mode;
  const isPlain = mode === 'DISABLE';
  const filters = [
    ...rulesUnder(mode, inbound, library).map((set, index) =>
      encodeExtension(
        { name: `weft.rbac.${index}`, typeName: RBAC_FILTER },
        { rules: encodeRbac(set) },
      ),
    ),
    ROUTER,
  ];
  const manager = {
    stat_prefix: `inbound_${at.port}`,
    route_config: { name: 'inbound', virtual_hosts: [OWN_HOST] },
    http_filters: filters,
  };
  return {
    name,
    address: encodeAddress(at),
    traffic_direction: 'INBOUND',
    filter_chains: [
      {
        name: isPlain ? 'plain' : 'mesh',
        filters: [{ name: 'http', typed_config: encodeAny(HTTP_MANAGER, manager) }],
        ...(!isPlain && { transport_socket: MUTUAL_TLS }),
      },
    ],
  };
}

/** All that a call is judged by at a port of that mode. */
export function rulesUnder(
  mode: MtlsMode,
  inbound: InboundSpec,
  library: GrpcLibrary,
): readonly RbacRules[] {
  const { sets } = serverRules(inbound, library);
  return mode === 'DISABLE' ? sets.map(rulesWithoutPeers) : [ofTheMesh(inbound.settings), ...sets];
}

/** Its TLS takes every certificate of the bundle: whose roots issue others too, those are nobody of the mesh. */
const ofTheMesh = ({ trustDomain, trustDomainAliases }: MeshSettings): RbacRules => ({
  action: 'ALLOW',
  policies: [
    {
      name: 'weft-mesh',
      permissions: [{ kind: 'any' }],
      principals: [trustDomain, ...trustDomainAliases].map((one) => ({
        kind: 'authenticated',
        name: { kind: 'prefix', value: `spiffe://${one}/`, ignoreCase: false },
      })),
    },
  ],
});

const OWN_HOST: PlainMessage = {
  name: 'inbound',
  domains: ['*'],
  routes: [{ match: { prefix: '/' }, non_forwarding_action: {} }],
};

const MUTUAL_TLS: PlainMessage = encodeExtension(
  { name: TLS_SOCKET, typeName: DOWNSTREAM_TLS },
  {
    common_tls_context: { ...ownIdentity(), validation_context: trustedRoots() },
    require_client_certificate: encodeBool(true),
  },
);
