// Decides what Weft's certificates say: the to-be-signed bytes of roots, issuing CAs, workloads and servers.
import { createHash } from 'node:crypto';
import type { SpiffeId } from '@weft/model/identity';
import { parseIp } from '@weft/model/ip';
import {
  bitString,
  derNull,
  type DerPart,
  derTrue,
  namedBits,
  octetString,
  oid,
  sequence,
  set,
  tagged,
  time,
  unsignedInteger,
  utf8String,
} from './der.ts';

/** 5 min: clocks of machines in one mesh differ; a certificate must not be "not yet valid" at the peer. */
export const BACKDATE_MS = 300_000;
/** A key identifier: 160 bits of a SHA-256 (RFC 7093 §2, method 1). */
const KEY_ID_BYTES = 20;
/** 128 random bits (CA/Browser Forum BR §7.1 asks for 64). */
export const SERIAL_BYTES = 16;
/** An uncompressed point of P-256: 04, x, y. */
export const POINT_BYTES = 65;

const VERSION_3 = tagged(0xa0, unsignedInteger(Buffer.of(2)));
export const ECDSA_WITH_SHA256: Buffer = sequence(oid('1.2.840.10045.4.3.2'));
export const ECDSA_WITH_SHA384: Buffer = sequence(oid('1.2.840.10045.4.3.3'));
export const ECDSA_WITH_SHA512: Buffer = sequence(oid('1.2.840.10045.4.3.4'));
/** RFC 4055 §5: its parameters are NULL. */
export const RSA_WITH_SHA256: Buffer = sequence(oid('1.2.840.113549.1.1.11'), derNull);
/** AlgorithmIdentifier of a key on P-256 (RFC 5480 §2.1.1). */
export const P256_KEY: Buffer = sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7'));
const EMPTY_NAME = sequence();

/** RFC 5280 §4.2.1.3. */
const DIGITAL_SIGNATURE = 0;
const KEY_CERT_SIGN = 5;
const CRL_SIGN = 6;
/** GeneralName (RFC 5280 §4.2.1.6). */
const SAN_DNS = 0x82;
const SAN_URI = 0x86;
const SAN_IP = 0x87;

const critical = (id: string, value: DerPart): Buffer =>
  sequence(oid(id), derTrue, octetString(value));
const plain = (id: string, value: DerPart): Buffer => sequence(oid(id), octetString(value));

const KEY_USAGE = '2.5.29.15';
const BASIC_CONSTRAINTS = '2.5.29.19';
const LEAF_USAGE = critical(KEY_USAGE, namedBits(DIGITAL_SIGNATURE));
const CA_USAGE = critical(KEY_USAGE, namedBits(KEY_CERT_SIGN, CRL_SIGN));
const NOT_CA = critical(BASIC_CONSTRAINTS, sequence());
const BOTH_PURPOSES = plain(
  '2.5.29.37',
  sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2')),
);

const isCa = (pathLength: number): Buffer =>
  critical(BASIC_CONSTRAINTS, sequence(derTrue, unsignedInteger(Buffer.of(pathLength))));
const SUBJECT_KEY_ID = oid('2.5.29.14');
const subjectKeyId = (keyId: DerPart): Buffer =>
  sequence(SUBJECT_KEY_ID, octetString(octetString(keyId)));
const SUBJECT_ALT_NAME = Buffer.concat([oid('2.5.29.17'), derTrue]);
const authorityKeyId = (keyId: DerPart): Buffer =>
  plain('2.5.29.35', sequence(tagged(0x80, keyId)));

export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** What every certificate under one issuer says the same. */
export interface IssuerTemplate {
  readonly name: Buffer;
  readonly keyId: Buffer;
  readonly authorityKeyId: Buffer;
  /** Of its signatures. */
  readonly algorithm: Buffer;
}

