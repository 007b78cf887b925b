// A gRPC client of another make than the sidecar's own, that trusts and is trusted as a sidecar: for tests that ask what no sidecar asks.
import { Client, credentials } from '@grpc/grpc-js';
import type { SpiffeId } from '@weft/model/identity';
import { checkControlPlane, clientContext, SERVER_NAME } from '@weft/dataplane/control-plane/link';
import type { MeshMaterial } from '@weft/dataplane/tls/credentials';

/** @param options.own absent before enrolment. */
export function openGrpcJsChannel(options: {
  readonly address: string;
  readonly bundlePem: string;
  readonly controlPlane: SpiffeId;
  readonly own?: MeshMaterial;
}): Client {
  const { address, bundlePem, controlPlane, own } = options;
  const secure = credentials.createFromSecureContext(clientContext(bundlePem, own), {
    checkServerIdentity: checkControlPlane(controlPlane),
  });
  return new Client(address, secure, {
    'grpc.ssl_target_name_override': SERVER_NAME,
    'grpc.default_authority': SERVER_NAME,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
  });
}
