// Decides with which keys tokens are signed: each is published a day before it signs, and stays published a day after.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { createKeyPair, exportKey } from './sign.ts';
import type { TokenKey } from './store/store.ts';

const DAY_MS = 86_400_000;
/** How old a key is when the next one is made. */
const LIFE_MS = 30 * DAY_MS;
/** Longer than anybody keeps a set of keys without asking again. */
const LEAD_MS = DAY_MS;
/** Longer than any token lives. */
const TAIL_MS = DAY_MS;

/** As others get it; RFC 7517. */
export interface PublishedKey {
  readonly kty: 'EC';
  readonly crv: 'P-256';
  readonly x: string;
  readonly y: string;
  readonly kid: string;
  readonly alg: 'ES256';
  readonly use: 'sig';
}

export interface TokenClaims {
  readonly iss?: string;
  readonly sub: string;
  readonly aud: readonly string[];
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
}

/** The key that signs now: the newest that has been known long enough, and the first of all when none has. */
export function signingKey(keys: readonly TokenKey[], nowMs: number): TokenKey | undefined {
  return keys.findLast(({ createdAtMs }) => createdAtMs + LEAD_MS <= nowMs) ?? keys[0];
}

/** Whether there is nothing to do. */
export const areFresh = (keys: readonly TokenKey[], nowMs: number): boolean =>
  keys.length > 0 && !isDue(keys, nowMs) && !keys.some((key) => isOut(key, keys, nowMs));

function isDue(keys: readonly TokenKey[], nowMs: number): boolean {
  const newest = keys.at(-1);
  return newest === undefined || newest.createdAtMs + LIFE_MS <= nowMs;
}

/** Nobody has a token of it any more. */
function isOut({ createdAtMs }: TokenKey, keys: readonly TokenKey[], nowMs: number): boolean {
  const active = signingKey(keys, nowMs);
  if (active === undefined || createdAtMs >= active.createdAtMs) return false;
  return active.createdAtMs + LEAD_MS + TAIL_MS <= nowMs;
}

/** @param keys oldest first. @returns what they should be now; the same object when there is nothing to do. */
export function freshKeys(keys: readonly TokenKey[], nowMs: number): readonly TokenKey[] {
  if (areFresh(keys, nowMs)) return keys;
  const kept = keys.filter((key) => !isOut(key, keys, nowMs));
  return isDue(keys, nowMs) ? [...kept, createTokenKey(nowMs)] : kept;
}

function createTokenKey(nowMs: number): TokenKey {
  return { key: exportKey(createKeyPair().privateKey), createdAtMs: nowMs };
}

export const openTokenKey = ({ key }: TokenKey): KeyObject =>
  createPrivateKey({ key, format: 'der', type: 'pkcs8' });

/** @throws when the key is not on P-256. */
export function publishKey(key: TokenKey): PublishedKey {
  const { kty, crv, x, y } = createPublicKey(openTokenKey(key)).export({ format: 'jwk' });
  if (kty !== 'EC' || crv !== 'P-256' || x === undefined || y === undefined) {
    throw new TypeError('Cannot publish the key: it is not on P-256');
  }
  /** RFC 7638: the thumbprint of the key names it. */
  const thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x, y }));
  return { kty, crv, x, y, kid: thumbprint.digest('base64url'), alg: 'ES256', use: 'sig' };
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A JWS in its compact form. */
export function signToken(key: KeyObject, kid: string, claims: TokenClaims): string {
  const text = `${part({ alg: 'ES256', kid, typ: 'JWT' })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

const ID_BYTES = 16;

export const createTokenId = (): string => randomBytes(ID_BYTES).toString('hex');
