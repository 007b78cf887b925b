// Reads certificate requests: only the public key is taken, once its owner has proven to hold the private one.
import { createPublicKey, verify } from 'node:crypto';
import { DerReader, MalformedDer } from '@weft/model/x509';
import { ECDSA_WITH_SHA256, P256_KEY, POINT_BYTES } from './template.ts';

/** 8 KiB: a request on P-256 has some 300 bytes, one with many attributes under 2 KiB. */
export const MAX_CSR_BYTES = 8_192;
const MAX_NAMES = 64;

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OID = 0x06;
const BOOLEAN = 0x01;
const ATTRIBUTES = 0xa0;
const SAN_URI = 0x86;
const OID_EXTENSION_REQUEST = '2a864886f70d01090e';
const OID_SAN = '551d11';

export type CsrRefusal =
  | 'csr-too-large'
  | 'csr-malformed'
  | 'csr-key-not-p256'
  | 'csr-bad-signature'
  | 'csr-names-another';

export type CsrReading =
  | {
      readonly ok: true;
      /** The uncompressed point. */
      readonly point: Buffer;
      /** Asked for, and never granted: a request that names another identity than the proven one is refused. */
      readonly uriSans: readonly string[];
    }
  | { readonly ok: false; readonly reasonCode: CsrRefusal; readonly reason: string };

const refused = (reasonCode: CsrRefusal, reason: string): CsrReading => ({
  ok: false,
  reasonCode,
  reason,
});

/** Never throws, whatever the bytes. Subject, extensions and CA flag are not read (CVE-2022-40716). Source: RFC 2986 §4. */
export function readCsr(der: Uint8Array): CsrReading {
  if (der.byteLength > MAX_CSR_BYTES) {
    const reason = `the request has ${der.byteLength} bytes, more than ${MAX_CSR_BYTES}`;
    return refused('csr-too-large', reason);
  }
  try {
    return readParts(Buffer.from(der.buffer, der.byteOffset, der.byteLength));
  } catch (error) {
    if (!(error instanceof MalformedDer)) throw error;
    return refused('csr-malformed', `the request is no PKCS#10: ${error.message}`);
  }
}

function readParts(der: Buffer): CsrReading {
  const outer = new DerReader(der);
  const request = new DerReader(outer.next(SEQUENCE).content);
  if (!outer.isAtEnd) throw new MalformedDer('bytes after the request');
  const info = request.next(SEQUENCE);
  const algorithm = request.next(SEQUENCE).whole;
  const signature = wholeBytes(request.next(BIT_STRING).content);
  if (!request.isAtEnd) throw new MalformedDer('bytes after the signature');

  const fields = new DerReader(info.content);
  if (!fields.next(INTEGER).content.equals(Buffer.of(0))) throw new MalformedDer('a version not 1');
  fields.next(SEQUENCE);
  const spki = fields.next(SEQUENCE);
  const uriSans = fields.isAtEnd ? [] : readUriSans(fields.next(ATTRIBUTES).content);
  if (!fields.isAtEnd) throw new MalformedDer('bytes after the attributes');

  const key = new DerReader(spki.content);
  const keyAlgorithm = key.next(SEQUENCE).whole;
  const point = wholeBytes(key.next(BIT_STRING).content);
  if (!keyAlgorithm.equals(P256_KEY)) {
    return refused('csr-key-not-p256', 'the key is not an ECDSA key on P-256');
  }
  if (point.length !== POINT_BYTES || point[0] !== 4) {
    return refused('csr-key-not-p256', 'the key is not an uncompressed point of P-256');
  }
  if (!algorithm.equals(ECDSA_WITH_SHA256)) {
    return refused('csr-bad-signature', 'the request is not signed with ECDSA and SHA-256');
  }
  const provesPossession = isSignedBy(spki.whole, info.whole, signature);
  if (provesPossession === undefined) {
    return refused('csr-key-not-p256', 'the key is no point of P-256');
  }
  if (!provesPossession) {
    return refused('csr-bad-signature', 'the request is not signed by the key that it names');
  }
  return { ok: true, point, uriSans };
}

/** @returns `undefined` when the key is none. */
function isSignedBy(spki: Buffer, signed: Buffer, signature: Buffer): boolean | undefined {
  let publicKey: ReturnType<typeof createPublicKey>;
  try {
    publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (error) {
    // OpenSSL refuses points that are not on the curve; anything else is not the peer's doing.
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
  return verify('sha256', signed, publicKey, signature);
}

function wholeBytes(bitString: Buffer): Buffer {
  if (bitString[0] !== 0) throw new MalformedDer('a bit string that is not whole bytes');
  return bitString.subarray(1);
}

/** The URI SANs in the extensionRequest attribute (RFC 2985 §5.4.2). */
function readUriSans(attributes: Buffer): readonly string[] {
  const uris: string[] = [];
  const list = new DerReader(attributes);
  while (!list.isAtEnd) {
    const attribute = new DerReader(list.next(SEQUENCE).content);
    const type = attribute.next(OID).content.toString('hex');
    const values = new DerReader(attribute.next(SET).content);
    if (type !== OID_EXTENSION_REQUEST) continue;
    const extensions = new DerReader(values.next(SEQUENCE).content);
    while (!extensions.isAtEnd)
      readExtension(new DerReader(extensions.next(SEQUENCE).content), uris);
  }
  return uris;
}

function readExtension(extension: DerReader, uris: string[]): void {
  const id = extension.next(OID).content.toString('hex');
  if (extension.peekTag() === BOOLEAN) extension.next();
  const value = extension.next(OCTET_STRING).content;
  if (id !== OID_SAN) return;
  const names = new DerReader(new DerReader(value).next(SEQUENCE).content);
  for (let count = 0; !names.isAtEnd; count++) {
    if (count >= MAX_NAMES) throw new MalformedDer('too many names');
    const name = names.next();
    if (name.tag === SAN_URI) uris.push(name.content.toString('latin1'));
  }
}
