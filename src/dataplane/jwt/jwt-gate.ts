// The filter that verifies tokens: at once for those it knows, later for new ones; without a token it does nothing.
import { hash } from 'node:crypto';
import { JWT_FILTER } from '@weft/model/policy/rbac';
import type { JwtAuthentication } from '@weft/xds/resources/jwt-authn';
import { LRUCache } from 'lru-cache';
import {
  PASSED,
  type GateOutcome,
  type GateRequest,
  type RequestGate,
} from '../filters/request-gate.ts';
import { outputHeadersOf, writeClaims } from './claim-headers.ts';
import {
  findTokens,
  MAX_TOKENS,
  placesOf,
  removeTokens,
  type FoundToken,
  type TokenPlace,
} from './token-places.ts';
import {
  prepareRule,
  verifyToken,
  type RuleKeys,
  type TokenCheck,
  type TokenFault,
  type VerifiedToken,
} from './verify-token.ts';

/** Good tokens that are remembered: the callers of some minutes. */
const MAX_REMEMBERED = 1_000;
/** Their claims together; a token may be 16 KB. */
const MAX_REMEMBERED_BYTES = 4_194_304;
/** An object costs several times its text. */
const CLAIMS_FACTOR = 4;

interface Checked {
  readonly found: FoundToken;
  readonly token: VerifiedToken;
}

export function createJwtGate(config: JwtAuthentication): RequestGate {
  return new JwtGate(config);
}

class JwtGate implements RequestGate {
  readonly #config: JwtAuthentication;
  readonly #rules: readonly RuleKeys[];
  readonly #places: readonly TokenPlace[];
  readonly #outputs: readonly string[];
  /** By place and hash: never a token itself. */
  readonly #good = new LRUCache<string, VerifiedToken>({
    max: MAX_REMEMBERED,
    maxSize: MAX_REMEMBERED_BYTES,
    sizeCalculation: ({ payload }) => payload.length * CLAIMS_FACTOR + 1,
  });
  /** Of tokens that are being verified: requests that come meanwhile wait for the same answer. */
  readonly #pending = new Map<string, Promise<TokenCheck>>();

  constructor(config: JwtAuthentication) {
    this.#config = config;
    this.#rules = config.rules.map(prepareRule);
    this.#places = placesOf(config.rules);
    this.#outputs = outputHeadersOf(config.rules);
  }

  check(request: GateRequest): GateOutcome | 'later' {
    for (const name of this.#outputs) request.edits().remove(name);
    const tokens = this.#tokensOf(request);
    if (tokens === undefined) return PASSED;
    if (tokens.length > MAX_TOKENS) return refuse('jwt-too-many');
    const checked: Checked[] = [];
    for (const found of tokens) {
      const token = this.#known(found, request.atMs);
      if (token === undefined) return 'later';
      checked.push({ found, token });
    }
    return this.#accept(request, checked);
  }

  async checkLater(request: GateRequest): Promise<GateOutcome> {
    const tokens = this.#tokensOf(request) ?? [];
    const checks = await Promise.all(tokens.map((found) => this.#verify(found, request.atMs)));
    const checked: Checked[] = [];
    for (const [index, token] of checks.entries()) {
      if (!token.ok) return refuse(token.reasonCode);
      const found = tokens[index];
      if (found !== undefined) checked.push({ found, token });
    }
    return this.#accept(request, checked);
  }

  /** A browser's question whether a page may call (CORS) carries no token, and is none of the filter's business. */
  #tokensOf(request: GateRequest): readonly FoundToken[] | undefined {
    const { facts } = request;
    const isPreflight =
      facts.method === 'OPTIONS' &&
      facts.header('origin') !== undefined &&
      facts.header('access-control-request-method') !== undefined;
    return isPreflight ? undefined : findTokens(this.#places, request);
  }

  #known(found: FoundToken, atMs: number): VerifiedToken | undefined {
    const key = keyOf(found);
    const token = this.#good.get(key);
    if (token === undefined || token.notAfterMs >= atMs) return token;
    this.#good.delete(key);
    return undefined;
  }

  async #verify(found: FoundToken, atMs: number): Promise<TokenCheck> {
    const known = this.#known(found, atMs);
    if (known !== undefined) return known;
    const key = keyOf(found);
    const waiting = this.#pending.get(key);
    if (waiting !== undefined) return waiting;
    const indexes = this.#places[found.place]?.rules ?? [];
    const pending = verifyToken(found.token, this.#rules, indexes, atMs);
    this.#pending.set(key, pending);
    try {
      const check = await pending;
      if (check.ok) this.#good.set(key, check);
      return check;
    } finally {
      this.#pending.delete(key);
    }
  }

  /** Every token is good: of several the last rule's says who the request is from, as in Envoy. */
  #accept(request: GateRequest, checked: readonly Checked[]): GateOutcome {
    const byRule = checked.toSorted((a, b) => a.token.rule - b.token.rule);
    for (const { found, token } of byRule) {
      const rule = this.#config.rules[token.rule];
      const place = this.#places[found.place];
      if (rule === undefined || place === undefined) return refuse('jwt-malformed');
      if (!rule.isForwarded) removeTokens(place, request);
      request.facts.setMetadata(JWT_FILTER, { payload: token.claims });
    }
    for (const { token } of byRule) {
      const rule = this.#config.rules[token.rule];
      if (rule !== undefined && hasOutputs(rule)) writeClaims(rule, token, request.edits());
    }
    return PASSED;
  }
}

const hasOutputs = (rule: JwtAuthentication['rules'][number]): boolean =>
  rule.outputPayloadToHeader !== undefined || rule.outputClaimToHeaders.length > 0;

const keyOf = ({ place, token }: FoundToken): string => `${place} ${hash('sha256', token)}`;

/** Why goes to the log; the caller is told what RFC 6750 §3.1 has it told, and never sees its token again. */
const refuse = (reasonCode: TokenFault | 'jwt-too-many'): GateOutcome => ({
  kind: 'refuse',
  status: 401,
  body: 'invalid token',
  reasonCode,
  headers: ['www-authenticate', 'Bearer error="invalid_token"'],
});
