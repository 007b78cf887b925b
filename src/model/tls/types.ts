// What a TlsTermination says: how a workload's ports take TLS of clients outside the mesh, and which certificates of theirs are good.

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** Where a certificate and its key come from: a Secret of the object's namespace, or files beside the sidecar. */
export type CertificateSource =
  | { readonly kind: 'secret'; readonly name: string }
  | { readonly kind: 'file'; readonly certificate: string; readonly key: string };

/** Where the authorities of clients come from, and the lists of what they revoked: `ca.crt` and `ca.crl` of a Secret, or files. */
export type ClientTrustSource =
  | { readonly kind: 'secret'; readonly name: string }
  | { readonly kind: 'file'; readonly ca: string; readonly crl?: string };

/** Without TLS at a port: passed on as the mTLS mode allows, refused, or told to come again by HTTPS. */
export type PlaintextAnswer =
  | { readonly kind: 'allow' | 'refuse' }
  | { readonly kind: 'redirect'; readonly status: 301 | 308; readonly port: number };

/** RFC 6797. */
export interface Hsts {
  readonly maxAgeSeconds: number;
  readonly includeSubDomains: boolean;
  readonly preload: boolean;
}

/** One attribute of a distinguished name: its type as a dotted OID. `undefined`: any value. */
export interface NameAttribute {
  readonly type: string;
  readonly value: string | undefined;
}

/** A whole distinguished name, most specific first, as RFC 4514 writes it. */
export interface NamePattern {
  readonly text: string;
  readonly attributes: readonly NameAttribute[];
}

export interface AltNamePattern {
  readonly type: 'DNS' | 'URI' | 'EMAIL';
  readonly match: 'exact' | 'prefix' | 'suffix';
  readonly value: string;
}

export type KeyRule =
  | { readonly kind: 'RSA'; readonly minBits: number }
  /** OpenSSL's names: `prime256v1`. Empty: any curve. */
  | { readonly kind: 'EC'; readonly curves: readonly string[] }
  | { readonly kind: 'Ed25519' };

/** Of each list one entry must fit; an empty list asks for nothing. */
export interface ClientConstraints {
  readonly issuers: readonly NamePattern[];
  readonly subjects: readonly NamePattern[];
  readonly subjectAltNames: readonly AltNamePattern[];
  /** Dotted OIDs, besides clientAuth, which is always asked for. All of them must be there. */
  readonly extendedKeyUsages: readonly string[];
  readonly keys: readonly KeyRule[];
  /** Hex, lower case, without leading zeros. */
  readonly serials: readonly string[];
  /** SHA-256 of the SubjectPublicKeyInfo, hex. */
  readonly spkiPins: readonly string[];
  /** A list of revoked certificates that was made longer ago counts as none; absent: until its nextUpdate. */
  readonly crlMaxAgeMs?: number;
}

export interface ClientCertificates {
  readonly mode: 'OPTIONAL' | 'REQUIRED';
  readonly trust: ClientTrustSource;
  /** A certificate that no list speaks of is refused. */
  readonly crl: 'required' | 'none';
  readonly constraints: ClientConstraints;
}

/** The rules of one TlsTermination, wherever they are to hold. */
export interface TlsRules {
  /** The first is shown to clients that ask for no name, or for one that no certificate has. */
  readonly certificates: readonly CertificateSource[];
  /** Names that are served; others are refused. Empty: every name. */
  readonly serverNames: readonly string[];
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Of TLS 1.2, by OpenSSL's names; those of TLS 1.3 are all sound. */
  readonly cipherSuites: readonly string[];
  /** Best first; absent: as the port's protocol goes, for an application that is spoken to as its clients speak. */
  readonly alpn?: readonly string[];
  readonly plaintext: PlaintextAnswer;
  readonly hsts?: Hsts;
  readonly clientCertificates?: ClientCertificates;
}

export interface TlsTermination extends TlsRules {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly selector: ReadonlyMap<string, string> | undefined;
  /** The workload's own; empty: all that are declared. */
  readonly ports: readonly number[];
}

/** Forward secrecy and AEAD alone: what RFC 9325 recommends and browsers since 2014 speak. */
export const CIPHER_SUITES: readonly string[] = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
];

export const NO_CONSTRAINTS: ClientConstraints = {
  issuers: [],
  subjects: [],
  subjectAltNames: [],
  extendedKeyUsages: [],
  keys: [],
  serials: [],
  spkiPins: [],
};
