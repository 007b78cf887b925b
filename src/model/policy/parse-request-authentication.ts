// Reads a RequestAuthentication from its manifest.
import { isToken, RESERVED_FIELDS } from '../http-fields.ts';
import { parseHttpUri } from '../http-uri.ts';
import type { Problem, Result } from '../problem.ts';
import { readJwks } from './jwks.ts';
import { parseTargets } from './parse-authorization-policy.ts';
import { parseEnvelope, parseSelector } from './parse-metadata.ts';
import { Reader, shown, type PlainObject } from './reader.ts';
import type {
  ClaimHeader,
  JwtRule,
  KeySource,
  RequestAuthentication,
  TokenHeader,
} from './token-rules.ts';

/** As in Istio's schema. */
const MAX_RULES = 4_096;
const MAX_SPACE_DELIMITED = 64;
const MAX_URI = 2_048;
/** Places and outputs of one rule: more are no way to carry a token. */
const MAX_ENTRIES = 64;
const MAX_HEADER_NAME = 128;
const MAX_PARAM_NAME = 128;
const DEFAULT_TIMEOUT_MS = 5_000;
const MAX_TIMEOUT_MS = 60_000;
const DISCOVERY_PATH = '/.well-known/openid-configuration';

const RULE_KEYS = [
  'issuer',
  'audiences',
  'jwksUri',
  'jwks_uri',
  'jwks',
  'fromHeaders',
  'fromParams',
  'fromCookies',
  'outputPayloadToHeader',
  'forwardOriginalToken',
  'outputClaimToHeaders',
  'timeout',
  'spaceDelimitedClaims',
] as const;

/** Source of the rules: Istio's validation of RequestAuthentication; see docs/policy.md. */
export function parseRequestAuthentication(object: PlainObject): Result<RequestAuthentication> {
  const reader = new Reader();
  const warnings: Problem[] = [];
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, 'RequestAuthentication');
  const spec =
    reader.object(object['spec'] ?? {}, 'spec', [
      'selector',
      'targetRef',
      'targetRefs',
      'jwtRules',
    ]) ?? {};
  const selector = parseSelector(reader, spec['selector'], 'spec.selector');
  const targetRefs = parseTargets(reader, spec);
  const entries = reader.list(spec['jwtRules'], 'spec.jwtRules', MAX_RULES) ?? [];
  const rules = entries.map((entry, index) =>
    parseRule(new RuleReader(reader, warnings, `spec.jwtRules[${index}]`), entry),
  );
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const value = { namespace, name, createdAtMs, selector, targetRefs, rules };
  return { ok: true, value, problems: warnings };
}

/** Where in the manifest a rule stands, and what is found wrong with it. */
class RuleReader {
  readonly reader: Reader;
  readonly warnings: Problem[];
  readonly field: string;

  constructor(reader: Reader, warnings: Problem[], field: string) {
    this.reader = reader;
    this.warnings = warnings;
    this.field = field;
  }

  at(name: string): string {
    return `${this.field}.${name}`;
  }

  error(name: string, code: string, message: string, cure?: string): void {
    this.reader.error(this.at(name), code, message, cure);
  }

  text(rule: PlainObject, name: string): string | undefined {
    const text = this.reader.string(rule[name], this.at(name));
    if (text === '') this.error(name, 'empty-value', 'must not be empty', 'remove it');
    return text;
  }

  texts(rule: PlainObject, name: string, limit: number): readonly string[] {
    return this.reader.strings(rule[name], this.at(name), limit);
  }
}

