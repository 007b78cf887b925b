// Who a workload is: trust domains and SPIFFE ids, parsed strictly once and branded from then on.

declare const brand: unique symbol;
export type TrustDomain = string & { readonly [brand]: 'TrustDomain' };
/** `spiffe://TRUST-DOMAIN/path`. */
export type SpiffeId = string & { readonly [brand]: 'SpiffeId' };

export interface IdentityParts {
  readonly trustDomain: TrustDomain;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** SPIFFE-ID §2.3: ids up to 2048 bytes, trust domains up to 255. */
const MAX_ID_BYTES = 2_048;
const MAX_TRUST_DOMAIN_BYTES = 255;
const SCHEME = 'spiffe://';

const isLowerAlphanumeric = (code: number): boolean =>
  (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39);

/** SPIFFE-ID §2.1: lower-case letters, digits, dot, dash, underscore. */
function isTrustDomainText(text: string): boolean {
  if (text.length === 0 || text.length > MAX_TRUST_DOMAIN_BYTES) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (!isLowerAlphanumeric(code) && code !== 0x2d && code !== 0x2e && code !== 0x5f) return false;
  }
  return true;
}

/** SPIFFE-ID §2.2: letters, digits, dot, dash, underscore; no empty segment, `.` or `..`. */
function isPathSegment(text: string): boolean {
  if (text.length === 0 || text === '.' || text === '..') return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isUpper = code >= 0x41 && code <= 0x5a;
    if (!isUpper && !isLowerAlphanumeric(code) && code !== 0x2d && code !== 0x2e && code !== 0x5f) {
      return false;
    }
  }
  return true;
}

const isTrustDomain = (text: string): text is TrustDomain => isTrustDomainText(text);

function isSpiffeId(text: string): text is SpiffeId {
  if (text.length > MAX_ID_BYTES || !text.startsWith(SCHEME)) return false;
  const [trustDomain = '', ...segments] = text.slice(SCHEME.length).split('/');
  return isTrustDomainText(trustDomain) && segments.length > 0 && segments.every(isPathSegment);
}

/** @returns `undefined` when the text is no trust domain name. */
export const parseTrustDomain = (text: string): TrustDomain | undefined =>
  isTrustDomain(text) ? text : undefined;

/** Of any id, whatever its path. */
export function trustDomainOf(id: SpiffeId): TrustDomain {
  const [domain = ''] = id.slice(SCHEME.length).split('/');
  const trustDomain = parseTrustDomain(domain);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${id}: it is no SPIFFE id`);
  return trustDomain;
}

/** A workload's id: a trust domain and a path. @returns `undefined` for anything else. */
export const parseSpiffeId = (text: string): SpiffeId | undefined =>
  isSpiffeId(text) ? text : undefined;

/** RFC 1123 label: what Kubernetes allows as a namespace's name. */
export function isDnsLabel(text: string): boolean {
  return text.length <= 63 && isDnsPart(text);
}

/** RFC 1123 subdomain: what Kubernetes allows as the name of a ServiceAccount or Pod. */
export function isDnsSubdomain(text: string): boolean {
  return text.length <= 253 && text.split('.').every(isDnsPart);
}

function isDnsPart(text: string): boolean {
  if (text.length === 0 || text.startsWith('-') || text.endsWith('-')) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (!isLowerAlphanumeric(code) && code !== 0x2d) return false;
  }
  return true;
}

/**
 * The id of a ServiceAccount: `spiffe://TD/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
 * @throws RangeError when the parts cannot be an id.
 */
export function spiffeIdOf(parts: IdentityParts): SpiffeId {
  const { trustDomain, namespace, serviceAccount } = parts;
  const id = parseSpiffeId(`${SCHEME}${trustDomain}/ns/${namespace}/sa/${serviceAccount}`);
  if (id === undefined || !isDnsLabel(namespace) || !isDnsSubdomain(serviceAccount)) {
    throw new RangeError(
      `Cannot name the identity of ${namespace}/${serviceAccount}: no valid name`,
    );
  }
  return id;
}

/** The parts of a ServiceAccount's id; `undefined` when the id has another form. */
export function partsOf(id: SpiffeId): IdentityParts | undefined {
  const [domain = '', ns, namespace, sa, serviceAccount, ...rest] = id
    .slice(SCHEME.length)
    .split('/');
  const trustDomain = parseTrustDomain(domain);
  if (trustDomain === undefined || ns !== 'ns' || sa !== 'sa' || rest.length > 0) return undefined;
  if (namespace === undefined || serviceAccount === undefined) return undefined;
  return { trustDomain, namespace, serviceAccount };
}
