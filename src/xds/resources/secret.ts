// What certificates and authorities are delivered: the mesh's trust bundle, and what is for clients and servers outside the mesh.
import type { TrustDomain } from '@weft/model/identity';
import type { SecretText } from '@weft/model/secret-text';

/** The roots of one trust domain, which vouch for nobody else. */
export interface TrustDomainRoots {
  readonly trustDomain: TrustDomain;
  readonly trustedCaPem: string;
}

/** `envoy.extensions.transport_sockets.tls.v3.Secret` with a validation_context. The mesh's own has the name `ROOTCA`. */
export interface TrustSecret {
  readonly name: string;
  /** Concatenated PEM certificates; never empty. */
  readonly trustedCaPem: string;
  /** Lists of what they revoked; absent: none is asked for. */
  readonly crlPem?: string;
  /** Of the mesh's own alone: each trust domain that is believed, its own first, with its roots. Absent: its own alone. */
  readonly byTrustDomain?: readonly TrustDomainRoots[];
}

/** The same with a tls_certificate, and never by a name of the mesh's own: a proxy's own key it makes itself. */
export interface CertificateSecret {
  readonly name: string;
  /** Leaf first, then those that vouch for it. */
  readonly certificatePem: string;
  readonly keyPem: SecretText;
}

export type Secret = TrustSecret | CertificateSecret;

export const isTrust = (secret: Secret): secret is TrustSecret => 'trustedCaPem' in secret;

export const BUNDLE_SECRET = 'ROOTCA';
/** The proxy's own certificate. It is served by the proxy to itself and never travels. */
export const OWN_CERTIFICATE_SECRET = 'default';
