// Decides whether a JWT SVID is good: signed by the trust domain's keys, for this audience, of a workload of it, and not too old.
import {
  parseSpiffeId,
  type SpiffeId,
  type TrustDomain,
  trustDomainOf,
} from '@weft/model/identity';
import { isPlainObject } from '@weft/model/policy/reader';

import { type Claims, MAX_TOKEN_BYTES, prepareRule, verifyToken } from '../jwt/verify-token.ts';
import type { TokenKeySets } from './token-client.ts';

export type TokenJudgement =
  | { readonly ok: true; readonly spiffeId: SpiffeId; readonly claims: Claims }
  | { readonly ok: false; readonly isUnknownKey: boolean; readonly reason: string };

export interface JudgeOptions {
  /** Of the trust domain. */
  readonly jwks: string;
  readonly audience: string;
  readonly trustDomain: TrustDomain;
  readonly nowMs: number;
}

const refuse = (reason: string, isUnknownKey = false): TokenJudgement => ({
  ok: false,
  isUnknownKey,
  reason,
});

/** JWT-SVID §3 and §4: `sub`, `aud` and `exp` must be there; an audience is compared letter by letter. */
export async function judgeToken(
  token: string,
  { jwks, audience, trustDomain, nowMs }: JudgeOptions,
): Promise<TokenJudgement> {
  const rule = prepareRule({ ...ANY, jwks });
  const verified = await verifyToken(token, [rule], [0], nowMs);
  if (!verified.ok) {
    const { reasonCode } = verified;
    return refuse(reasonCode, reasonCode === 'jwt-unknown-kid' || reasonCode === 'jwt-no-keys');
  }
  const claims = verified.rawClaims;
  const { sub, aud, exp } = claims;
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (audience === '' || !audiences.includes(audience)) return refuse('jwt-wrong-audience');
  if (typeof exp !== 'number') return refuse('jwt-without-end');
  const spiffeId = typeof sub === 'string' ? parseSpiffeId(sub) : undefined;
  if (spiffeId === undefined || trustDomainOf(spiffeId) !== trustDomain) {
    return refuse('jwt-of-nobody-here');
  }
  return { ok: true, spiffeId, claims };
}

/** By the keys of the trust domain that it claims to be of: each vouches for its own tokens alone. */
export function judgeByItsKeys(
  token: string,
  { own, federated }: TokenKeySets,
  options: Omit<JudgeOptions, 'jwks'>,
): Promise<TokenJudgement> {
  const claimed = claimedTrustDomain(token);
  const isOwn = claimed === undefined || claimed === options.trustDomain;
  const theirs = isOwn ? undefined : federated.get(claimed);
  return isOwn || theirs === undefined
    ? judgeToken(token, { ...options, jwks: own })
    : judgeToken(token, { ...options, jwks: theirs, trustDomain: claimed });
}

/**
 * Whose a token claims to be, before anything of it is believed: it says by whose keys it is to be judged, and no more.
 * @returns `undefined` where it claims nothing that can be read.
 */
function claimedTrustDomain(token: string): TrustDomain | undefined {
  if (token.length > MAX_TOKEN_BYTES) return undefined;
  const [, payload = ''] = token.split('.');
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const sub = isPlainObject(claims) ? claims['sub'] : undefined;
  const id = typeof sub === 'string' ? parseSpiffeId(sub) : undefined;
  return id && trustDomainOf(id);
}

/** Terms that say nothing: what a JWT SVID must have is asked above. */
const ANY = {
  issuer: '',
  audiences: [],
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  outputPayloadToHeader: undefined,
  outputClaimToHeaders: [],
  isForwarded: false,
  spaceDelimitedClaims: [],
} as const;
