// Reads from a certificate's DER what identity is decided on: SANs, purposes, validity, keys. Never from text that a library made of it.
import { createHash } from 'node:crypto';
import { parseSpiffeId, type SpiffeId } from './identity.ts';

export interface CertificateFacts {
  readonly serialHex: string;
  readonly notBeforeUnixSeconds: number;
  readonly notAfterUnixSeconds: number;
  /** URI SANs that are printable ASCII without spaces; one that is not makes the certificate unreadable. */
  readonly uriSans: readonly string[];
  readonly otherSanCount: number;
  readonly isCa: boolean;
  readonly clientAuth: boolean;
  readonly serverAuth: boolean;
  /** SHA-256 of the SubjectPublicKeyInfo, hex. */
  readonly spkiSha256: string;
  readonly subjectKeyIdHex: string | undefined;
  readonly authorityKeyIdHex: string | undefined;
}

export type CertificateReading =
  | { readonly ok: true; readonly facts: CertificateFacts }
  | { readonly ok: false; readonly reason: string };

export type PeerIdentity =
  | {
      readonly ok: true;
      readonly spiffeId: SpiffeId;
      readonly clientAuth: boolean;
      readonly serverAuth: boolean;
      readonly facts: CertificateFacts;
    }
  | { readonly ok: false; readonly reason: string };

/** Weft's certificates are under 1 KiB; nothing legitimate comes near this. */
const MAX_CERTIFICATE_BYTES = 16_384;
const MAX_EXTENSIONS = 64;
const MAX_SANS = 64;

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const BOOLEAN = 0x01;
const OCTET_STRING = 0x04;
const OID = 0x06;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const EXPLICIT_0 = 0xa0;
const EXPLICIT_3 = 0xa3;
/** GeneralName [6] IA5String, AuthorityKeyIdentifier [0]. */
const SAN_URI = 0x86;
const KEY_ID = 0x80;

const OID_SUBJECT_KEY_ID = '551d0e';
const OID_SAN = '551d11';
const OID_BASIC_CONSTRAINTS = '551d13';
const OID_AUTHORITY_KEY_ID = '551d23';
const OID_EKU = '551d25';
const OID_SERVER_AUTH = '2b06010505070301';
const OID_CLIENT_AUTH = '2b06010505070302';

/** Thrown by DerReader alone, and caught by whoever made one: the bytes are not the DER that was expected. */
export class MalformedDer extends Error {}

export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
  /** With its tag and length. */
  readonly whole: Buffer;
}

/** Walks the elements of one constructed value; definite, minimal lengths alone (X.690 §10.1). */
export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  peekTag(): number | undefined {
    return this.#bytes[this.#at];
  }

  next(expected?: number): DerElement {
    const start = this.#at;
    const tag = this.#byte();
    if (expected !== undefined && tag !== expected)
      throw new MalformedDer(`tag ${tag} not expected`);
    if ((tag & 0x1f) === 0x1f) throw new MalformedDer('a tag of many bytes');
    const length = this.#length();
    const from = this.#at;
    if (from + length > this.#bytes.length) throw new MalformedDer('a length beyond the end');
    this.#at = from + length;
    return {
      tag,
      content: this.#bytes.subarray(from, this.#at),
      whole: this.#bytes.subarray(start, this.#at),
    };
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new MalformedDer('an early end');
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw new MalformedDer('a length of unusual form');
    let length = 0;
    for (let index = 0; index < count; index++) length = length * 256 + this.#byte();
    if (length < 0x80 || (count > 1 && length < 256 ** (count - 1))) {
      throw new MalformedDer('a length that is not minimal');
    }
    return length;
  }
}