function parseRule(at: RuleReader, value: unknown): JwtRule {
  const rule = at.reader.object(value ?? [], at.field, RULE_KEYS) ?? {};
  const issuer = at.text(rule, 'issuer') ?? '';
  const forward = rule['forwardOriginalToken'];
  if (forward !== undefined && typeof forward !== 'boolean') {
    at.error('forwardOriginalToken', 'wrong-type', 'expected true or false');
  }
  const params = at.texts(rule, 'fromParams', MAX_ENTRIES);
  const cookies = at.texts(rule, 'fromCookies', MAX_ENTRIES);
  checkNames(at, 'fromParams', params);
  checkNames(at, 'fromCookies', cookies);
  return {
    issuer,
    audiences: at.texts(rule, 'audiences', MAX_ENTRIES),
    source: parseSource(at, rule, issuer),
    fromHeaders: parseFromHeaders(at, rule['fromHeaders']),
    fromParams: params,
    fromCookies: cookies,
    outputPayloadToHeader: parseOutputHeader(
      at,
      at.text(rule, 'outputPayloadToHeader'),
      'outputPayloadToHeader',
    ),
    outputClaimToHeaders: parseClaimHeaders(at, rule['outputClaimToHeaders']),
    isForwarded: forward === true,
    spaceDelimitedClaims: at.texts(rule, 'spaceDelimitedClaims', MAX_SPACE_DELIMITED),
  };
}

function parseSource(at: RuleReader, rule: PlainObject, issuer: string): KeySource {
  const jwks = at.text(rule, 'jwks');
  const uri = at.text(rule, 'jwksUri') ?? at.text(rule, 'jwks_uri');
  const timeoutMs = parseTimeout(at, rule);
  if (jwks !== undefined && uri !== undefined) {
    at.error('jwks', 'two-key-sources', 'only one of jwks and jwksUri can be set', 'keep one');
  }
  if (issuer === '' && uri === undefined) {
    at.error('issuer', 'no-issuer', 'a rule needs an issuer', 'write the "iss" of its tokens');
  }
  if (jwks !== undefined) return parseInline(at, jwks);
  if (uri !== undefined) {
    checkUri(at, 'jwksUri', uri);
    if (parseHttpUri(uri)?.isTls === false) at.warnings.push(plaintextKeys(at.at('jwksUri')));
    return { kind: 'jwks', uri, timeoutMs };
  }
  const base = issuer.endsWith('/') ? issuer.slice(0, -1) : issuer;
  if (issuer !== '' && parseHttpUri(issuer) === undefined) {
    const message = `${shown(issuer)} is no address, and nothing else says where its keys are`;
    at.error('jwksUri', 'no-keys', message, 'set jwksUri or jwks');
  }
  return { kind: 'discovery', uri: base + DISCOVERY_PATH, timeoutMs };
}

const plaintextKeys = (field: string): Problem => ({
  severity: 'warning',
  code: 'keys-in-plaintext',
  field,
  message: 'fetches keys over http: whoever is on the way can put in keys of their own',
  cure: 'write https',
});

/** A private or a symmetric key in a manifest is worse than useless: who reads the manifest can sign. */
function parseInline(at: RuleReader, text: string): KeySource {
  const read = readJwks(text);
  if (!read.ok) {
    at.error('jwks', 'bad-jwks', read.reason, 'write a JSON Web Key Set: {"keys": […]}');
    return { kind: 'inline', keys: [] };
  }
  if (read.keys.length === 0) {
    const why = read.leftOut.slice(0, 3).join('; ');
    at.error('jwks', 'no-keys', `has no key that can verify a token${why && `: ${why}`}`);
  } else if (read.leftOut.length > 0) {
    at.warnings.push({
      severity: 'warning',
      code: 'key-left-out',
      field: at.at('jwks'),
      message: read.leftOut.slice(0, 3).join('; '),
      cure: 'remove what cannot verify tokens',
    });
  }
  return { kind: 'inline', keys: read.keys };
}

function checkUri(at: RuleReader, name: string, uri: string): void {
  if (uri.length > MAX_URI) {
    at.error(name, 'too-long', `has ${uri.length} characters, at most ${MAX_URI} are allowed`);
  } else if (parseHttpUri(uri) === undefined) {
    const message = `${shown(uri)} is no address to fetch keys from`;
    at.error(name, 'bad-uri', message, 'write https://host/path, without user, # or spaces');
  }
}

