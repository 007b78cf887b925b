// The sidecar's connection to its control plane: mutual TLS with the certificate of now, to exactly the control plane's identity.
import { Client, type ChannelOptions, credentials } from '@grpc/grpc-js';
import tls from 'node:tls';
import type { SpiffeId } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import type { MeshMaterial } from '../tls/credentials.ts';

/** A name for TLS alone: servers are known by their SPIFFE id. */
const SERVER_NAME = 'weft-control-plane';

/** 8 MiB: two of the largest resources at once. */
const MAX_MESSAGE_BYTES = 8 * 1_024 * 1_024;

export const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.ssl_target_name_override': SERVER_NAME,
  'grpc.default_authority': SERVER_NAME,
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  /** A control plane that vanished is noticed within 40 s. */
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
};

/** Refuses a server that is not the control plane, by the SPIFFE id in its certificate's DER. */
export function checkControlPlane(expected: SpiffeId) {
  return (_host: string, certificate: { readonly raw: Uint8Array }): Error | undefined => {
    const identity = peerIdentity(certificate.raw);
    if (!identity.ok) return new Error(identity.reason);
    if (!identity.serverAuth) return new Error('the certificate may not be used by a server');
    if (identity.spiffeId === expected) return undefined;
    return new Error(`the server is ${identity.spiffeId}, not ${expected}`);
  };
}

/**
 * A channel that trusts `bundlePem` alone.
 * @param own absent before enrolment: then only the server proves who it is.
 */
export function openChannel(options: {
  readonly address: string;
  readonly bundlePem: string;
  readonly controlPlane: SpiffeId;
  readonly own?: MeshMaterial;
}): Client {
  const { address, bundlePem, controlPlane, own } = options;
  const context = tls.createSecureContext({
    ca: bundlePem,
    minVersion: 'TLSv1.3',
    ...(own && { key: own.keyPem, cert: own.chainPem }),
  });
  const secure = credentials.createFromSecureContext(context, {
    checkServerIdentity: checkControlPlane(controlPlane),
  });
  return new Client(address, secure, CHANNEL_OPTIONS);
}
