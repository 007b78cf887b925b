// Says to gRPC programs where their configuration and their certificates come from: the bootstrap of gRFC A27, A29 and A65.
import { join } from 'node:path';
import type { Locality } from '@weft/model/mesh/locality';

/** What `DownstreamTlsContext` and `UpstreamTlsContext` of the control plane name. */
const CERTIFICATE_PROVIDER = 'weft';
const SERVER_LISTENER_TEMPLATE = 'grpc/server?xds.resource.listening_address=%s';
/** How often programs look whether their files are others. A second: so late do they trust a new root at most. */
export const REFRESH_MS = 1_000;
export const IDENTITY_FOLDER = 'identity';
export const FILES = { certificate: 'tls.crt', key: 'tls.key', bundle: 'ca.crt' } as const;

export interface BootstrapSpec {
  readonly nodeId: string;
  readonly namespace: string;
  readonly locality: Locality | undefined;
  /** Where `identity/` is. */
  readonly folder: string;
  readonly server:
    | { readonly kind: 'agent'; readonly socket: string }
    | { readonly kind: 'direct'; readonly address: string };
}

export function bootstrapText(spec: BootstrapSpec): string {
  const { nodeId, namespace, locality, folder, server } = spec;
  const at = (name: string): string => join(folder, IDENTITY_FOLDER, name);
  const files = {
    certificate_file: at(FILES.certificate),
    private_key_file: at(FILES.key),
    ca_certificate_file: at(FILES.bundle),
    refresh_interval: `${REFRESH_MS / 1_000}s`,
  };
  const bootstrap = {
    xds_servers: [
      server.kind === 'agent'
        ? { server_uri: `unix:${server.socket}`, channel_creds: [{ type: 'insecure' }], ...VERSION }
        : {
            server_uri: server.address,
            channel_creds: [{ type: 'tls', config: files }],
            ...VERSION,
          },
    ],
    node: {
      id: nodeId,
      cluster: namespace,
      locality: { region: locality?.region ?? '', zone: locality?.zone ?? '' },
    },
    certificate_providers: {
      [CERTIFICATE_PROVIDER]: { plugin_name: 'file_watcher', config: files },
    },
    server_listener_resource_name_template: SERVER_LISTENER_TEMPLATE,
  };
  return `${JSON.stringify(bootstrap, undefined, 2)}\n`;
}

const VERSION = { server_features: ['xds_v3'] };
