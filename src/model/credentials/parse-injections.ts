// Reads where and how a credential is put into outbound requests: hosts, and a header, Basic or Bearer authorization.
import { isIP } from 'node:net';
import { RESERVED_FIELDS, isToken } from '../http-fields.ts';
import { isDnsSubdomain } from '../identity.ts';
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import { checkKey } from './key-names.ts';
import type { Injection, InjectionScheme } from './types.ts';

const MAX_INJECTIONS = 16;
const MAX_HOSTS = 32;
const MAX_HEADER_NAME = 128;
const MAX_PREFIX = 256;
const SCHEMES = ['header', 'basic', 'bearer'] as const;
const FIELDS = ['hosts', ...SCHEMES, 'allowPlaintext'];
/** They say where a message ends, whose it is, or how it goes on: none of them carries a credential. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  ...RESERVED_FIELDS,
  'expect',
  'forwarded',
  '__proto__',
]);
const RESERVED_PREFIXES = ['x-weft-', 'x-envoy-', 'x-forwarded-', ':'];

/** Problems go to the reader; entries with any are left out. */
export function parseInjections(
  reader: Reader,
  value: unknown,
  field: string,
): readonly Injection[] {
  const entries = reader.list(value, field, MAX_INJECTIONS) ?? [];
  if (value !== undefined && entries.length === 0) {
    reader.error(field, 'empty-list', 'must not be empty', 'write hosts and a scheme');
  }
  return entries.flatMap((entry, index) => parseInjection(reader, entry, `${field}[${index}]`));
}

function parseInjection(reader: Reader, value: unknown, field: string): readonly Injection[] {
  const entry = reader.object(value, field, FIELDS) ?? {};
  const hosts = parseHosts(reader, entry['hosts'], `${field}.hosts`);
  const set = SCHEMES.filter((scheme) => entry[scheme] !== undefined);
  const [kind] = set;
  if (kind === undefined || set.length > 1) {
    const message = kind === undefined ? 'no scheme is set' : `${set.join(' and ')} are set`;
    reader.error(field, 'no-scheme', message, `write one of ${SCHEMES.join(', ')}`);
    return [];
  }
  const allowPlaintext = entry['allowPlaintext'] ?? false;
  if (typeof allowPlaintext !== 'boolean') {
    reader.error(`${field}.allowPlaintext`, 'wrong-type', 'expected true or false');
    return [];
  }
  const scheme = parseScheme(reader, kind, { value: entry[kind], field: `${field}.${kind}` });
  return [{ hosts, scheme, allowPlaintext }];
}

function parseHosts(reader: Reader, value: unknown, field: string): readonly string[] {
  const hosts = reader.strings(value, field, MAX_HOSTS).map((host) => host.toLowerCase());
  if (hosts.length === 0) {
    reader.error(field, 'no-hosts', 'no host is set', 'write the hosts that may be told it');
  }
  hosts.forEach((host, index) => {
    if (isHostPattern(host)) return;
    const cure =
      'write api.example.com, *.example.com, or either with a port: api.example.com:8443';
    reader.error(`${field}[${index}]`, 'bad-host', `${shown(host)} is no host`, cure);
  });
  return hosts;
}

/** A wildcard stands before two labels at least: `*.com` is everybody. */
function isHostPattern(text: string): boolean {
  const colon = text.lastIndexOf(':');
  const port = colon === -1 ? undefined : text.slice(colon + 1);
  const host = colon === -1 ? text : text.slice(0, colon);
  if (port !== undefined) {
    const number = Number(port);
    if (!Number.isInteger(number) || number < 1 || number > 65_535 || String(number) !== port) {
      return false;
    }
  }
  if (!host.startsWith('*.')) return isDnsSubdomain(host) || isIP(host) === 4;
  return isDnsSubdomain(host.slice(2)) && host.slice(2).includes('.');
}

function parseScheme(
  reader: Reader,
  kind: (typeof SCHEMES)[number],
  at: { readonly value: unknown; readonly field: string },
): InjectionScheme {
  const { value, field } = at;
  const key = (entry: PlainObject, name: string): string => {
    const text = reader.string(entry[name], `${field}.${name}`) ?? '';
    checkKey(reader, text, `${field}.${name}`);
    return text;
  };
  switch (kind) {
    case 'bearer': {
      const entry = reader.object(value, field, ['key']) ?? {};
      return { kind, key: key(entry, 'key') };
    }
    case 'basic': {
      const entry = reader.object(value, field, ['userKey', 'passwordKey']) ?? {};
      return { kind, userKey: key(entry, 'userKey'), passwordKey: key(entry, 'passwordKey') };
    }
    case 'header': {
      const entry = reader.object(value, field, ['name', 'key', 'prefix']) ?? {};
      const name = parseHeaderName(reader, entry['name'], `${field}.name`);
      const prefix = parsePrefix(reader, entry['prefix'], `${field}.prefix`);
      return { kind, name, key: key(entry, 'key'), prefix };
    }
    default:
      return kind satisfies never;
  }
}

function parseHeaderName(reader: Reader, value: unknown, field: string): string {
  const written = reader.string(value, field) ?? '';
  const name = written.toLowerCase();
  if (written.length > MAX_HEADER_NAME || !isToken(written)) {
    reader.error(field, 'bad-header', `${shown(written)} is no header's name`, 'write x-api-key');
  } else if (
    RESERVED_HEADERS.has(name) ||
    RESERVED_PREFIXES.some((prefix) => name.startsWith(prefix))
  ) {
    const message = `${shown(name)} has a meaning of its own`;
    reader.error(field, 'reserved-header', message, 'use another header');
  }
  return name;
}

/** Visible ASCII and spaces: anything else could end the header. */
function parsePrefix(reader: Reader, value: unknown, field: string): string {
  const prefix = reader.string(value, field) ?? '';
  const isPlain = Array.from(prefix).every((char) => char >= ' ' && char <= '~');
  if (!isPlain || prefix.length > MAX_PREFIX) {
    const message = `${shown(prefix)} cannot stand before a value`;
    reader.error(field, 'bad-prefix', message, 'use visible ASCII and spaces');
  }
  return prefix;
}
