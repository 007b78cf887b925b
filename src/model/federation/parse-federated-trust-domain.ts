// Reads a FederatedTrustDomain from its manifest: whose identities, from where, and proven how.
import { parseHttpUri } from '../http-uri.ts';
import { parseSpiffeId, parseTrustDomain, type TrustDomain } from '../identity.ts';
import { parseEnvelope } from '../policy/parse-metadata.ts';
import { isPlainObject, type PlainObject, Reader, shown } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import { MAX_BUNDLE_BYTES, readBundleDocument, type SpiffeBundle } from './bundle-document.ts';
import type { EndpointProfile, FederatedTrustDomain } from './types.ts';

export const FEDERATION_API_VERSION = 'security.weft.dev/v1';
const KIND = 'FederatedTrustDomain';
export const PROFILES = ['https_web', 'https_spiffe'] as const;
const MAX_URL = 2_048;
const HOUR_MS = 3_600_000;
/** A day: long enough for an outage of the other side, short enough for a key that it has taken back meanwhile. */
export const DEFAULT_KEEP_FOR_HOURS = 24;
/** 30 days. */
export const MAX_KEEP_FOR_HOURS = 720;

export function parseFederatedTrustDomain(object: PlainObject): Result<FederatedTrustDomain> {
  const reader = new Reader();
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, KIND, [
    FEDERATION_API_VERSION,
  ]);
  const keys = ['trustDomain', 'bundleEndpoint', 'keepForHours'];
  const spec = reader.object(object['spec'] ?? {}, 'spec', keys) ?? {};
  const trustDomain = parseDomain(reader, spec['trustDomain']);
  const endpoint = parseEndpoint(reader, spec['bundleEndpoint'], trustDomain);
  const keepForMs = parseHours(reader, spec['keepForHours']) * HOUR_MS;
  if (reader.problems.length > 0 || trustDomain === undefined || endpoint === undefined) {
    return { ok: false, problems: reader.problems };
  }
  const value = { namespace, name, createdAtMs, trustDomain, ...endpoint, keepForMs };
  return { ok: true, value, problems: [] };
}

function parseDomain(reader: Reader, value: unknown): TrustDomain | undefined {
  const field = 'spec.trustDomain';
  const text = reader.string(value, field);
  const trustDomain = text === undefined ? undefined : parseTrustDomain(text);
  if (trustDomain !== undefined) return trustDomain;
  const message = text === undefined ? 'no trust domain is named' : `${shown(text)} is none`;
  reader.error(field, 'bad-trust-domain', message, 'write for example partner.example');
  return undefined;
}

type Endpoint = Pick<FederatedTrustDomain, 'url' | 'uri' | 'profile'>;

function parseEndpoint(
  reader: Reader,
  value: unknown,
  trustDomain: TrustDomain | undefined,
): Endpoint | undefined {
  const field = 'spec.bundleEndpoint';
  if (value === undefined) reader.error(field, 'missing', 'says nowhere where the keys are');
  const endpoint = reader.object(value, field, ['url', 'profile', 'spiffeId', 'bundle']) ?? {};
  const url = reader.string(endpoint['url'], `${field}.url`) ?? '';
  const uri = url.length > MAX_URL ? undefined : parseHttpUri(url);
  if (uri?.isTls !== true) {
    reader.error(`${field}.url`, 'bad-url', `${shown(url)} is no https address`);
  }
  const profile = parseProfile(reader, endpoint, trustDomain);
  return uri === undefined || profile === undefined ? undefined : { url, uri, profile };
}

function parseProfile(
  reader: Reader,
  endpoint: PlainObject,
  trustDomain: TrustDomain | undefined,
): EndpointProfile | undefined {
  const field = 'spec.bundleEndpoint';
  const kind = PROFILES.find((each) => each === endpoint['profile']);
  if (kind === undefined) {
    const cure = `write one of ${PROFILES.join(', ')}`;
    reader.error(`${field}.profile`, 'unknown-value', 'says not how it proves who it is', cure);
    return undefined;
  }
  if (kind === 'https_web') {
    for (const key of ['spiffeId', 'bundle']) {
      if (endpoint[key] === undefined) continue;
      reader.error(`${field}.${key}`, 'unknown-field', 'is for the profile https_spiffe alone');
    }
    return { kind };
  }
  const text = reader.string(endpoint['spiffeId'], `${field}.spiffeId`) ?? '';
  const spiffeId = parseSpiffeId(text);
  if (spiffeId === undefined || !text.startsWith(`spiffe://${trustDomain}/`)) {
    const message = `${shown(text)} is no SPIFFE id of the trust domain`;
    const cure = `write spiffe://${trustDomain ?? 'TRUST-DOMAIN'}/...: who serves the bundle there`;
    reader.error(`${field}.spiffeId`, 'bad-spiffe-id', message, cure);
  }
  const initial = parseInitial(reader, endpoint['bundle'], trustDomain);
  return spiffeId === undefined || initial === undefined ? undefined : { kind, spiffeId, initial };
}

/** As text, as it was published, or as the mapping that it is. */
function parseInitial(
  reader: Reader,
  value: unknown,
  trustDomain: TrustDomain | undefined,
): SpiffeBundle | undefined {
  const field = 'spec.bundleEndpoint.bundle';
  const text = isPlainObject(value) ? JSON.stringify(value) : value;
  if (typeof text !== 'string' || text.length > MAX_BUNDLE_BYTES) {
    const cure = 'write the SPIFFE bundle document of the trust domain, got from its operators';
    reader.error(field, 'no-bundle', 'no bundle is given to begin with', cure);
    return undefined;
  }
  if (trustDomain === undefined) return undefined;
  const read = readBundleDocument(text, trustDomain);
  if (!read.ok) {
    reader.error(field, 'bad-bundle', read.reason);
    return undefined;
  }
  if (read.bundle.x509Authorities.length > 0) return read.bundle;
  reader.error(field, 'bad-bundle', 'has no key of the use x509-svid: nobody could be known by it');
  return undefined;
}

function parseHours(reader: Reader, value: unknown): number {
  if (value === undefined) return DEFAULT_KEEP_FOR_HOURS;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1) {
    if (value <= MAX_KEEP_FOR_HOURS) return value;
  }
  const message = `expected a whole number from 1 to ${MAX_KEEP_FOR_HOURS}`;
  reader.error('spec.keepForHours', 'bad-number', message);
  return DEFAULT_KEEP_FOR_HOURS;
}