/** Reads a whole certificate. Never throws, whatever the bytes. */
export function readCertificate(der: Uint8Array): CertificateReading {
  if (der.byteLength > MAX_CERTIFICATE_BYTES) {
    return { ok: false, reason: `a certificate of ${der.byteLength} bytes` };
  }
  try {
    return { ok: true, facts: readFacts(Buffer.from(der.buffer, der.byteOffset, der.byteLength)) };
  } catch (error) {
    if (error instanceof MalformedDer) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Source: RFC 5280 §4.1. */
function readFacts(der: Buffer): CertificateFacts {
  const outer = new DerReader(der);
  const certificate = new DerReader(outer.next(SEQUENCE).content);
  if (!outer.isAtEnd) throw new MalformedDer('bytes after the certificate');
  const tbs = new DerReader(certificate.next(SEQUENCE).content);
  if (tbs.peekTag() === EXPLICIT_0) tbs.next();
  const serialHex = tbs.next(INTEGER).content.toString('hex');
  tbs.next(SEQUENCE);
  tbs.next(SEQUENCE);
  const validity = new DerReader(tbs.next(SEQUENCE).content);
  const notBeforeUnixSeconds = readTime(validity.next());
  const notAfterUnixSeconds = readTime(validity.next());
  tbs.next(SEQUENCE);
  const spki = tbs.next(SEQUENCE).whole;
  const found = readExtensions(tbs);
  return {
    serialHex,
    notBeforeUnixSeconds,
    notAfterUnixSeconds,
    spkiSha256: createHash('sha256').update(spki).digest('hex'),
    ...found,
  };
}

type ExtensionFacts = Pick<
  CertificateFacts,
  | 'uriSans'
  | 'otherSanCount'
  | 'isCa'
  | 'clientAuth'
  | 'serverAuth'
  | 'subjectKeyIdHex'
  | 'authorityKeyIdHex'
>;

/**
 * The values of a certificate's extensions, by their OID's DER in hex.
 * @param tbs anywhere in a TBSCertificate before its extensions; read to its end
 * @throws MalformedDer also where an extension stands twice, or there are too many
 */
export function readExtensionValues(tbs: DerReader): ReadonlyMap<string, Buffer> {
  const values = new Map<string, Buffer>();
  while (!tbs.isAtEnd) {
    const part = tbs.next();
    if (part.tag !== EXPLICIT_3) continue;
    const list = new DerReader(new DerReader(part.content).next(SEQUENCE).content);
    while (!list.isAtEnd) {
      const extension = new DerReader(list.next(SEQUENCE).content);
      const oid = extension.next(OID).content.toString('hex');
      if (extension.peekTag() === BOOLEAN) extension.next();
      const value = extension.next(OCTET_STRING).content;
      /** RFC 5280 §4.2: no extension twice; two readers could see different ones. */
      if (values.has(oid)) throw new MalformedDer(`extension ${oid} twice`);
      if (values.size >= MAX_EXTENSIONS) throw new MalformedDer('too many extensions');
      values.set(oid, value);
    }
  }
  return values;
}

function readExtensions(tbs: DerReader): ExtensionFacts {
  const values = readExtensionValues(tbs);
  const purposes = readPurposes(values.get(OID_EKU));
  return {
    ...readSans(values.get(OID_SAN)),
    isCa: readIsCa(values.get(OID_BASIC_CONSTRAINTS)),
    clientAuth: purposes.has(OID_CLIENT_AUTH),
    serverAuth: purposes.has(OID_SERVER_AUTH),
    subjectKeyIdHex: readSubjectKeyId(values.get(OID_SUBJECT_KEY_ID)),
    authorityKeyIdHex: readAuthorityKeyId(values.get(OID_AUTHORITY_KEY_ID)),
  };
}

function readSans(value: Buffer | undefined): Pick<CertificateFacts, 'uriSans' | 'otherSanCount'> {
  const uriSans: string[] = [];
  let otherSanCount = 0;
  if (value !== undefined) {
    const names = new DerReader(new DerReader(value).next(SEQUENCE).content);
    while (!names.isAtEnd) {
      const name = names.next();
      if (name.tag === SAN_URI) uriSans.push(readPrintable(name.content));
      else otherSanCount++;
      if (uriSans.length + otherSanCount > MAX_SANS) throw new MalformedDer('too many SANs');
    }
  }
  return { uriSans, otherSanCount };
}

/** Bytes 0x21 to 0x7e alone: a NUL or control byte in a name has fooled others (CVE-2021-44532). */
function readPrintable(bytes: Buffer): string {
  for (const byte of bytes) {
    if (byte < 0x21 || byte > 0x7e) throw new MalformedDer(`byte ${byte} in a URI SAN`);
  }
  return bytes.toString('latin1');
}

function readPurposes(value: Buffer | undefined): ReadonlySet<string> {
  const purposes = new Set<string>();
  if (value === undefined) return purposes;
  const list = new DerReader(new DerReader(value).next(SEQUENCE).content);
  while (!list.isAtEnd) purposes.add(list.next(OID).content.toString('hex'));
  return purposes;
}

function readIsCa(value: Buffer | undefined): boolean {
  if (value === undefined) return false;
  const list = new DerReader(new DerReader(value).next(SEQUENCE).content);
  return list.peekTag() === BOOLEAN && list.next(BOOLEAN).content[0] !== 0;
}

const readSubjectKeyId = (value: Buffer | undefined): string | undefined =>
  value === undefined ? undefined : new DerReader(value).next(OCTET_STRING).content.toString('hex');

function readAuthorityKeyId(value: Buffer | undefined): string | undefined {
  if (value === undefined) return undefined;
  const list = new DerReader(new DerReader(value).next(SEQUENCE).content);
  return list.peekTag() === KEY_ID ? list.next().content.toString('hex') : undefined;
}

/** UTCTime and GeneralizedTime as RFC 5280 §4.1.2.5 allows them: in Zulu, with seconds. */
export function readTime(element: DerElement): number {
  const text = element.content.toString('latin1');
  const isUtc = element.tag === UTC_TIME;
  if (!isUtc && element.tag !== GENERALIZED_TIME) throw new MalformedDer('a time of another type');
  if (text.length !== (isUtc ? 13 : 15) || !text.endsWith('Z')) {
    throw new MalformedDer('a time of unusual form');
  }
  const digits = text.slice(0, -1);
  for (const char of digits)
    if (char < '0' || char > '9') throw new MalformedDer('a time of letters');
  const year = isUtc ? Number(digits.slice(0, 2)) : Number(digits.slice(0, 4));
  const at = isUtc ? 2 : 4;
  const part = (index: number): number => Number(digits.slice(at + index * 2, at + index * 2 + 2));
  const fullYear = isUtc ? (year >= 50 ? 1900 + year : 2000 + year) : year;
  return Date.UTC(fullYear, part(0) - 1, part(1), part(2), part(3), part(4)) / 1000;
}

/**
 * The identity a certificate proves: exactly one URI SAN, which is a SPIFFE id, and no CA.
 * Chain, validity and signature are the caller's to verify.
 * Source: SPIFFE X.509-SVID §2, §5.2; CVE-2022-40716.
 */
export function peerIdentity(der: Uint8Array): PeerIdentity {
  const reading = readCertificate(der);
  if (!reading.ok) return { ok: false, reason: `certificate cannot be read: ${reading.reason}` };
  const { facts } = reading;
  const [uri, ...more] = facts.uriSans;
  if (uri === undefined) return { ok: false, reason: 'certificate has no URI SAN' };
  if (more.length > 0) {
    return { ok: false, reason: `certificate has ${facts.uriSans.length} URI SANs instead of one` };
  }
  const spiffeId = parseSpiffeId(uri);
  if (spiffeId === undefined) return { ok: false, reason: `URI SAN is no SPIFFE id: ${uri}` };
  if (facts.isCa) return { ok: false, reason: 'certificate is a CA, not a workload' };
  const { clientAuth, serverAuth } = facts;
  return { ok: true, spiffeId, clientAuth, serverAuth, facts };
}
