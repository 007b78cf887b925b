// Checks the values of policy fields: what each field accepts, and what to write instead of what it does not.
import { isToken } from '../http-fields.ts';
import { parseCidr } from '../ip.ts';
import { CLIENT_CERTIFICATE, CLIENT_FACTS } from '../tls/client-facts.ts';
import { shown, type Reader } from './reader.ts';
import type { ConditionKey, OperationField, SourceField } from './types.ts';

/** Istio's own limits (validation.go, CRD). */
const MAX_SERVICE_ACCOUNTS = 16;
const MAX_SERVICE_ACCOUNT_LENGTH = 320;

type ValueCheck = (reader: Reader, field: string, value: string) => void;

const checkPort: ValueCheck = (reader, field, value) => {
  const isDigits =
    value.length <= 5 && Array.from(value).every((char) => char >= '0' && char <= '9');
  if (!isDigits || Number(value) > 65_535) {
    reader.error(
      field,
      'bad-port',
      `${shown(value)} is no port`,
      'write one port from 0 to 65535, as "8080"',
    );
  }
};

const checkIp: ValueCheck = (reader, field, value) => {
  if (parseCidr(value) === undefined) {
    reader.error(
      field,
      'bad-ip',
      `${shown(value)} is no IP address or CIDR range`,
      'write for example "10.0.0.0/8"',
    );
  }
};

const checkServiceAccount: ValueCheck = (reader, field, value) => {
  if (value.includes('*')) {
    reader.error(
      field,
      'no-wildcard',
      `${shown(value)}: wildcards are not allowed here`,
      'list each service account, or use principals',
    );
  }
  if (value.length > MAX_SERVICE_ACCOUNT_LENGTH) {
    reader.error(
      field,
      'too-long',
      `${value.length} characters, at most ${MAX_SERVICE_ACCOUNT_LENGTH}`,
    );
  }
  const parts = value.split('/');
  if (parts.length > 2 || parts.some((part) => part === '')) {
    reader.error(
      field,
      'bad-service-account',
      `${shown(value)} is no service account`,
      'write "NAME" or "NAMESPACE/NAME"',
    );
  }
};

const checkTrustDomain: ValueCheck = (reader, field, value) => {
  if (value.includes('/')) {
    reader.error(
      field,
      'bad-trust-domain',
      `${shown(value)}: a trust domain has no "/"`,
      'write the name alone, as "cluster.local"',
    );
  }
  const stars = value.split('*').length - 1;
  if (stars > 1) {
    reader.error(field, 'bad-wildcard', `${shown(value)}: at most one wildcard is allowed`);
  } else if (stars === 1 && !value.startsWith('*') && !value.endsWith('*')) {
    reader.error(
      field,
      'bad-wildcard',
      `${shown(value)}: a wildcard may stand at the start or the end only`,
    );
  }
};

const checkPath: ValueCheck = (reader, field, value) => {
  const isTemplate = value.includes('{*}') || value.includes('{**}');
  if (!isTemplate && !value.includes('{') && !value.includes('}')) return;
  const reason = whyNoTemplate(value);
  if (reason !== undefined) {
    reader.error(
      field,
      'bad-path-template',
      `${shown(value)} is no path template: ${reason}`,
      'use {*} for one segment and {**} for any number, each alone between slashes: "/store/{*}/cart"',
    );
  }
};

const isAlphanumeric = (char: string): boolean =>
  (char >= 'a' && char <= 'z') || (char >= 'A' && char <= 'Z') || (char >= '0' && char <= '9');

const TEMPLATE_LITERAL = "-._~%!$&'()+,;:@=";

function isLiteralSegment(segment: string): boolean {
  for (const char of segment) {
    if (!isAlphanumeric(char) && !TEMPLATE_LITERAL.includes(char)) return false;
  }
  return segment.length > 0;
}

/** Envoy's own bound (UriTemplateMatchConfig.path_template). */
const MAX_TEMPLATE_LENGTH = 256;

/** Policy contract section 4: what a template may look like. */
function whyNoTemplate(value: string): string | undefined {
  if (!value.startsWith('/')) return 'it does not begin with a slash and could never match';
  if (value.length > MAX_TEMPLATE_LENGTH) return `it has over ${MAX_TEMPLATE_LENGTH} characters`;
  let inner = value.slice(1);
  if (inner.endsWith('/')) inner = inner.slice(0, -1);
  let hasTree = false;
  for (const segment of inner.split('/')) {
    const isOperator = segment === '{*}' || segment === '{**}';
    if (isOperator) {
      if (hasTree) return 'nothing but text may follow {**}';
      hasTree = segment === '{**}';
    } else if (!isLiteralSegment(segment)) {
      return segment === '' ? 'it has an empty segment' : `${shown(segment)} is not allowed in it`;
    }
  }
  return undefined;
}

/** Requests name hosts in visible ASCII alone; anything else could never match, and a DENY would be open. */
const checkHost: ValueCheck = (reader, field, value) => {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code > 0x20 && code < 0x7f) continue;
    reader.error(
      field,
      'bad-host',
      `${shown(value)} is no host name`,
      'write international names in their ASCII form, as "xn--bcher-kva.example"',
    );
    return;
  }
};

const nothing: ValueCheck = () => undefined;

