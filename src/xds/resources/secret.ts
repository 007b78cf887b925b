// The trust bundle as it is delivered. Weft never sends a private key: a proxy makes its own.

/** `envoy.extensions.transport_sockets.tls.v3.Secret` with a validation_context. The name is `ROOTCA`. */
export interface Secret {
  readonly name: string;
  /** Concatenated PEM certificates; never empty. */
  readonly trustedCaPem: string;
}

export const BUNDLE_SECRET = 'ROOTCA';
/** The proxy's own certificate. It is served by the proxy to itself and never travels. */
export const OWN_CERTIFICATE_SECRET = 'default';
