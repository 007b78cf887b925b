// Gives gRPC servers their TLS: certificates and roots that are replaced while serving, and the peer's identity from its certificate alone.
import type { SecureContextOptions } from 'node:tls';
import { ServerCredentials } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import type { Logger } from 'pino';
import type { Authority } from './authority.ts';
import { keepServerContext } from './server-context.ts';

export interface ServerCredentialsOptions {
  /** `mutual` accepts connections with a client certificate of the current bundle alone. */
  readonly mode: 'server-auth' | 'mutual';
  readonly authority: Authority;
  /** Names and addresses at which clients dial; the SPIFFE id of the control plane is in the certificate in any case. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly clock?: Clock;
  readonly log?: Logger;
}

export type Peer =
  | {
      readonly ok: true;
      readonly identity: SpiffeId;
      /** In hex; absent when the certificate does not say. */
      readonly issuerKeyId: string | undefined;
      /** In hex, without leading zeros. */
      readonly serial: string;
      readonly notAfterUnixSeconds: number;
    }
  | { readonly ok: false; readonly reason: string };

/** The part of a gRPC call that says what its connection has proven. */
export interface AuthenticatedCall {
  getAuthContext(): { readonly sslPeerCertificate?: { readonly raw: Uint8Array } } | null;
}

/**
 * gRPC's own credentials are fixed at creation, and its experimental certificate provider exchanges its arguments in 1.14;
 * the base class's watchers are what both of them stand on.
 */
class ReplaceableCredentials extends ServerCredentials {
  constructor(mode: ServerCredentialsOptions['mode'], context: SecureContextOptions) {
    const isMutual = mode === 'mutual';
    super({ requestCert: isMutual, rejectUnauthorized: isMutual }, context);
  }

  replace(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

export interface ReplacedServerCredentials extends Disposable {
  readonly credentials: ServerCredentials;
}

/** Renewed at half of the certificate's life, and whenever the roots change. Disposing ends the renewals, not the service. */
export function createServerCredentials(
  options: ServerCredentialsOptions,
): ReplacedServerCredentials {
  const { mode, ...rest } = options;
  let credentials: ReplaceableCredentials | undefined;
  const context = keepServerContext({ ...rest, isMutual: mode === 'mutual' }, (next) =>
    credentials?.replace(next),
  );
  credentials = new ReplaceableCredentials(mode, context.first);
  return { credentials, [Symbol.dispose]: () => context[Symbol.dispose]() };
}

/** Who is at the other end: read from the DER of the certificate that the handshake has verified, never from text made of it. */
export function peerOf(call: AuthenticatedCall): Peer {
  // gRPC leaves the certificate out when the handshake has not verified it.
  const raw = call.getAuthContext()?.sslPeerCertificate?.raw;
  if (raw === undefined) return { ok: false, reason: 'the connection has no verified certificate' };
  const identity = peerIdentity(raw);
  if (!identity.ok) return identity;
  if (!identity.clientAuth) {
    return { ok: false, reason: 'the certificate is not for clients' };
  }
  const { authorityKeyIdHex, serialHex, notAfterUnixSeconds } = identity.facts;
  return {
    ok: true,
    identity: identity.spiffeId,
    issuerKeyId: authorityKeyIdHex,
    serial: serialHex.startsWith('00') ? serialHex.slice(2) : serialHex,
    notAfterUnixSeconds,
  };
}
