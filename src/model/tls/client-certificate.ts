// What the certificate of a client outside the mesh says, read from its DER, and whether the constraints take it.
import { createHash, X509Certificate } from 'node:crypto';
import { DerReader, MalformedDer, readExtensionValues } from '../x509.ts';
import {
  type DistinguishedName,
  fitsName,
  formatDistinguishedName,
  readDistinguishedName,
  readOid,
} from './distinguished-name.ts';
import { withoutLeadingZeros } from './parse-client-certificates.ts';
import type { AltNamePattern, ClientConstraints, KeyRule } from './types.ts';

/** RSA keys of 16,384 bits and 64 names fit in; what is longer is not looked at. */
const MAX_CERTIFICATE_BYTES = 32_768;
const MAX_NAMES = 64;

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const OID = 0x06;
const EXPLICIT_0 = 0xa0;
const SAN_EMAIL = 0x81;
const SAN_DNS = 0x82;
const SAN_URI = 0x86;
const OID_SAN = '551d11';
const OID_EKU = '551d25';
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

export interface ClientCertificate {
  readonly subject: DistinguishedName;
  readonly issuer: DistinguishedName;
  /** As RFC 4514 writes them. */
  readonly subjectText: string;
  readonly issuerText: string;
  /** The issuer's name as DER, in hex: what lists of revoked certificates are found by. */
  readonly issuerHex: string;
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  readonly emails: readonly string[];
  readonly extendedKeyUsages: readonly string[];
  /** Hex, lower case, without leading zeros. */
  readonly serialHex: string;
  readonly spkiSha256: string;
  readonly sha256: string;
  readonly key: { readonly type: string; readonly bits: number; readonly curve: string };
}

export type ClientReading =
  | { readonly ok: true; readonly certificate: ClientCertificate }
  | { readonly ok: false; readonly reason: string };

