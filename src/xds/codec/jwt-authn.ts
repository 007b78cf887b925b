// The JWT filter on the wire: its providers, and the one requirement that follows from them.
import { formatJwks, MAX_JWKS_BYTES, readJwks } from '@weft/model/policy/jwks';
import { SPACE_DELIMITED, type TokenRule } from '@weft/model/policy/token-rules';
import type { PlainMessage } from '../registry.ts';
import { CLOCK_SKEW_SECONDS, type JwtAuthentication } from '../resources/jwt-authn.ts';
import {
  type Fields,
  flag,
  integer,
  message,
  messageMap,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  text,
  texts,
} from './fields.ts';
import { encodeDuration, nonEmpty, requiredDurationMs } from './well-known.ts';

/** Where in the filter's metadata a token's claims stand. */
const PAYLOAD_KEY = 'payload';
/** Istio's schema allows as many rules in one policy. */
const MAX_RULES = 4_096;
/** `any` of `all` of `any`. */
const MAX_REQUIREMENT_DEPTH = 3;

/**
 * Envoy takes no empty set. A set that would have to be fetched by way of a cluster that is not there never comes:
 * every token of the rule is refused, and there is no key that could be anybody's (CVE-2026-31837).
 */
const NOWHERE: PlainMessage = {
  http_uri: { uri: 'http://no-keys.invalid/', cluster: 'no-keys', timeout: encodeDuration(1_000) },
};
const NO_KEYS = formatJwks([]);

/** Names are numbers with as many digits as the largest, so that their order is that of the rules. */
const nameOf = (index: number): string => `rule-${String(index).padStart(4, '0')}`;

/** @throws RangeError for more rules than names. */
export function encodeJwtAuthentication({ rules }: JwtAuthentication): PlainMessage {
  if (rules.length === 0 || rules.length > MAX_RULES)
    throw new RangeError(`Cannot encode ${rules.length} token rules: 1 to ${MAX_RULES} can be`);
  return {
    providers: Object.fromEntries(rules.map((rule, index) => [nameOf(index), encodeRule(rule)])),
    rules: [{ match: { prefix: '/' }, requires: encodeRequirement(requirementOf(rules)) }],
    // A browser sends no token with the question whether it may.
    bypass_cors_preflight: true,
  };
}

function encodeRule(rule: TokenRule): PlainMessage {
  return {
    issuer: nonEmpty(rule.issuer),
    audiences: rule.audiences,
    ...(rule.jwks === NO_KEYS
      ? { remote_jwks: NOWHERE }
      : { local_jwks: { inline_string: rule.jwks } }),
    forward: rule.isForwarded || undefined,
    from_headers: rule.fromHeaders.map(({ name, prefix }) => ({
      name,
      value_prefix: nonEmpty(prefix),
    })),
    from_params: rule.fromParams,
    from_cookies: rule.fromCookies,
    forward_payload_header: rule.outputPayloadToHeader,
    payload_in_metadata: PAYLOAD_KEY,
    clock_skew_seconds: CLOCK_SKEW_SECONDS,
    claim_to_headers: rule.outputClaimToHeaders.map(({ header, claim }) => ({
      header_name: header,
      claim_name: claim,
    })),
    normalize_payload_in_metadata: {
      space_delimited_claims: [...SPACE_DELIMITED, ...rule.spaceDelimitedClaims],
    },
  };
}

type Requirement =
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'any' | 'all'; readonly of: readonly Requirement[] };

/**
 * For each group of rules that share a place: one of them, or nothing at all their places. All groups must hold, so
 * that a good token at one place does not make up for a bad one at another.
 */
function requirementOf(rules: readonly TokenRule[]): Requirement {
  const groups = groupsByPlace(rules).map(
    (group): Requirement => ({
      kind: 'any',
      of: [
        ...group.map((index): Requirement => ({ kind: 'rule', name: nameOf(index) })),
        { kind: 'missing' },
      ],
    }),
  );
  const [only, ...more] = groups;
  return only !== undefined && more.length === 0 ? only : { kind: 'all', of: groups };
}

