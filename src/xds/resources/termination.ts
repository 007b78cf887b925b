// TLS of clients outside the mesh at a filter chain: `DownstreamTlsContext` with certificates that are not the mesh's.
import type { ClientConstraints, TlsVersion } from '@weft/model/tls/types';

/** A chain that ends in it refuses every connection: the cluster has no endpoints, and a sidecar does not ask it. */
export const REFUSING_CLUSTER = 'blackhole';

/** By SDS, or a pair of files beside the proxy. */
export type CertificateRef =
  | { readonly kind: 'sds'; readonly name: string }
  | { readonly kind: 'file'; readonly certificate: string; readonly key: string };

export type ClientTrustRef =
  | { readonly kind: 'sds'; readonly name: string }
  | { readonly kind: 'file'; readonly ca: string; readonly crl?: string };

export interface ClientDemand {
  /** False: a client may show none, and one that it shows must be good. */
  readonly isRequired: boolean;
  readonly trust: ClientTrustRef;
  readonly constraints: ClientConstraints;
}

/** Resumption is off, as in the mesh: every connection shows its certificate and is checked under what is trusted today. */
export interface TerminationTls {
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  readonly cipherSuites: readonly string[];
  readonly alpn: readonly string[];
  /** Never empty. The first is shown to whom none of the others fits by name. */
  readonly certificates: readonly CertificateRef[];
  /** Absent: nobody is asked for a certificate. */
  readonly clients?: ClientDemand;
}
