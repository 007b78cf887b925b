// Reads `extensionProviders` of a MeshConfig: the external authorizers that CUSTOM policies may name.
import { isToken } from '@weft/model/http-fields';
import { isDnsSubdomain } from '@weft/model/identity';
import type { ExtAuthzProvider, HttpExtAuthz } from '@weft/model/policy/ext-authz';
import type { StringMatcher } from '@weft/model/policy/rbac';
import { shown, type PlainObject, type Reader } from '@weft/model/policy/reader';
import { given } from './reading.ts';

const MAX_PROVIDERS = 64;
const MAX_HEADERS = 128;
const MAX_NAME = 64;
/** 10 s, where Istio waits 10 minutes: a caller should not wait longer than for an answer. */
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 600_000;
const DEFAULT_STATUS = 403;

const COMMON = ['service', 'port', 'timeout', 'failOpen', 'statusOnError'];
const HTTP_ONLY = [
  'pathPrefix',
  'includeRequestHeadersInCheck',
  'includeAdditionalHeadersInCheck',
  'headersToUpstreamOnAllow',
  'headersToDownstreamOnDeny',
];
/** Istio's fields that are known and not done here: to be refused by name, never ignored. */
const NOT_SUPPORTED = [
  'includeHeadersInCheck',
  'includeRequestBodyInCheck',
  'headersToDownstreamOnAllow',
  'clearRouteCache',
];

export function readExtensionProviders(
  reader: Reader,
  value: unknown,
): readonly ExtAuthzProvider[] {
  const field = 'spec.extensionProviders';
  const names = new Set<string>();
  const entries = reader.list(given(value), field, MAX_PROVIDERS) ?? [];
  return entries.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const provider = readProvider(reader, entry, at);
    if (provider === undefined) return [];
    if (names.has(provider.name)) {
      reader.error(`${at}.name`, 'duplicate-name', `${shown(provider.name)} is there twice`);
    }
    names.add(provider.name);
    return [provider];
  });
}

function readProvider(reader: Reader, value: unknown, at: string): ExtAuthzProvider | undefined {
  const kinds = ['envoyExtAuthzHttp', 'envoyExtAuthzGrpc'] as const;
  const entry = reader.object(value, at, ['name', ...kinds]);
  if (entry === undefined) return undefined;
  const name = reader.string(entry['name'], `${at}.name`) ?? '';
  if (!isName(name)) {
    const cure = `use letters, digits, "-", "_" and ".", at most ${MAX_NAME}`;
    reader.error(`${at}.name`, 'bad-name', `${shown(name)} is no name of a provider`, cure);
  }
  const set = kinds.filter((kind) => given(entry[kind]) !== undefined);
  const [kind] = set;
  if (kind === undefined || set.length > 1) {
    reader.error(at, 'unknown-provider', `needs one of ${kinds.join(' and ')}`);
    return undefined;
  }
  return readAuthorizer(reader, { name, kind, value: entry[kind], at: `${at}.${kind}` });
}

function readAuthorizer(
  reader: Reader,
  of: {
    readonly name: string;
    readonly kind: 'envoyExtAuthzHttp' | 'envoyExtAuthzGrpc';
    readonly value: unknown;
    readonly at: string;
  },
): ExtAuthzProvider | undefined {
  const { name, kind, value, at } = of;
  const isHttp = kind === 'envoyExtAuthzHttp';
  const known = isHttp ? [...COMMON, ...HTTP_ONLY] : COMMON;
  const spec = reader.object(value, at, [...known, ...NOT_SUPPORTED]);
  if (spec === undefined) return undefined;
  for (const key of NOT_SUPPORTED) {
    if (given(spec[key]) === undefined) continue;
    reader.error(`${at}.${key}`, 'not-supported', 'is not supported by this version', 'remove it');
  }
  return {
    name,
    protocol: isHttp ? 'http' : 'grpc',
    host: readHost(reader, spec['service'], `${at}.service`),
    port: readNumber(reader, spec['port'], { at: `${at}.port`, min: 1, max: 65_535 }),
    timeoutMs: readTimeout(reader, spec['timeout'], `${at}.timeout`),
    failOpen: readFlag(reader, spec['failOpen'], `${at}.failOpen`),
    statusOnError: readStatus(reader, spec['statusOnError'], `${at}.statusOnError`),
    http: isHttp ? readHttp(reader, spec, at) : undefined,
  };
}

function isName(text: string): boolean {
  if (text === '' || text.length > MAX_NAME) return false;
  return Array.from(text).every(
    (char) =>
      (char >= 'a' && char <= 'z') ||
      (char >= 'A' && char <= 'Z') ||
      (char >= '0' && char <= '9') ||
      '-_.'.includes(char),
  );
}

