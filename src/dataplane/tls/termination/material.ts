// What a port shows to clients outside the mesh and whom it trusts: made ready for handshakes from PEM, or refused as a whole.
import { constants, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { readRevocationLists, type RevocationList } from '@weft/model/tls/crl';
import { readClientCertificate } from '@weft/model/tls/client-certificate';
import type { TerminationTls } from '@weft/xds/resources/termination';
import { splitPem } from '../credentials.ts';

/** PEM texts of one TLS context, in the order in which it names them. */
export interface TerminationPem {
  readonly certificates: readonly {
    /** For metrics and logs: the name of the Secret, or of the file. */
    readonly label: string;
    readonly certificatePem: string;
    readonly keyPem: string;
  }[];
  readonly clients?: { readonly caPem: string; readonly crlPem: string | undefined };
}

export interface ShownCertificate {
  readonly label: string;
  /** DNS names, lower case; `*.x` stands for one label. */
  readonly names: readonly string[];
  readonly notAfterMs: number;
  readonly options: SecureContextOptions;
}

export interface TerminationMaterial {
  /** In the order of the configuration; never empty. */
  readonly certificates: readonly ShownCertificate[];
  /** Whom clients' certificates must come from; absent where none are asked for. */
  readonly clients?: {
    readonly roots: readonly X509Certificate[];
    readonly lists: readonly RevocationList[];
  };
}

/**
 * No tickets, as in the mesh; and no renegotiation, in which a client could show another certificate than the one that
 * was judged.
 */
const SECURE_OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

/** @throws Error when something of it cannot be used: then all of what was in force before stays. */
export function createTerminationMaterial(
  { minVersion, maxVersion, cipherSuites }: TerminationTls,
  pem: TerminationPem,
): TerminationMaterial {
  const { clients } = pem;
  const crl = clients?.crlPem;
  const shared: SecureContextOptions = {
    minVersion,
    maxVersion,
    ...(cipherSuites.length > 0 && { ciphers: ciphersOf(cipherSuites, maxVersion) }),
    honorCipherOrder: true,
    secureOptions: SECURE_OPTIONS,
    ...(clients !== undefined && { ca: clients.caPem }),
    ...(crl !== undefined && { crl }),
  };
  const certificates = pem.certificates.map(({ label, certificatePem, keyPem }) => {
    const options = { ...shared, cert: certificatePem, key: keyPem };
    const leaf = leafOf(label, certificatePem, keyPem);
    // Throws here for what a server would throw for later.
    createSecureContext(options);
    return { label, options, ...leaf };
  });
  if (certificates.length === 0) throw new Error('Cannot take TLS: there is no certificate');
  return { certificates, ...(clients && { clients: trustOf(clients) }) };
}

/** Node has one list for both versions, and those of TLS 1.3 by names of their own. */
const TLS13_SUITES = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
];

const ciphersOf = (suites: readonly string[], maxVersion: TerminationTls['maxVersion']): string =>
  [...(maxVersion === 'TLSv1.3' ? TLS13_SUITES : []), ...suites].join(':');

const CERTIFICATE = '-----BEGIN CERTIFICATE-----';

function leafOf(label: string, certificatePem: string, keyPem: string) {
  const [leafPem] = splitPem(certificatePem);
  if (leafPem?.includes(CERTIFICATE) !== true)
    throw new Error(`Cannot show ${label}: it holds no certificate`);
  const leaf = new X509Certificate(leafPem);
  if (!leaf.checkPrivateKey(keyOf(label, keyPem)))
    throw new Error(`Cannot show ${label}: its key is that of another certificate`);
  const reading = readClientCertificate(leaf.raw);
  if (!reading.ok) throw new Error(`Cannot show ${label}: ${reading.reason}`);
  return { names: reading.certificate.dnsNames, notAfterMs: leaf.validToDate.getTime() };
}

function trustOf({ caPem, crlPem }: NonNullable<TerminationPem['clients']>) {
  const roots = splitPem(caPem).map((pem) => new X509Certificate(pem));
  if (roots.length === 0) throw new Error('Cannot trust any client: there is no authority');
  if (crlPem === undefined) return { roots, lists: [] };
  const reading = readRevocationLists(crlPem);
  if (!reading.ok) throw new Error(`Cannot read who was revoked: ${reading.reason}`);
  return { roots, lists: reading.lists };
}

/** Of the certificate for a name: that has it, else that has it by a wildcard for its first label, else the first. */
export function certificateFor(
  { certificates }: TerminationMaterial,
  serverName: string | undefined,
): number {
  if (serverName === undefined) return 0;
  const name = serverName.toLowerCase();
  const dot = name.indexOf('.');
  const wildcard = dot === -1 ? undefined : `*${name.slice(dot)}`;
  const exact = certificates.findIndex(({ names }) => names.includes(name));
  if (exact !== -1 || wildcard === undefined) return Math.max(exact, 0);
  return Math.max(
    certificates.findIndex(({ names }) => names.includes(wildcard)),
    0,
  );
}

/** What OpenSSL says of a key that it cannot read is left out: nothing of a key is ever said. */
function keyOf(label: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new Error(`Cannot show ${label}: its key cannot be read`);
  }
}
