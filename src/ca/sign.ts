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
import { ECDSA_WITH_SHA256, POINT_BYTES, SERIAL_BYTES } from './template.ts';

export interface KeyPair {
  readonly privateKey: KeyObject;
  /** The uncompressed point. */
  readonly point: Buffer;
}

export function createKeyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, point: pointOf(privateKey) };
}

/** @throws when the bytes are no PKCS#8 key on P-256. */
export function readKeyPair(pkcs8: Buffer): KeyPair {
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new TypeError('Cannot read the key: it is not on P-256');
  }
  return { privateKey, point: pointOf(privateKey) };
}

export const exportKey = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'pkcs8' });

/** The point ends a SubjectPublicKeyInfo. */
function pointOf(privateKey: KeyObject): Buffer {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return spki.subarray(spki.length - POINT_BYTES);
}

/** @returns the certificate's DER. */
export function signTemplate(toBeSigned: Buffer, privateKey: KeyObject): Buffer {
  const signature = sign('sha256', toBeSigned, privateKey);
  return sequence(toBeSigned, ECDSA_WITH_SHA256, bitString(signature));
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
