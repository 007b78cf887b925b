// Decides whether a JWT SVID is good: signed by the trust domain's keys, for this audience, of a workload of it, and not too old.
import { partsOf, parseSpiffeId, type SpiffeId, type TrustDomain } from '@weft/model/identity';
import { type Claims, prepareRule, verifyToken } from '../jwt/verify-token.ts';

export type TokenJudgement =
  | { readonly ok: true; readonly spiffeId: SpiffeId; readonly claims: Claims }
  | { readonly ok: false; readonly isUnknownKey: boolean; readonly reason: string };

export interface JudgeOptions {
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
  if (spiffeId === undefined || partsOf(spiffeId)?.trustDomain !== trustDomain) {
    return refuse('jwt-of-nobody-here');
  }
  return { ok: true, spiffeId, claims };
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
