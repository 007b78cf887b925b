// Makes the sidecar's key and asks for a certificate of it: PKCS#10 that says nothing but the key and that we hold it.
import { createPrivateKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';

const generate = promisify(generateKeyPair);

export interface KeyAndRequest {
  readonly keyPem: string;
  readonly publicKeyDer: Buffer;
  readonly csrDer: Buffer;
}

const SEQUENCE = 0x30;
const BIT_STRING = 0x03;
/** INTEGER 0: version 1 of PKCS#10. */
const VERSION = Buffer.from([0x02, 0x01, 0x00]);
const EMPTY_NAME = Buffer.from([SEQUENCE, 0x00]);
const NO_ATTRIBUTES = Buffer.from([0xa0, 0x00]);
/** SEQUENCE { ecdsa-with-SHA256 }, 1.2.840.10045.4.3.2. */
const ECDSA_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex');

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

/** A fresh P-256 key and its request. The key exists in this process alone. */
export async function createKeyAndRequest(): Promise<KeyAndRequest> {
  const pair = await generate('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const key: KeyObject = createPrivateKey(pair.privateKey);
  const info = der(SEQUENCE, VERSION, EMPTY_NAME, pair.publicKey, NO_ATTRIBUTES);
  const signature = sign('sha256', info, key);
  /** The first content byte of a BIT STRING counts its unused bits. */
  const csrDer = der(SEQUENCE, info, ECDSA_SHA256, der(BIT_STRING, Buffer.from([0]), signature));
  return { keyPem: pair.privateKey, publicKeyDer: pair.publicKey, csrDer };
}