const placesOf = (rule: TokenRule): readonly string[] => [
  ...rule.fromHeaders.map(({ name, prefix }) => `header ${name} ${prefix}`),
  ...rule.fromParams.map((name) => `param ${name}`),
  ...rule.fromCookies.map((name) => `cookie ${name}`),
];

/** Groups of rules connected by places they share, each in order, by their first rule. */
function groupsByPlace(rules: readonly TokenRule[]): readonly (readonly number[])[] {
  const groups: { readonly places: Set<string>; readonly members: number[] }[] = [];
  rules.forEach((rule, index) => {
    const places = placesOf(rule);
    const touching = groups.filter((group) => places.some((place) => group.places.has(place)));
    const [first] = touching;
    const group = first ?? { places: new Set<string>(), members: [] };
    if (first === undefined) groups.push(group);
    for (const other of touching.slice(1)) {
      for (const place of other.places) group.places.add(place);
      group.members.push(...other.members);
      groups.splice(groups.indexOf(other), 1);
    }
    for (const place of places) group.places.add(place);
    group.members.push(index);
  });
  return groups.map(({ members }) => members.sort((a, b) => a - b));
}

function encodeRequirement(requirement: Requirement): PlainMessage {
  switch (requirement.kind) {
    case 'rule':
      return { provider_name: requirement.name };
    case 'missing':
      return { allow_missing: {} };
    case 'any':
      return { requires_any: { requirements: requirement.of.map(encodeRequirement) } };
    case 'all':
      return { requires_all: { requirements: requirement.of.map(encodeRequirement) } };
    default:
      return requirement satisfies never;
  }
}

export const readJwtAuthentication: Read<JwtAuthentication> = (fields) => {
  if (!flag(fields, 'bypass_cors_preflight'))
    report(fields, 'bypass_cors_preflight', 'not-supported', 'must be true');
  const providers = messageMap(fields, 'providers', readRule);
  const required = messages(fields, 'rules', readRequirementRule);
  const rules = [...providers.values()];
  const areNamed = [...providers.keys()].every((name, index) => name === nameOf(index));
  if (!areNamed) report(fields, 'providers', 'not-supported', 'are not named in their order');
  if (rules.length === 0 || rules.length > MAX_RULES)
    return report(
      fields,
      'providers',
      'out-of-range',
      `are ${rules.length}, not 1 to ${MAX_RULES}`,
    );
  /** Any other requirement would let through something else than this filter does. */
  const expected = JSON.stringify([requirementOf(rules)]);
  if (JSON.stringify(required) !== expected)
    return report(fields, 'rules', 'not-supported', 'are not those that follow from the providers');
  return { rules };
};

const readRule: Read<TokenRule> = (fields) => {
  const jwks = readKeySource(fields);
  if (text(fields, 'payload_in_metadata') !== PAYLOAD_KEY)
    report(fields, 'payload_in_metadata', 'not-supported', `must be ${PAYLOAD_KEY}`);
  if (integer(fields, 'clock_skew_seconds') !== CLOCK_SKEW_SECONDS)
    report(fields, 'clock_skew_seconds', 'not-supported', `must be ${CLOCK_SKEW_SECONDS}`);
  const rule: TokenRule = {
    issuer: text(fields, 'issuer'),
    audiences: texts(fields, 'audiences'),
    jwks: jwks ?? '',
    isForwarded: flag(fields, 'forward'),
    fromHeaders: messages(fields, 'from_headers', (header) => ({
      name: lowerCase(header, 'name'),
      prefix: text(header, 'value_prefix'),
    })),
    fromParams: texts(fields, 'from_params'),
    fromCookies: texts(fields, 'from_cookies'),
    outputPayloadToHeader: nonEmpty(text(fields, 'forward_payload_header')),
    outputClaimToHeaders: messages(fields, 'claim_to_headers', (entry) => ({
      header: lowerCase(entry, 'header_name'),
      claim: requiredText(entry, 'claim_name'),
    })),
    spaceDelimitedClaims: readSpaceDelimited(fields),
  };
  const { fromHeaders, fromParams, fromCookies } = rule;
  if (fromHeaders.length + fromParams.length + fromCookies.length === 0)
    report(fields, 'from_headers', 'missing', 'or another place of tokens must be named');
  return jwks === undefined ? undefined : rule;
};

