// Judges one token: form, algorithm, key, signature, then what its claims say of issuer, audience and time.
import { createPublicKey, type KeyObject } from 'node:crypto';
import type * as jose from 'jose';
import { algorithmsOf, readJwks } from '@weft/model/policy/jwks';
import { SPACE_DELIMITED, type TokenRule } from '@weft/model/policy/token-rules';
import { CLOCK_SKEW_SECONDS } from '@weft/xds/resources/jwt-authn';

export type Claims = Readonly<Record<string, unknown>>;

export interface VerifiedToken {
  readonly ok: true;
  /** Of the rule that it is good by. */
  readonly rule: number;
  /** As rules are asked about them: space-delimited ones are lists. */
  readonly claims: Claims;
  /** As they were signed. */
  readonly rawClaims: Claims;
  /** The claims as they stand in the token. */
  readonly payload: string;
  /** When it is good no more, skew included; infinity for one without `exp`. */
  readonly notAfterMs: number;
}

export type TokenFault =
  | 'jwt-too-large'
  | 'jwt-malformed'
  | 'jwt-algorithm'
  | 'jwt-unknown-issuer'
  | 'jwt-no-keys'
  | 'jwt-unknown-kid'
  | 'jwt-bad-signature'
  | 'jwt-expired'
  | 'jwt-not-yet-valid'
  | 'jwt-wrong-audience';

export type TokenCheck = VerifiedToken | { readonly ok: false; readonly reasonCode: TokenFault };

/** 16 KB: tokens with hundreds of groups are a third of it, and heads end at 64. */
export const MAX_TOKEN_BYTES = 16_384;
/** Nesting of claims (CVE-2026-48042); real ones have three levels. */
const MAX_DEPTH = 32;
const SKEW_MS = CLOCK_SKEW_SECONDS * 1_000;

interface Key {
  readonly kid: string | undefined;
  readonly algorithms: readonly string[];
  readonly key: KeyObject;
}

/** A rule with its keys ready. */
export interface RuleKeys {
  readonly rule: TokenRule;
  readonly keys: readonly Key[];
}

export function prepareRule(rule: TokenRule): RuleKeys {
  const read = readJwks(rule.jwks);
  const keys = read.ok ? read.keys : [];
  return {
    rule,
    keys: keys.map((jwk) => ({
      kid: jwk.kid,
      algorithms: algorithmsOf(jwk),
      key: createPublicKey({ format: 'jwk', key: { ...jwk } }),
    })),
  };
}

const fault = (reasonCode: TokenFault): TokenCheck => ({ ok: false, reasonCode });

interface ReadToken {
  readonly algorithm: string;
  readonly kid: string | undefined;
  readonly claims: Claims;
  readonly payload: string;
}

/**
 * @param indexes of the rules that read the place where it was found. One that is good by any of them is good.
 * @returns else why it is not: by the first rule of its issuer.
 */
export async function verifyToken(
  token: string,
  rules: readonly RuleKeys[],
  indexes: readonly number[],
  nowMs: number,
): Promise<TokenCheck> {
  if (token.length > MAX_TOKEN_BYTES) return fault('jwt-too-large');
  const read = readToken(token);
  if (read === undefined) return fault('jwt-malformed');
  let first: TokenCheck | undefined;
  for (const index of indexes) {
    const candidate = rules[index];
    if (candidate === undefined || !isIssuedFor(read, candidate.rule)) continue;
    const check = await verifyBy(token, read, candidate, { index, nowMs });
    if (check.ok) return check;
    first ??= check;
  }
  return first ?? fault('jwt-unknown-issuer');
}

const isIssuedFor = ({ claims }: ReadToken, { issuer }: TokenRule): boolean =>
  issuer === '' || claims['iss'] === issuer;

/** Takes a token apart without believing any of it. */
function readToken(token: string): ReadToken | undefined {
  const [head, payload, signature, ...more] = token.split('.');
  if (head === undefined || payload === undefined || signature === undefined) return undefined;
  if (more.length > 0 || !isBase64Url(signature)) return undefined;
  const header = readPart(head);
  const claims = readPart(payload);
  if (header === undefined || claims === undefined) return undefined;
  const { alg, kid, crit } = header;
  /** Extensions that must be understood are understood by nobody here. */
  if (typeof alg !== 'string' || crit !== undefined) return undefined;
  if (kid !== undefined && typeof kid !== 'string') return undefined;
  const { iss, sub } = claims;
  if (iss !== undefined && typeof iss !== 'string') return undefined;
  if (sub !== undefined && typeof sub !== 'string') return undefined;
  return { algorithm: alg, kid, claims, payload };
}

