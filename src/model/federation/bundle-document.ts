// Reads and writes SPIFFE bundle documents: the keys that a trust domain's identities are judged by, as a JWK set.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { isPlainObject, type PlainObject } from '../policy/reader.ts';
import { readJwks, type VerificationKey } from '../policy/jwks.ts';
import { readCertificate } from '../x509.ts';

/** A trust domain's keys, checked. */
export interface SpiffeBundle {
  /** Absent: its publisher counts no versions. */
  readonly sequence?: number;
  /** Absent: its publisher says nothing. */
  readonly refreshHintSeconds?: number;
  /** Self-signed CAs in DER, each once. */
  readonly x509Authorities: readonly Buffer[];
  /** What JWT SVIDs are verified with; each has a kid of its own. */
  readonly jwtAuthorities: readonly VerificationKey[];
}

export type BundleReading =
  | { readonly ok: true; readonly bundle: SpiffeBundle }
  /** Never the document's own words. */
  | { readonly ok: false; readonly reason: string };

/** A root and a key are 2 KB; every proxy is sent the roots. */
export const MAX_BUNDLE_BYTES = 65_536;
/** Of every use: the present ones, the last and the next of a few issuers. */
const MAX_KEYS = 64;
export const MAX_ROOTS = 16;
/** Far above any root that is in use. */
const MAX_ROOT_BYTES = 8_192;
const MAX_KID = 256;
const MIN_RSA_BITS = 2_048;
const MAX_RSA_BITS = 8_192;

class Refused extends Error {}

function refuse(reason: string): never {
  throw new Refused(reason);
}

/**
 * Source: SPIFFE Trust Domain and Bundle §4; X509-SVID §6, JWT-SVID §6. Elements of unknown type or use are passed over,
 * as they must be; one of a known use that breaks a rule refuses the document whole. An empty list is a bundle too: its
 * publisher has taken everything back.
 * @param trustDomain whose it is to be: a root that names another's identity is none of it
 */
export function readBundleDocument(text: string, trustDomain: string): BundleReading {
  if (Buffer.byteLength(text) > MAX_BUNDLE_BYTES) {
    return { ok: false, reason: `is longer than ${MAX_BUNDLE_BYTES} bytes` };
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return { ok: false, reason: 'is no JSON' };
    throw error;
  }
  try {
    return { ok: true, bundle: readBundle(parsed, trustDomain) };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, reason: error.message };
    throw error;
  }
}

function readBundle(document: unknown, trustDomain: string): SpiffeBundle {
  if (!isPlainObject(document)) refuse('is no JSON object');
  const entries = document['keys'];
  if (!Array.isArray(entries)) refuse('has no list "keys"');
  if (entries.length > MAX_KEYS) refuse(`has ${entries.length} keys, at most ${MAX_KEYS} may be`);
  const sequence = wholeNumber(document, 'spiffe_sequence');
  const refreshHintSeconds = wholeNumber(document, 'spiffe_refresh_hint');
  const roots = new Map<string, Buffer>();
  const tokenKeys = new Map<string, VerificationKey>();
  entries.forEach((entry: unknown, index) => {
    const at = `keys[${index}]`;
    if (!isPlainObject(entry)) refuse(`${at} is no JSON object`);
    const { kty, use } = entry;
    if (kty !== 'EC' && kty !== 'RSA' && kty !== 'OKP') return;
    if (use === 'x509-svid') {
      const der = readRoot(entry, at, trustDomain);
      roots.set(der.toString('latin1'), der);
    } else if (use === 'jwt-svid') {
      const key = readTokenKey(entry, at);
      const { kid = '' } = key;
      if (tokenKeys.has(kid)) refuse(`${at} has the kid of another key`);
      tokenKeys.set(kid, key);
    }
  });
  if (roots.size > MAX_ROOTS) refuse(`has ${roots.size} roots, at most ${MAX_ROOTS} may be`);
  return {
    ...(sequence !== undefined && { sequence }),
    ...(refreshHintSeconds !== undefined && { refreshHintSeconds }),
    x509Authorities: [...roots.values()].sort((a, b) => a.compare(b)),
    jwtAuthorities: [...tokenKeys.values()],
  };
}