function lowerCase(fields: Fields, name: string): string {
  const value = requiredText(fields, name);
  if (value !== value.toLowerCase()) report(fields, name, 'malformed', 'is not in lower case');
  return value;
}

function readSpaceDelimited(fields: Fields): readonly string[] {
  const all = requiredMessage(fields, 'normalize_payload_in_metadata', (payload) =>
    texts(payload, 'space_delimited_claims'),
  );
  if (all === undefined) return [];
  const hasDefaults = SPACE_DELIMITED.every((name, index) => all[index] === name);
  if (!hasDefaults)
    report(
      fields,
      'normalize_payload_in_metadata',
      'not-supported',
      `must begin with ${SPACE_DELIMITED.join(' and ')}`,
    );
  return all.slice(SPACE_DELIMITED.length);
}

function readKeySource(fields: Fields): string | undefined {
  if (oneOf(fields, 'jwks_source_specifier') !== 'remote_jwks')
    return requiredMessage(fields, 'local_jwks', readKeys);
  const isNowhere = message(fields, 'remote_jwks', (remote) =>
    requiredMessage(remote, 'http_uri', (http) => {
      const uri = text(http, 'uri');
      const cluster = text(http, 'cluster');
      requiredDurationMs(http, 'timeout');
      return uri === 'http://no-keys.invalid/' && cluster === 'no-keys';
    }),
  );
  if (isNowhere === true) return NO_KEYS;
  return report(fields, 'remote_jwks', 'not-supported', 'may lead nowhere but to no keys');
}

const readKeys: Read<string> = (fields) => {
  const kind = oneOf(fields, 'specifier');
  const jwks = kind === 'inline_string' ? text(fields, kind) : undefined;
  if (jwks === undefined) return report(fields, '', 'not-supported', 'must be an inline string');
  if (jwks.length > MAX_JWKS_BYTES)
    return report(fields, 'inline_string', 'too-large', `is longer than ${MAX_JWKS_BYTES} bytes`);
  const read = readJwks(jwks);
  if (!read.ok) return report(fields, 'inline_string', 'malformed', read.reason);
  const [problem] = read.leftOut;
  return problem === undefined ? jwks : report(fields, 'inline_string', 'malformed', problem);
};

const readRequirementRule: Read<Requirement> = (fields) => {
  const prefix = requiredMessage(fields, 'match', (match) =>
    oneOf(match, 'path_specifier') === 'prefix' ? text(match, 'prefix') : undefined,
  );
  if (prefix !== '/') report(fields, 'match', 'not-supported', 'must be the prefix /');
  return requiredMessage(fields, 'requires', readRequirement(0));
};

const readRequirement =
  (depth: number): Read<Requirement> =>
  (fields) => {
    const list = (kind: 'any' | 'all', name: string): Requirement | undefined => {
      if (depth >= MAX_REQUIREMENT_DEPTH) return report(fields, name, 'too-deep', 'is too deep');
      const of = message(fields, name, (inner) =>
        messages(inner, 'requirements', readRequirement(depth + 1)),
      );
      return of && { kind, of };
    };
    switch (oneOf(fields, 'requires_type')) {
      case 'provider_name':
        return { kind: 'rule', name: requiredText(fields, 'provider_name') };
      case 'allow_missing':
        message(fields, 'allow_missing', () => true);
        return { kind: 'missing' };
      case 'requires_any':
        return list('any', 'requires_any');
      case 'requires_all':
        return list('all', 'requires_all');
      default:
        return undefined;
    }
  };