function readPart(part: string): Claims | undefined {
  if (part === '' || !isBase64Url(part)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(Buffer.from(part, 'base64url')));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return isDeeperThan(value, MAX_DEPTH) ? undefined : (value as Claims);
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function isBase64Url(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isKnown =
      (code >= 0x30 && code <= 0x39) ||
      (code >= 0x41 && code <= 0x5a) ||
      (code >= 0x61 && code <= 0x7a) ||
      code === 0x2d ||
      code === 0x5f;
    if (!isKnown) return false;
  }
  return true;
}

/** Level by level, so that no depth of input is a depth of calls. */
function isDeeperThan(root: object, limit: number): boolean {
  let level: readonly object[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= limit) return true;
    level = level.flatMap((value) =>
      Object.values(value).filter(
        (inner): inner is object => typeof inner === 'object' && inner !== null,
      ),
    );
  }
  return false;
}

async function verifyBy(
  token: string,
  read: ReadToken,
  { rule, keys }: RuleKeys,
  { index, nowMs }: { readonly index: number; readonly nowMs: number },
): Promise<TokenCheck> {
  if (keys.length === 0) return fault('jwt-no-keys');
  const { algorithm, kid, claims, payload } = read;
  /** A key decides which algorithms it is for, the token only which of those (algorithm confusion). */
  const usable = keys.filter((key) => key.algorithms.includes(algorithm));
  if (usable.length === 0) return fault('jwt-algorithm');
  const named = usable.filter(
    (key) => kid === undefined || key.kid === undefined || key.kid === kid,
  );
  if (named.length === 0) return fault('jwt-unknown-kid');
  if (!(await isSignedByAny(token, named, algorithm))) return fault('jwt-bad-signature');
  const { exp, nbf } = claims;
  const times = [exp, nbf].filter((time) => time !== undefined);
  if (!times.every((time) => typeof time === 'number')) return fault('jwt-malformed');
  const notAfterMs = typeof exp === 'number' ? exp * 1_000 + SKEW_MS : Number.POSITIVE_INFINITY;
  if (nowMs > notAfterMs) return fault('jwt-expired');
  if (typeof nbf === 'number' && nowMs + SKEW_MS < nbf * 1_000) return fault('jwt-not-yet-valid');
  if (!isFor(claims['aud'], rule.audiences)) return fault('jwt-wrong-audience');
  return {
    ok: true,
    rule: index,
    claims: splitClaims(claims, rule.spaceDelimitedClaims),
    rawClaims: claims,
    payload,
    notAfterMs,
  };
}

/** Loaded when the first token comes: a sidecar that verifies none does not pay for it. */
let loaded: Promise<typeof jose> | undefined;

/** Without a `kid` each key of the issuer that is for the algorithm is tried: sets are small. */
async function isSignedByAny(
  token: string,
  keys: readonly Key[],
  algorithm: string,
): Promise<boolean> {
  loaded ??= import('jose');
  const { compactVerify, errors } = await loaded;
  for (const { key } of keys) {
    try {
      await compactVerify(token, key, { algorithms: [algorithm] });
      return true;
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
    }
  }
  return false;
}

function isFor(claim: unknown, audiences: readonly string[]): boolean {
  if (audiences.length === 0) return true;
  const claimed: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
  const wanted = audiences.map(plainAudience);
  return claimed.some((one) => typeof one === 'string' && wanted.includes(plainAudience(one)));
}

/** Without scheme and closing slash, as Envoy compares audiences: existing policies count on it. */
function plainAudience(audience: string): string {
  const scheme = ['https://', 'http://'].find((prefix) => audience.startsWith(prefix)) ?? '';
  const rest = audience.slice(scheme.length);
  return rest.endsWith('/') ? rest.slice(0, -1) : rest;
}

/** Claims that hold several words become lists of them. */
function splitClaims(claims: Claims, names: readonly string[]): Claims {
  const split = new Map(Object.entries(claims));
  for (const name of [...SPACE_DELIMITED, ...names]) {
    const value = split.get(name);
    if (typeof value === 'string')
      split.set(
        name,
        value.split(' ').filter((word) => word !== ''),
      );
  }
  return Object.fromEntries(split);
}
