// The sidecar's connection to its control plane: mutual TLS with the certificate of now, to exactly the control plane's identity.
import tls from 'node:tls';
import type { SpiffeId } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import type { MeshMaterial } from '../tls/credentials.ts';
import { Channel } from './grpc/channel.ts';

/** A name for TLS alone: servers are known by their SPIFFE id. */
export const SERVER_NAME = 'weft-control-plane';

/** 8 MiB: two of the largest resources at once. */
const MAX_MESSAGE_BYTES = 8 * 1_024 * 1_024;

/** A control plane that vanished is noticed within 40 s. */
const KEEPALIVE = { everyMs: 30_000, answerWithinMs: 10_000 } as const;

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

/** Trusts `bundlePem` alone; without a certificate only the server proves who it is. */
export const clientContext = (
  bundlePem: string,
  own: MeshMaterial | undefined,
): tls.SecureContext =>
  tls.createSecureContext({
    ca: bundlePem,
    minVersion: 'TLSv1.3',
    ...(own && { key: own.keyPem, cert: own.chainPem }),
  });

/**
 * A channel that trusts `bundlePem` alone.
 * @param own absent before enrolment: then only the server proves who it is.
 */
export function openChannel(options: {
  readonly address: string;
  readonly bundlePem: string;
  readonly controlPlane: SpiffeId;
  readonly own?: MeshMaterial;
}): Channel {
  const { address, bundlePem, controlPlane, own } = options;
  return new Channel({
    address: splitAddress(address),
    tls: {
      context: clientContext(bundlePem, own),
      serverName: SERVER_NAME,
      checkServerIdentity: checkControlPlane(controlPlane),
    },
    authority: SERVER_NAME,
    userAgent: 'weft-sidecar',
    maxMessageBytes: MAX_MESSAGE_BYTES,
    keepalive: KEEPALIVE,
  });
}

/** Of `host:port` and `[::1]:port`. */
function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at);
  return {
    host: host.startsWith('[') ? host.slice(1, -1) : host,
    port: Number(address.slice(at + 1)),
  };
}
