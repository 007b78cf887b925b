// Reads `spec.loadBalancing` of a TrafficPolicy: how callers choose among a Service's endpoints.
import { isToken } from '../http-fields.ts';
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import type { HashRule, LoadBalancing } from './call-types.ts';
import { readCount, readDuration } from './values.ts';

const POLICIES = ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM', 'RING_HASH'] as const;
const MAX_RULES = 4;
const RING = { min: 1, max: 65_536 };
const COOKIE_LIFE = { min: 0, max: 31_536_000_000 };
/** Envoy's own default. */
const DEFAULT_RING = 1_024;
const MAX_PATH = 256;

export function parseLoadBalancing(
  reader: Reader,
  value: unknown,
  field: string,
): LoadBalancing | undefined {
  const object = reader.object(value, field, ['policy', 'hash', 'minimumRingSize', 'locality']);
  if (object === undefined) return undefined;
  const name = reader.string(object['policy'] ?? undefined, `${field}.policy`) ?? '';
  const policy = POLICIES.find((known) => known === name);
  if (policy === undefined) {
    const message = name === '' ? 'needs a policy' : `${shown(name)} is not known`;
    reader.error(`${field}.policy`, 'unknown-policy', message, `write one of ${POLICIES.join()}`);
    return undefined;
  }
  const near = parseLocality(reader, object['locality'], `${field}.locality`);
  if (policy !== 'RING_HASH') {
    for (const unused of ['hash', 'minimumRingSize']) {
      if (object[unused] === undefined) continue;
      const message = `has no meaning with ${policy}`;
      reader.error(`${field}.${unused}`, 'unused-field', message, 'write policy: RING_HASH');
    }
    return { policy, ...near };
  }
  const hash = (reader.list(object['hash'] ?? undefined, `${field}.hash`, MAX_RULES) ?? []).flatMap(
    (entry, index) => parseHash(reader, entry, `${field}.hash[${index}]`) ?? [],
  );
  if (object['hash'] === undefined || object['hash'] === null) {
    const cure = 'name a header or a cookie';
    reader.error(`${field}.hash`, 'no-hash', 'RING_HASH needs something to hash', cure);
  }
  const minimumRingSize =
    readCount(reader, object['minimumRingSize'], `${field}.minimumRingSize`, RING) ?? DEFAULT_RING;
  return { policy, hash, minimumRingSize, ...near };
}

function parseLocality(
  reader: Reader,
  value: unknown,
  field: string,
): { readonly prefersLocal?: true } {
  const text = reader.string(value ?? undefined, field);
  if (text === undefined || text === 'ANY') return {};
  if (text === 'PREFER_NEAREST') return { prefersLocal: true };
  reader.error(field, 'bad-locality', `${shown(text)} is not known`, 'write PREFER_NEAREST or ANY');
  return {};
}

function parseHash(reader: Reader, value: unknown, field: string): HashRule | undefined {
  const object = reader.object(value ?? 0, field, ['header', 'cookie']);
  if (object === undefined) return undefined;
  const { header, cookie } = object;
  if ((header === undefined) === (cookie === undefined)) {
    reader.error(
      field,
      'bad-hash',
      'needs either a header or a cookie',
      'write for example header: x-user',
    );
    return undefined;
  }
  return cookie === undefined
    ? parseHeader(reader, header, `${field}.header`)
    : parseCookie(reader, cookie, `${field}.cookie`);
}

function parseHeader(reader: Reader, value: unknown, field: string): HashRule | undefined {
  const name = reader.string(value, field) ?? '';
  if (isToken(name)) return { kind: 'header', name: name.toLowerCase() };
  reader.error(field, 'bad-header', `${shown(name)} is no header`, 'write for example x-user');
  return undefined;
}

function parseCookie(reader: Reader, value: unknown, field: string): HashRule | undefined {
  const object: PlainObject | undefined = reader.object(value, field, ['name', 'path', 'ttl']);
  if (object === undefined) return undefined;
  const name = reader.string(object['name'] ?? undefined, `${field}.name`) ?? '';
  const path = reader.string(object['path'] ?? undefined, `${field}.path`) ?? '';
  const ttlMs = readDuration(reader, object['ttl'], `${field}.ttl`, COOKIE_LIFE);
  if (!isToken(name)) {
    const message = `${shown(name)} is no name of a cookie`;
    reader.error(`${field}.name`, 'bad-name', message, 'write for example "sid"');
    return undefined;
  }
  if (path !== '' && !isCookiePath(path)) {
    reader.error(`${field}.path`, 'bad-path', `${shown(path)} is no path`, 'write for example "/"');
    return undefined;
  }
  return { kind: 'cookie', name, path, ...(ttlMs !== undefined && { ttlMs }) };
}

/** What may stand in a Set-Cookie line: printable, without `;` (RFC 6265 §4.1.1). */
const isCookiePath = (path: string): boolean =>
  path.startsWith('/') &&
  path.length <= MAX_PATH &&
  Array.from(path).every((char) => char > ' ' && char < '\u007f' && char !== ';' && char !== ',');
