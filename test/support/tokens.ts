// Issuers of tokens for tests: keys of every kind, tokens that are good, and tokens that are bad in a chosen way.
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { TokenRule } from '@weft/model/policy/token-rules';

export type KeyKind = 'RS256' | 'PS256' | 'RS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA';

const CURVES = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const;
const HASHES: Readonly<Record<KeyKind, string | null>> = {
  RS256: 'sha256',
  PS256: 'sha256',
  RS512: 'sha512',
  ES256: 'sha256',
  ES384: 'sha384',
  ES512: 'sha512',
  EdDSA: null,
};
/** RSA_PKCS1_PSS_PADDING; the salt is as long as the hash. */
const PSS = { padding: 6, saltLength: -1 } as const;

export interface TestKey {
  readonly kind: KeyKind;
  readonly kid: string | undefined;
  readonly privateKey: KeyObject;
  readonly jwk: Readonly<Record<string, unknown>>;
}

export function createTestKey(kind: KeyKind = 'ES256', kid?: string): TestKey {
  const { privateKey, publicKey } = generate(kind);
  const jwk = { ...publicKey.export({ format: 'jwk' }), ...(kid !== undefined && { kid }) };
  return { kind, kid, privateKey, jwk };
}

function generate(kind: KeyKind): {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
} {
  switch (kind) {
    case 'RS256':
    case 'PS256':
    case 'RS512':
      return generateKeyPairSync('rsa', { modulusLength: 2_048 });
    case 'ES256':
    case 'ES384':
    case 'ES512':
      return generateKeyPairSync('ec', { namedCurve: CURVES[kind] });
    case 'EdDSA':
      return generateKeyPairSync('ed25519');
    default:
      return kind satisfies never;
  }
}

export const jwksOf = (...keys: readonly TestKey[]): string =>
  JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });

export const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

export interface TokenOptions {
  /** Beside `alg` and `kid`. */
  readonly header?: Readonly<Record<string, unknown>>;
  /** In the header in place of the key's own. */
  readonly alg?: string;
  readonly kid?: string | undefined;
}

/** @param claims as they are: nothing is added. */
export function signToken(
  key: TestKey,
  claims: Readonly<Record<string, unknown>> | string,
  options: TokenOptions = {},
): string {
  const kid = 'kid' in options ? options.kid : key.kid;
  const header = { alg: options.alg ?? key.kind, ...(kid !== undefined && { kid }) };
  const text = `${part({ ...header, ...options.header })}.${part(claims)}`;
  return `${text}.${signatureOf(key, text).toString('base64url')}`;
}

function signatureOf({ kind, privateKey }: TestKey, text: string): Buffer {
  const data = Buffer.from(text);
  const options = kind.startsWith('PS') ? PSS : {};
  return sign(HASHES[kind], data, { key: privateKey, dsaEncoding: 'ieee-p1363', ...options });
}

/** A token whose "signature" is an HMAC by a text that everybody knows: what algorithm confusion hopes for. */
export function macToken(secret: string, claims: object, header: object = {}): string {
  const text = `${part({ alg: 'HS256', ...header })}.${part(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** Seconds since the epoch. */
export const seconds = (fromNow: number): number => Math.floor(Date.now() / 1_000) + fromNow;

export const tokenRule = (over: Partial<TokenRule> = {}): TokenRule => ({
  issuer: 'https://issuer.test',
  audiences: [],
  jwks: '{"keys":[]}',
  fromHeaders: [{ name: 'authorization', prefix: 'Bearer ' }],
  fromParams: ['access_token'],
  fromCookies: [],
  outputPayloadToHeader: undefined,
  outputClaimToHeaders: [],
  isForwarded: false,
  spaceDelimitedClaims: [],
  ...over,
});