/** Never throws, whatever the bytes. A certificate that can be read in two ways is not read at all. */
export function readClientCertificate(der: Buffer): ClientReading {
  if (der.length > MAX_CERTIFICATE_BYTES)
    return { ok: false, reason: `a certificate of ${der.length} bytes` };
  try {
    return { ok: true, certificate: readFacts(der) };
  } catch (error) {
    if (error instanceof MalformedDer) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Source: RFC 5280 §4.1. */
function readFacts(der: Buffer): ClientCertificate {
  const tbs = new DerReader(
    new DerReader(new DerReader(der).next(SEQUENCE).content).next(SEQUENCE).content,
  );
  if (tbs.peekTag() === EXPLICIT_0) tbs.next();
  const serialHex = withoutLeadingZeros(tbs.next(INTEGER).content.toString('hex'));
  tbs.next(SEQUENCE);
  const issuerName = tbs.next(SEQUENCE);
  const issuer = readDistinguishedName(issuerName.content);
  tbs.next(SEQUENCE);
  const subject = readDistinguishedName(tbs.next(SEQUENCE).content);
  const spki = tbs.next(SEQUENCE).whole;
  const extensions = readExtensionValues(tbs);
  return {
    subject,
    issuer,
    subjectText: formatDistinguishedName(subject),
    issuerText: formatDistinguishedName(issuer),
    issuerHex: issuerName.whole.toString('hex'),
    ...readAltNames(extensions.get(OID_SAN)),
    extendedKeyUsages: readUsages(extensions.get(OID_EKU)),
    serialHex,
    spkiSha256: sha256(spki),
    sha256: sha256(der),
    key: readKey(der),
  };
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** OpenSSL has parsed it already: what is read here fails for nothing that came through a handshake. */
function readKey(der: Buffer): ClientCertificate['key'] {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = new X509Certificate(der).publicKey;
    return {
      type: asymmetricKeyType ?? '',
      bits: asymmetricKeyDetails?.modulusLength ?? 0,
      curve: asymmetricKeyDetails?.namedCurve ?? '',
    };
  } catch (error) {
    if (error instanceof Error) throw new MalformedDer('a key that cannot be read');
    throw error;
  }
}

type AltNames = Pick<ClientCertificate, 'dnsNames' | 'uris' | 'emails'>;

function readAltNames(value: Buffer | undefined): AltNames {
  const found = { dnsNames: [] as string[], uris: [] as string[], emails: [] as string[] };
  if (value === undefined) return found;
  const names = new DerReader(new DerReader(value).next(SEQUENCE).content);
  for (let count = 0; !names.isAtEnd; count++) {
    if (count >= MAX_NAMES) throw new MalformedDer('too many names');
    const { tag, content } = names.next();
    if (tag === SAN_DNS) found.dnsNames.push(printable(content).toLowerCase());
    else if (tag === SAN_URI) found.uris.push(printable(content));
    else if (tag === SAN_EMAIL) found.emails.push(printable(content).toLowerCase());
  }
  return found;
}

/** No blank, no control character, no NUL: names with them have fooled others (CVE-2025-66220, CVE-2021-44532). */
function printable(bytes: Buffer): string {
  for (const byte of bytes) {
    if (byte < 0x21 || byte > 0x7e) throw new MalformedDer(`byte ${byte} in a name`);
  }
  return bytes.toString('latin1');
}

function readUsages(value: Buffer | undefined): readonly string[] {
  if (value === undefined) return [];
  const usages: string[] = [];
  const list = new DerReader(new DerReader(value).next(SEQUENCE).content);
  while (!list.isAtEnd) usages.push(readOid(list.next(OID).content));
  return usages;
}

export type ClientRefusal =
  | 'client-certificate-missing'
  | 'client-certificate-unreadable'
  | 'client-certificate-untrusted'
  | 'client-certificate-expired'
  | 'client-certificate-not-yet-valid'
  | 'client-certificate-revoked'
  | 'client-crl-missing'
  | 'client-crl-stale'
  | 'client-certificate-eku'
  | 'client-certificate-issuer'
  | 'client-certificate-subject'
  | 'client-certificate-san'
  | 'client-certificate-key'
  | 'client-certificate-serial'
  | 'client-certificate-pin'
  | 'client-identity-unexpected';

/** What a verified certificate lacks; `undefined` when it is good. */
export function judgeClientCertificate(
  certificate: ClientCertificate,
  constraints: ClientConstraints,
): ClientRefusal | undefined {
  const { extendedKeyUsages: usages } = certificate;
  if (certificate.uris.some((uri) => isUnexpectedIdentity(uri, constraints)))
    return 'client-identity-unexpected';
  if (![CLIENT_AUTH, ...constraints.extendedKeyUsages].every((usage) => usages.includes(usage)))
    return 'client-certificate-eku';
  const isOneOf = <T>(list: readonly T[], fits: (entry: T) => boolean): boolean =>
    list.length === 0 || list.some(fits);
  if (!isOneOf(constraints.issuers, (name) => fitsName(name, certificate.issuer)))
    return 'client-certificate-issuer';
  if (!isOneOf(constraints.subjects, (name) => fitsName(name, certificate.subject)))
    return 'client-certificate-subject';
  if (!isOneOf(constraints.subjectAltNames, (name) => hasAltName(certificate, name)))
    return 'client-certificate-san';
  if (!isOneOf(constraints.keys, (rule) => fitsKey(rule, certificate.key)))
    return 'client-certificate-key';
  if (!isOneOf(constraints.serials, (serial) => serial === certificate.serialHex))
    return 'client-certificate-serial';
  if (!isOneOf(constraints.spkiPins, (pin) => pin === certificate.spkiSha256))
    return 'client-certificate-pin';
  return undefined;
}

/**
 * A SPIFFE id that a foreign authority wrote is taken only where a constraint names its trust domain: an application
 * that reads X-Forwarded-Client-Cert would take any other for one of the mesh. That no constraint names the mesh's own
 * is seen to where they are compiled.
 */
function isUnexpectedIdentity(uri: string, { subjectAltNames }: ClientConstraints): boolean {
  if (!uri.toLowerCase().startsWith(SPIFFE)) return false;
  return !subjectAltNames.some((name) => namesTrustDomain(name) && fitsText(name, uri));
}

const SPIFFE = 'spiffe://';

/** @returns the trust domain whose identities a pattern takes; `undefined` when it names none. */
export function trustDomainOf({ type, match, value }: AltNamePattern): string | undefined {
  if (type !== 'URI' || match === 'suffix' || !value.startsWith(SPIFFE)) return undefined;
  const end = value.indexOf('/', SPIFFE.length);
  return end === -1 ? undefined : value.slice(SPIFFE.length, end);
}

const namesTrustDomain = (name: AltNamePattern): boolean => trustDomainOf(name) !== undefined;

function fitsText({ match, value }: AltNamePattern, text: string): boolean {
  if (match === 'exact') return text === value;
  if (text.length <= value.length) return false;
  return match === 'prefix' ? text.startsWith(value) : text.endsWith(value);
}

const NAMES_OF = { DNS: 'dnsNames', URI: 'uris', EMAIL: 'emails' } as const;

const hasAltName = (certificate: ClientCertificate, name: AltNamePattern): boolean =>
  certificate[NAMES_OF[name.type]].some((text) => fitsText(name, text));

function fitsKey(rule: KeyRule, { type, bits, curve }: ClientCertificate['key']): boolean {
  if (rule.kind === 'Ed25519') return type === 'ed25519';
  if (rule.kind === 'RSA') return (type === 'rsa' || type === 'rsa-pss') && bits >= rule.minBits;
  return type === 'ec' && (rule.curves.length === 0 || rule.curves.includes(curve));
}