const CHECKS: { readonly [F in SourceField | OperationField]: ValueCheck } = {
  principals: nothing,
  requestPrincipals: nothing,
  namespaces: nothing,
  serviceAccounts: checkServiceAccount,
  ipBlocks: checkIp,
  remoteIpBlocks: checkIp,
  trustDomains: checkTrustDomain,
  hosts: checkHost,
  ports: checkPort,
  methods: nothing,
  paths: checkPath,
};

/** Checks every value of a field, and how many there are. */
export function checkValues(
  reader: Reader,
  name: SourceField | OperationField,
  field: string,
  values: readonly string[],
): void {
  if (name === 'serviceAccounts' && values.length > MAX_SERVICE_ACCOUNTS) {
    reader.error(
      field,
      'too-many',
      `${values.length} values, at most ${MAX_SERVICE_ACCOUNTS} are allowed`,
    );
  }
  values.forEach((value, index) => CHECKS[name](reader, `${field}[${index}]`, value));
}

const CONDITION_CHECKS: ReadonlyMap<ConditionKey['kind'], ValueCheck> = new Map([
  ['source.ip', checkIp],
  ['remote.ip', checkIp],
  ['destination.ip', checkIp],
  ['destination.port', checkPort],
  ['source.serviceAccount', checkServiceAccount],
  ['source.trustDomain', checkTrustDomain],
]);

export function checkConditionValues(
  reader: Reader,
  key: ConditionKey,
  field: string,
  values: readonly string[],
): void {
  const check = CONDITION_CHECKS.get(key.kind) ?? nothing;
  values.forEach((value, index) => check(reader, `${field}[${index}]`, value));
}

const PLAIN_KEYS = [
  'source.ip',
  'remote.ip',
  'source.namespace',
  'source.serviceAccount',
  'source.trustDomain',
  'source.principal',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'request.auth.basic.user',
  'destination.ip',
  'destination.port',
  'connection.sni',
] as const;

const isPlainKey = (text: string): text is (typeof PLAIN_KEYS)[number] =>
  (PLAIN_KEYS as readonly string[]).includes(text);

const HEADERS = 'request.headers';
const CLAIMS = 'request.auth.claims';
const FILTERS = 'experimental.envoy.filters.';
/** Of a client outside the mesh that showed a certificate. */
const CLIENT = 'connection.clientCertificate';
const isClientFact = (key: string): boolean => (CLIENT_FACTS as readonly string[]).includes(key);

/** Takes a `when` key apart. @returns why it cannot be used, as a text, when it cannot. */
export function parseConditionKey(text: string): ConditionKey | string {
  if (isPlainKey(text)) return { kind: text };
  if (text.startsWith(HEADERS)) {
    const [name, ...more] = parseBrackets(text.slice(HEADERS.length)) ?? [];
    if (name !== undefined && more.length === 0 && isHeaderName(name))
      return { kind: 'header', name: name.toLowerCase() };
    return `${shown(text)} is no header that requests have; write request.headers[NAME]`;
  }
  if (text.startsWith(CLAIMS)) {
    const path = parseBrackets(text.slice(CLAIMS.length));
    return path === undefined
      ? `${shown(text)} is no claim; write request.auth.claims[NAME]`
      : { kind: 'claim', path };
  }
  if (text.startsWith(FILTERS)) {
    const bracket = text.indexOf('[');
    const filter = bracket === -1 ? '' : text.slice('experimental.'.length, bracket);
    const [key, ...more] = bracket === -1 ? [] : (parseBrackets(text.slice(bracket)) ?? []);
    if (key !== undefined && more.length === 0 && filter.length > 0)
      return { kind: 'metadata', filter, key };
    return `${shown(text)} is no metadata key; write experimental.envoy.filters.FILTER[KEY]`;
  }
  if (text.startsWith(CLIENT)) {
    const [key, ...more] = parseBrackets(text.slice(CLIENT.length)) ?? [];
    if (key !== undefined && more.length === 0 && isClientFact(key))
      return { kind: 'metadata', filter: CLIENT_CERTIFICATE, key };
    return `${shown(text)} is nothing that a certificate says; write ${CLIENT}[NAME] with one of ${CLIENT_FACTS.join(', ')}`;
  }
  if (text.startsWith('destination.')) {
    return `${shown(text)} is not supported; choose the destination by the policy's namespace and selector`;
  }
  const near = PLAIN_KEYS.find((key) => key.toLowerCase() === text.toLowerCase());
  return near === undefined
    ? `unknown attribute ${shown(text)}; use one of ${PLAIN_KEYS.join(', ')}, request.headers[…], request.auth.claims[…]`
    : `unknown attribute ${shown(text)}; write "${near}"`;
}

const PSEUDO_HEADERS: readonly string[] = [':authority', ':method', ':path'];

/** A token, and the pseudo-headers that every request has: a DENY on another name would never apply. */
function isHeaderName(name: string): boolean {
  return PSEUDO_HEADERS.includes(name) || isToken(name);
}

/** `[a][b]` as its parts; `undefined` when it has another form or an empty part. */
function parseBrackets(text: string): readonly string[] | undefined {
  const parts: string[] = [];
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf(']', at);
    if (text[at] !== '[' || end <= at + 1) return undefined;
    parts.push(text.slice(at + 1, end));
    at = end + 1;
  }
  return parts.length === 0 ? undefined : parts;
}