/** `5s`, `500ms`, `1m30s`: Go's durations, as Kubernetes writes them. */
function parseTimeout(at: RuleReader, rule: PlainObject): number {
  const text = at.text(rule, 'timeout');
  if (text === undefined || text === '') return DEFAULT_TIMEOUT_MS;
  const ms = durationMs(text);
  if (ms !== undefined && ms >= 1 && ms <= MAX_TIMEOUT_MS) return ms;
  const message = `${shown(text)} is no duration from 1ms to ${MAX_TIMEOUT_MS / 1_000}s`;
  at.error('timeout', 'bad-duration', message, 'write for example 5s');
  return DEFAULT_TIMEOUT_MS;
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

function durationMs(text: string): number | undefined {
  let total = 0;
  let at = 0;
  while (at < text.length) {
    const start = at;
    while ('0123456789.'.includes(text[at] ?? '-')) at++;
    const count = Number(text.slice(start, at));
    const unit = ['ms', 's', 'm', 'h'].find((name) => text.startsWith(name, at));
    const size = UNITS.get(unit ?? '');
    if (at === start || !Number.isFinite(count) || unit === undefined || size === undefined) {
      return undefined;
    }
    total += count * size;
    at += unit.length;
  }
  return total;
}

function parseFromHeaders(at: RuleReader, value: unknown): readonly TokenHeader[] {
  const field = at.at('fromHeaders');
  const entries = at.reader.list(value, field, MAX_ENTRIES) ?? [];
  return entries.map((entry, index) => {
    const place = `${field}[${index}]`;
    const header = at.reader.object(entry ?? [], place, ['name', 'prefix']) ?? {};
    const name = at.reader.string(header['name'], `${place}.name`) ?? '';
    checkHeaderName(at, name, `${place}.name`);
    const prefix = at.reader.string(header['prefix'], `${place}.prefix`) ?? '';
    return { name: name.toLowerCase(), prefix };
  });
}

function parseClaimHeaders(at: RuleReader, value: unknown): readonly ClaimHeader[] {
  const field = at.at('outputClaimToHeaders');
  const entries = at.reader.list(value, field, MAX_ENTRIES) ?? [];
  return entries.map((entry, index) => {
    const place = `${field}[${index}]`;
    const mapping = at.reader.object(entry ?? [], place, ['header', 'claim']) ?? {};
    const header = at.reader.string(mapping['header'], `${place}.header`) ?? '';
    const claim = at.reader.string(mapping['claim'], `${place}.claim`) ?? '';
    if (claim === '') at.reader.error(`${place}.claim`, 'empty-value', 'must name a claim');
    checkHeaderName(at, header, `${place}.header`);
    return { header: header.toLowerCase(), claim };
  });
}

function parseOutputHeader(
  at: RuleReader,
  name: string | undefined,
  field: string,
): string | undefined {
  if (name === undefined || name === '') return undefined;
  checkHeaderName(at, name, at.at(field));
  return name.toLowerCase();
}

/** Taking these out or setting them would change where a request goes, how long it is, or who it is from. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  ...RESERVED_FIELDS,
  'expect',
  'x-forwarded-for',
  '__proto__',
]);

function checkHeaderName(at: RuleReader, name: string, field: string): void {
  if (name.length > MAX_HEADER_NAME || !isToken(name)) {
    at.reader.error(field, 'bad-header', `${shown(name)} is no header's name`);
  } else if (RESERVED_HEADERS.has(name.toLowerCase()) || name.toLowerCase().startsWith('x-weft-')) {
    at.reader.error(
      field,
      'reserved-header',
      `${shown(name)} has a meaning of its own`,
      'use another header',
    );
  }
}

/** What could not stand in a query or a cookie as it is would never be found there. */
function checkNames(at: RuleReader, field: string, names: readonly string[]): void {
  names.forEach((name, index) => {
    if (name.length <= MAX_PARAM_NAME && isToken(name)) return;
    at.error(`${field}[${index}]`, 'bad-name', `${shown(name)} is no name of a token's place`);
  });
}
