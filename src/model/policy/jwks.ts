// Reads a JSON Web Key Set: which of its keys can verify a token's signature, in one canonical form that every proxy gets.
import { createPublicKey } from 'node:crypto';
import { isPlainObject, shown, type PlainObject } from './reader.ts';

/** Public parameters alone; members in one order, so that equal sets are equal texts. */
export type VerificationKey =
  | {
      readonly kty: 'RSA';
      readonly kid?: string;
      readonly alg?: string;
      readonly n: string;
      readonly e: string;
    }
  | {
      readonly kty: 'EC';
      readonly kid?: string;
      readonly alg?: string;
      readonly crv: string;
      readonly x: string;
      readonly y: string;
    }
  | {
      readonly kty: 'OKP';
      readonly kid?: string;
      readonly alg?: string;
      readonly crv: 'Ed25519';
      readonly x: string;
    };

export type JwksReading =
  | {
      readonly ok: true;
      readonly keys: readonly VerificationKey[];
      /** Why keys were left out. */
      readonly leftOut: readonly string[];
    }
  | { readonly ok: false; readonly reason: string };

/** Issuers publish a handful: the present keys, the last ones and the next. */
export const MAX_KEYS = 64;
/** Far above any real set; a bound on what a policy or an issuer can make us read. */
export const MAX_JWKS_BYTES = 262_144;
/** Shorter RSA keys are refused by NIST SP 800-131A and by jose. */
const MIN_RSA_BITS = 2_048;
/** Longer ones only cost whoever verifies. */
const MAX_RSA_BITS = 8_192;
const MAX_KID = 256;

const RSA_ALGORITHMS: readonly string[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const EC_ALGORITHM_BY_CURVE: ReadonlyMap<string, string> = new Map([
  ['P-256', 'ES256'],
  ['P-384', 'ES384'],
  ['P-521', 'ES512'],
]);
const ED25519_ALGORITHM = 'EdDSA';

/** The algorithms that a key may verify. A token never chooses among more than these (algorithm confusion). */
export function algorithmsOf(key: VerificationKey): readonly string[] {
  const possible = algorithmsOfType(key);
  return key.alg === undefined ? possible : possible.filter((name) => name === key.alg);
}

function algorithmsOfType(key: VerificationKey): readonly string[] {
  switch (key.kty) {
    case 'RSA':
      return RSA_ALGORITHMS;
    case 'EC': {
      const name = EC_ALGORITHM_BY_CURVE.get(key.crv);
      return name === undefined ? [] : [name];
    }
    case 'OKP':
      return [ED25519_ALGORITHM];
    default:
      return key satisfies never;
  }
}

/**
 * Keys that cannot verify signatures are left out and named; a set without any is still a set, under which every
 * token is refused. Symmetric keys are left out always: who could verify with one could also sign.
 */
export function readJwks(text: string): JwksReading {
  if (text.length > MAX_JWKS_BYTES) {
    return { ok: false, reason: `is longer than ${MAX_JWKS_BYTES} bytes` };
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { ok: false, reason: 'is no JSON' };
  }
  const entries: unknown = isPlainObject(parsed) ? parsed['keys'] : undefined;
  if (!Array.isArray(entries)) return { ok: false, reason: 'has no list "keys"' };
  if (entries.length > MAX_KEYS) {
    return { ok: false, reason: `has ${entries.length} keys, at most ${MAX_KEYS} are allowed` };
  }
  const keys: VerificationKey[] = [];
  const leftOut: string[] = [];
  entries.forEach((entry: unknown, index) => {
    const read = isPlainObject(entry) ? readKey(entry) : 'is no mapping';
    if (typeof read === 'string') leftOut.push(`keys[${index}] ${read}`);
    else keys.push(read);
  });
  return { ok: true, keys, leftOut };
}

/** The canonical text of a set: what proxies are sent. */
export const formatJwks = (keys: readonly VerificationKey[]): string => JSON.stringify({ keys });

/** @returns the key, or why it is left out. */
function readKey(jwk: PlainObject): VerificationKey | string {
  const { kty, kid, alg, use, key_ops: operations } = jwk;
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID)) {
    return 'has a kid that is no text of reasonable length';
  }
  if (alg !== undefined && typeof alg !== 'string') return 'has an alg that is no text';
  if (use !== undefined && use !== 'sig') return 'is not for signatures (use)';
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return 'is not for verifying (key_ops)';
  }
  if (jwk['d'] !== undefined || jwk['p'] !== undefined) {
    return 'is a private key: whoever reads it can sign tokens';
  }
  const algorithm = alg ?? onlyAlgorithm(jwk);
  const named = {
    ...(kid !== undefined && { kid }),
    ...(algorithm !== undefined && { alg: algorithm }),
  };
  const key = readParameters(kty, named, jwk);
  if (typeof key === 'string') return key;
  if (algorithmsOf(key).length === 0) return `has the algorithm ${shown(alg ?? '')}, not for it`;
  return checkKey(key) ?? key;
}

/** The one algorithm of a kind of key. It is said even where it follows: Envoy looks at nothing else. */
function onlyAlgorithm({ kty, crv }: PlainObject): string | undefined {
  if (kty === 'OKP') return ED25519_ALGORITHM;
  return kty === 'EC' && typeof crv === 'string' ? EC_ALGORITHM_BY_CURVE.get(crv) : undefined;
}

function readParameters(
  kty: unknown,
  named: { readonly kid?: string; readonly alg?: string },
  jwk: PlainObject,
): VerificationKey | string {
  const { n, e, crv, x, y } = jwk;
  switch (kty) {
    case 'RSA':
      if (typeof n !== 'string' || typeof e !== 'string') return 'lacks n or e';
      return { kty, ...named, n, e };
    case 'EC':
      if (typeof crv !== 'string' || typeof x !== 'string' || typeof y !== 'string') {
        return 'lacks crv, x or y';
      }
      if (!EC_ALGORITHM_BY_CURVE.has(crv)) return `has the curve ${shown(crv)}, not known here`;
      return { kty, ...named, crv, x, y };
    case 'OKP':
      if (crv !== 'Ed25519') return 'has a curve other than Ed25519';
      if (typeof x !== 'string') return 'lacks x';
      return { kty, ...named, crv, x };
    case 'oct':
      return 'is a symmetric key: whoever can verify with it can sign';
    default:
      return `has the type ${shown(String(kty))}, not RSA, EC or OKP`;
  }
}

/** @returns why the parameters make no key. */
function checkKey(key: VerificationKey): string | undefined {
  try {
    const { asymmetricKeyDetails } = createPublicKey({ format: 'jwk', key: { ...key } });
    const bits = asymmetricKeyDetails?.modulusLength;
    if (key.kty !== 'RSA') return undefined;
    if (bits === undefined || bits < MIN_RSA_BITS) {
      return `has ${bits ?? 'too few'} bits, at least ${MIN_RSA_BITS} are needed`;
    }
    return bits > MAX_RSA_BITS ? `has ${bits} bits, at most ${MAX_RSA_BITS}` : undefined;
  } catch {
    return 'is no key: its parameters do not fit together';
  }
}