function wholeNumber(document: PlainObject, name: string): number | undefined {
  const value = document[name];
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  return refuse(`${name} is no whole number`);
}

/** Standard base64 and nothing else: what two readers could read differently is no certificate. */
function base64(text: unknown, at: string): Buffer {
  if (typeof text !== 'string' || text === '') refuse(`${at} holds no certificate`);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) refuse(`${at} is not in base64`);
  return bytes;
}

function readRoot(jwk: PlainObject, at: string, trustDomain: string): Buffer {
  const chain: unknown = jwk['x5c'];
  if (!Array.isArray(chain) || chain.length !== 1) refuse(`${at}.x5c must hold one certificate`);
  const der = base64(chain[0], `${at}.x5c`);
  if (der.length > MAX_ROOT_BYTES) refuse(`${at}.x5c is longer than ${MAX_ROOT_BYTES} bytes`);
  const reading = readCertificate(der);
  if (!reading.ok) refuse(`${at}.x5c is no certificate: ${reading.reason}`);
  if (!reading.facts.isCa) refuse(`${at}.x5c is no CA`);
  const [uri, ...more] = reading.facts.uriSans;
  const own = `spiffe://${trustDomain}`;
  if (more.length > 0 || (uri !== undefined && uri !== own && !uri.startsWith(`${own}/`))) {
    refuse(`${at}.x5c names another trust domain`);
  }
  const certificate = opened(der, at);
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
    refuse(`${at}.x5c is not signed by itself`);
  }
  checkStrength(certificate.publicKey, at);
  if (!certificate.publicKey.equals(publicKeyOf(jwk, at))) refuse(`${at} has two different keys`);
  return der;
}

function opened(der: Buffer, at: string): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch {
    return refuse(`${at}.x5c is no certificate`);
  }
}

const PUBLIC_PARAMETERS = ['kty', 'crv', 'x', 'y', 'n', 'e'] as const;

function publicKeyOf(jwk: PlainObject, at: string): KeyObject {
  const key: Record<string, string> = {};
  for (const name of PUBLIC_PARAMETERS) {
    const value = jwk[name];
    if (typeof value === 'string') key[name] = value;
  }
  try {
    return createPublicKey({ key, format: 'jwk' });
  } catch {
    return refuse(`${at} is no public key`);
  }
}

/** P-256, P-384 and P-521, as Node names them. */
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

function checkStrength({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject, at: string): void {
  const { namedCurve = '', modulusLength: bits = 0 } = asymmetricKeyDetails ?? {};
  if (asymmetricKeyType === 'ed25519' || CURVES.has(namedCurve)) return;
  if (asymmetricKeyType !== 'rsa' || bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) {
    refuse(`${at} is a key of a kind or size that is not taken`);
  }
}

function readTokenKey(jwk: PlainObject, at: string): VerificationKey {
  const { kid } = jwk;
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID) refuse(`${at} has no kid`);
  const { use: _, ...rest } = jwk;
  const read = readJwks(JSON.stringify({ keys: [rest] }));
  const [key] = read.ok ? read.keys : [];
  return key ?? refuse(`${at} cannot verify a token`);
}

/** @param bundle whose roots and keys are written in the order in which they are given */
export function formatBundleDocument(bundle: SpiffeBundle): string {
  const { sequence, refreshHintSeconds, x509Authorities, jwtAuthorities } = bundle;
  return JSON.stringify({
    keys: [
      ...x509Authorities.map((der) => ({
        use: 'x509-svid',
        ...new X509Certificate(der).publicKey.export({ format: 'jwk' }),
        x5c: [der.toString('base64')],
      })),
      ...jwtAuthorities.map((key) => ({ ...key, use: 'jwt-svid' })),
    ],
    ...(sequence !== undefined && { spiffe_sequence: sequence }),
    ...(refreshHintSeconds !== undefined && { spiffe_refresh_hint: refreshHintSeconds }),
  });
}

const PEM_LINE = 64;

/** The roots as sidecars take them. */
export function rootsPem(roots: readonly Buffer[]): string {
  return roots.map(toPem).join('');
}

function toPem(der: Buffer): string {
  const text = der.toString('base64');
  const lines: string[] = [];
  for (let at = 0; at < text.length; at += PEM_LINE) lines.push(text.slice(at, at + PEM_LINE));
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
