// Reads what a CA certificate may be used for: its place in a chain, its purposes, and what it permits below it.
import { DerReader, MalformedDer, readExtensionValues } from '@weft/model/x509';

export interface CaConstraints {
  readonly isCa: boolean;
  /** CAs that may be below it; `undefined` for any number. */
  readonly pathLength: number | undefined;
  /** Certificates may be signed with its key. */
  readonly maySign: boolean;
  /** What is below it may be used by clients and servers. */
  readonly isForTls: boolean;
  readonly hasNameConstraints: boolean;
}

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OID = 0x06;
const SEQUENCE = 0x30;

/** RFC 5280 §4.2.1. */
const KEY_USAGE = '551d0f';
const BASIC_CONSTRAINTS = '551d13';
const NAME_CONSTRAINTS = '551d1e';
const EXTENDED_KEY_USAGE = '551d25';
const ANY_PURPOSE = '551d2500';
const TLS_PURPOSES = ['2b06010505070301', '2b06010505070302'];
/** Bit 5 of the first byte. */
const KEY_CERT_SIGN = 0x04;

/** @returns `undefined` when the bytes are no certificate. */
export function readCaConstraints(der: Uint8Array): CaConstraints | undefined {
  try {
    return constraintsOf(extensionsOf(Buffer.from(der)));
  } catch (error) {
    if (error instanceof MalformedDer) return undefined;
    throw error;
  }
}

type Extensions = ReadonlyMap<string, Buffer>;

function extensionsOf(der: Buffer): Extensions {
  const certificate = new DerReader(new DerReader(der).next(SEQUENCE).content);
  return readExtensionValues(new DerReader(certificate.next(SEQUENCE).content));
}

function constraintsOf(extensions: Extensions): CaConstraints {
  return {
    ...basicConstraints(extensions.get(BASIC_CONSTRAINTS)),
    maySign: maySign(extensions.get(KEY_USAGE)),
    isForTls: isForTls(extensions.get(EXTENDED_KEY_USAGE)),
    hasNameConstraints: extensions.has(NAME_CONSTRAINTS),
  };
}

function basicConstraints(value: Buffer | undefined): Pick<CaConstraints, 'isCa' | 'pathLength'> {
  if (value === undefined) return { isCa: false, pathLength: undefined };
  const list = new DerReader(new DerReader(value).next(SEQUENCE).content);
  const isCa = list.peekTag() === BOOLEAN && list.next(BOOLEAN).content[0] !== 0;
  if (list.peekTag() !== INTEGER) return { isCa, pathLength: undefined };
  return { isCa, pathLength: Number.parseInt(list.next(INTEGER).content.toString('hex'), 16) };
}

/** Absent: any usage. */
function maySign(value: Buffer | undefined): boolean {
  if (value === undefined) return true;
  const [, bits = 0] = new DerReader(value).next(BIT_STRING).content;
  return (bits & KEY_CERT_SIGN) !== 0;
}

/** OpenSSL holds what a CA says of purposes against everything below it. */
function isForTls(value: Buffer | undefined): boolean {
  if (value === undefined) return true;
  const list = new DerReader(new DerReader(value).next(SEQUENCE).content);
  const purposes = new Set<string>();
  while (!list.isAtEnd) purposes.add(list.next(OID).content.toString('hex'));
  return purposes.has(ANY_PURPOSE) || TLS_PURPOSES.every((purpose) => purposes.has(purpose));
}
