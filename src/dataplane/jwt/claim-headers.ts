// Claims that an application is told in headers, under names that no client can use.
import type { TokenRule } from '@weft/model/policy/token-rules';
import type { HeadEdits } from '../filters/head-edits.ts';
import type { Claims, VerifiedToken } from './verify-token.ts';

/** 8 KB: claims that are longer are no use in a head, and heads have limits. */
const MAX_VALUE_BYTES = 8_192;

/** Every header that a rule may write: what a client sends under one is taken out, token or not. */
export const outputHeadersOf = (rules: readonly TokenRule[]): readonly string[] => [
  ...new Set(
    rules.flatMap(({ outputPayloadToHeader: payload, outputClaimToHeaders: claims }) => [
      ...(payload === undefined ? [] : [payload]),
      ...claims.map(({ header }) => header),
    ]),
  ),
];

export function writeClaims(rule: TokenRule, token: VerifiedToken, edits: HeadEdits): void {
  if (rule.outputPayloadToHeader !== undefined) {
    edits.set(rule.outputPayloadToHeader, token.payload);
  }
  for (const { header, claim } of rule.outputClaimToHeaders) {
    const value = headerValue(claimAt(token.rawClaims, claim));
    if (value !== undefined) edits.set(header, value);
  }
}

/** The claim of that very name, else the nested one: `resource.owner`. */
export function claimAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const key of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Claims)[key];
  }
  return value;
}

/** Texts, whole numbers and booleans. What could end a header's line is no value (CVE-2023-27493). */
function headerValue(claim: unknown): string | undefined {
  if (typeof claim === 'boolean' || Number.isSafeInteger(claim)) return String(claim);
  if (typeof claim !== 'string' || claim === '') return undefined;
  const bytes = Buffer.from(claim, 'utf8');
  if (bytes.length > MAX_VALUE_BYTES) return undefined;
  for (const byte of bytes) if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f) return undefined;
  /** Heads are bytes, each a character. */
  return bytes.toString('latin1');
}