/** `HOST`, or Istio's `NAMESPACE/HOST`: a Service's whole name says its namespace already. */
function readHost(reader: Reader, value: unknown, at: string): string {
  const text = reader.string(value, at) ?? '';
  const host = text.slice(text.indexOf('/') + 1);
  if (isDnsSubdomain(host)) return host;
  const cure = "write the Service's whole name: authz.shop.svc.cluster.local";
  reader.error(at, 'bad-host', `${shown(text)} is no host`, cure);
  return '';
}

function readNumber(
  reader: Reader,
  value: unknown,
  bounds: { readonly at: string; readonly min: number; readonly max: number },
): number {
  const { at, min, max } = bounds;
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  reader.error(at, 'bad-number', `expected a whole number from ${min} to ${max}`);
  return min;
}

function readStatus(reader: Reader, value: unknown, at: string): number {
  const text = given(value);
  if (text === undefined) return DEFAULT_STATUS;
  const status = typeof text === 'string' ? Number(text) : text;
  return readNumber(reader, status, { at, min: 400, max: 511 });
}

function readFlag(reader: Reader, value: unknown, at: string): boolean {
  const flag = given(value) ?? false;
  if (typeof flag !== 'boolean') reader.error(at, 'wrong-type', 'expected true or false');
  return flag === true;
}

const UNITS: readonly (readonly [string, number])[] = [
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
];

/** `500ms`, `2s`, `1.5s`, `1m`. */
function readTimeout(reader: Reader, value: unknown, at: string): number {
  const text = reader.string(given(value), at);
  if (text === undefined) return DEFAULT_TIMEOUT_MS;
  const [unit = '', factor = 0] = UNITS.find(([suffix]) => text.endsWith(suffix)) ?? [];
  const digits = text.slice(0, text.length - unit.length);
  const isNumber =
    digits !== '' && Array.from(digits).every((char) => '0123456789.'.includes(char));
  const ms = isNumber ? Math.round(Number(digits) * factor) : 0;
  if (ms > 0 && ms <= MAX_TIMEOUT_MS) return ms;
  const cure = `write a duration up to ${MAX_TIMEOUT_MS / 60_000}m: 500ms, 2s`;
  reader.error(at, 'bad-duration', `${shown(text)} is no duration for this`, cure);
  return DEFAULT_TIMEOUT_MS;
}

function readHttp(reader: Reader, spec: PlainObject, at: string): HttpExtAuthz {
  const pathPrefix = reader.string(given(spec['pathPrefix']), `${at}.pathPrefix`) ?? '';
  if (pathPrefix !== '' && !isPathPrefix(pathPrefix)) {
    reader.error(`${at}.pathPrefix`, 'bad-path', `${shown(pathPrefix)} is no path`, 'write /check');
  }
  const names = (key: string): readonly StringMatcher[] =>
    reader
      .strings(given(spec[key]), `${at}.${key}`, MAX_HEADERS)
      .flatMap((text, index) => readHeaderName(reader, text, `${at}.${key}[${index}]`));
  const key = 'includeAdditionalHeadersInCheck';
  const added = reader.stringMap(given(spec[key]), `${at}.${key}`, MAX_HEADERS);
  for (const [name, text] of added ?? []) {
    if (!isToken(name) || !isFieldValue(text)) {
      reader.error(`${at}.${key}.${name.slice(0, MAX_NAME)}`, 'bad-header', 'is no header');
    }
  }
  return {
    pathPrefix,
    requestHeaders: names('includeRequestHeadersInCheck'),
    additionalHeaders: [...(added ?? [])].map(([name, text]) => [name.toLowerCase(), text]),
    toUpstreamOnAllow: names('headersToUpstreamOnAllow'),
    toDownstreamOnDeny: names('headersToDownstreamOnDeny'),
  };
}

const isPathPrefix = (text: string): boolean =>
  text.startsWith('/') &&
  Array.from(text).every((char) => char > ' ' && char < '\u007f' && !'?#'.includes(char));

const isFieldValue = (text: string): boolean =>
  Array.from(text).every((char) => char >= ' ' && char < '\u007f');

/** Exact, `x-*` or `*-id`. */
function readHeaderName(reader: Reader, text: string, at: string): readonly StringMatcher[] {
  const isPrefix = text.endsWith('*');
  const isSuffix = !isPrefix && text.startsWith('*');
  const value = isPrefix ? text.slice(0, -1) : isSuffix ? text.slice(1) : text;
  if (!isToken(value) || value.includes('*')) {
    const cure = 'write a name, or one with a star at one end: x-user-*';
    reader.error(at, 'bad-header', `${shown(text)} is no header`, cure);
    return [];
  }
  const kind = isPrefix ? 'prefix' : isSuffix ? 'suffix' : 'exact';
  return [{ kind, value: value.toLowerCase(), ignoreCase: true }];
}
