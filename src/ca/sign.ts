// Makes key pairs and signs templates: the one place where a CA's private key is used.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { bitString, sequence } from './der.ts';
import {
  ECDSA_WITH_SHA256,
  ECDSA_WITH_SHA384,
  ECDSA_WITH_SHA512,
  POINT_BYTES,
  RSA_WITH_SHA256,
  SERIAL_BYTES,
} from './template.ts';

/** A key that certificates are signed with, and how. */
export interface Signer {
  readonly privateKey: KeyObject;
  /** AlgorithmIdentifier of its signatures, in DER. */
  readonly algorithm: Buffer;
  readonly digest: 'sha256' | 'sha384' | 'sha512';
}

export interface KeyPair extends Signer {
  /** The uncompressed point. */
  readonly point: Buffer;
}

const P256_SIGNATURE = { algorithm: ECDSA_WITH_SHA256, digest: 'sha256' } as const;
/** Source: RFC 5758 §3.2, RFC 5480 §2.1.1.1 (the digest is as long as the curve). */
const SIGNATURES = new Map<string | undefined, Omit<Signer, 'privateKey'>>([
  ['prime256v1', P256_SIGNATURE],
  ['secp384r1', { algorithm: ECDSA_WITH_SHA384, digest: 'sha384' }],
  ['secp521r1', { algorithm: ECDSA_WITH_SHA512, digest: 'sha512' }],
]);
/** Source: NIST SP 800-57; OpenSSL's security level 2 refuses less as well. */
const MIN_RSA_BITS = 2_048;

/** @returns `undefined` for a key that proxies would not all accept signatures of. */
export function signerOf(privateKey: KeyObject): Signer | undefined {
  const { namedCurve, modulusLength = 0 } = privateKey.asymmetricKeyDetails ?? {};
  if (privateKey.asymmetricKeyType === 'rsa') {
    if (modulusLength < MIN_RSA_BITS) return undefined;
    return { privateKey, algorithm: RSA_WITH_SHA256, digest: 'sha256' };
  }
  const how = privateKey.asymmetricKeyType === 'ec' ? SIGNATURES.get(namedCurve) : undefined;
  return how && { privateKey, ...how };
}

/** @throws when the bytes are no PKCS#8 key that can sign certificates. */
export function readSigner(pkcs8: Buffer): Signer {
  const signer = signerOf(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }));
  if (signer === undefined) {
    throw new TypeError('Cannot read the key: it is neither RSA of 2048 bits nor on a NIST curve');
  }
  return signer;
}

export function createKeyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, ...P256_SIGNATURE, point: pointOf(privateKey) };
}

/** @throws when the bytes are no PKCS#8 key on P-256. */
export function readKeyPair(pkcs8: Buffer): KeyPair {
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new TypeError('Cannot read the key: it is not on P-256');
  }
  return { privateKey, ...P256_SIGNATURE, point: pointOf(privateKey) };
}

export const exportKey = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'pkcs8' });

/** The point ends a SubjectPublicKeyInfo. */
function pointOf(privateKey: KeyObject): Buffer {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return spki.subarray(spki.length - POINT_BYTES);
}

/** @returns the certificate's DER. */
export function signTemplate(toBeSigned: Buffer, signer: Signer): Buffer {
  const signature = sign(signer.digest, toBeSigned, signer.privateKey);
  return sequence(toBeSigned, signer.algorithm, bitString(signature));
}

/** 256 serial numbers: a call for random bytes costs a fifth of an issuance, whatever its size. */
const POOL_BYTES = 256 * SERIAL_BYTES;
let pool = Buffer.alloc(0);
let poolAt = 0;

/** Positive and never zero (RFC 5280 §4.1.2.2): every byte of the pool is used once. */
export function createSerial(): Buffer {
  if (poolAt >= pool.length) {
    pool = randomBytes(POOL_BYTES);
    poolAt = 0;
  }
  const serial = pool.subarray(poolAt, poolAt + SERIAL_BYTES);
  poolAt += SERIAL_BYTES;
  serial[0] = (serial[0] ?? 0) | 1;
  return serial;
}

const PEM_LINE = 64;

/** RFC 7468 §2. */
export function toPem(der: Uint8Array): string {
  const text = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64');
  const lines: string[] = [];
  for (let at = 0; at < text.length; at += PEM_LINE) lines.push(text.slice(at, at + PEM_LINE));
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