export interface SubjectAltNames {
  readonly spiffeId: SpiffeId;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

/** SubjectPublicKeyInfo of a point on P-256. */
export const publicKeyInfo = (point: DerPart): Buffer => sequence(P256_KEY, bitString(point));

export const keyIdOf = (point: DerPart): Buffer =>
  createHash('sha256').update(point).digest().subarray(0, KEY_ID_BYTES);

/** `O=trust domain, CN=common name`. */
export function caName(trustDomain: string, commonName: string): Buffer {
  return sequence(
    set(sequence(oid('2.5.4.10'), utf8String(trustDomain))),
    set(sequence(oid('2.5.4.3'), utf8String(commonName))),
  );
}

export const issuerTemplate = (
  name: Buffer,
  keyId: Buffer,
  algorithm: Buffer = ECDSA_WITH_SHA256,
): IssuerTemplate => ({ name, keyId, authorityKeyId: authorityKeyId(keyId), algorithm });

interface Tbs {
  readonly serial: DerPart;
  readonly algorithm: Buffer;
  readonly issuer: DerPart;
  readonly validity: Validity;
  readonly subject: DerPart;
  readonly point: DerPart;
  readonly extensions: readonly DerPart[];
}

/** Source: RFC 5280 §4.1.2. */
function toBeSigned(tbs: Tbs): Buffer {
  return sequence(
    VERSION_3,
    unsignedInteger(tbs.serial),
    tbs.algorithm,
    tbs.issuer,
    sequence(time(tbs.validity.notBeforeMs), time(tbs.validity.notAfterMs)),
    tbs.subject,
    publicKeyInfo(tbs.point),
    tagged(0xa3, sequence(...tbs.extensions)),
  );
}

export interface CaSubject {
  readonly serial: DerPart;
  readonly name: Buffer;
  readonly point: DerPart;
  readonly validity: Validity;
}

/** A root signs issuing CAs, which sign leaves: path length 1. */
export function rootTemplate(root: CaSubject): Buffer {
  const keyId = subjectKeyId(keyIdOf(root.point));
  return toBeSigned({
    ...root,
    algorithm: ECDSA_WITH_SHA256,
    issuer: root.name,
    subject: root.name,
    extensions: [isCa(1), CA_USAGE, keyId],
  });
}

export function issuingCaTemplate(issuing: CaSubject, root: IssuerTemplate): Buffer {
  const keyId = subjectKeyId(keyIdOf(issuing.point));
  return toBeSigned({
    ...issuing,
    algorithm: root.algorithm,
    issuer: root.name,
    subject: issuing.name,
    extensions: [isCa(0), CA_USAGE, keyId, root.authorityKeyId],
  });
}

export interface LeafSubject {
  readonly serial: DerPart;
  readonly point: DerPart;
  readonly validity: Validity;
  readonly names: SubjectAltNames;
}

/**
 * A workload's or server's certificate: no subject, exactly one URI SAN, both purposes, no CA.
 * Source: SPIFFE X.509-SVID §2, §4; RFC 5280 §4.2.1.6 (critical when the subject is empty).
 */
export function leafTemplate(leaf: LeafSubject, issuer: IssuerTemplate): Buffer {
  return toBeSigned({
    ...leaf,
    algorithm: issuer.algorithm,
    issuer: issuer.name,
    subject: EMPTY_NAME,
    extensions: [
      NOT_CA,
      LEAF_USAGE,
      BOTH_PURPOSES,
      subjectKeyId(keyIdOf(leaf.point)),
      issuer.authorityKeyId,
      subjectAltNames(leaf.names),
    ],
  });
}

function subjectAltNames(wanted: SubjectAltNames): Buffer {
  const { spiffeId, dnsNames = [], ipAddresses = [] } = wanted;
  const names = sequence(
    tagged(SAN_URI, Buffer.from(spiffeId, 'latin1')),
    ...dnsNames.map((name) => tagged(SAN_DNS, Buffer.from(name, 'latin1'))),
    ...ipAddresses.map((address) => tagged(SAN_IP, ipBytes(address))),
  );
  return sequence(SUBJECT_ALT_NAME, octetString(names));
}

/** @throws RangeError when the text is no address. */
function ipBytes(address: string): Buffer {
  const ip = parseIp(address);
  if (ip === undefined) {
    throw new RangeError(`Cannot put ${address} into a certificate: it is no IP address`);
  }
  const words = ip.family === 4 ? [ip.word] : ip.words;
  const bytes = Buffer.alloc(words.length * 4);
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word >>> 0, index * 4);
  return bytes;
}
