// Reads what a rule of a route asks of requests: path, method, headers and query of HTTP; service and method of gRPC.
import { shown, type PlainObject, type Reader } from '../policy/reader.ts';
import {
  entries,
  isPath,
  isBoundedToken,
  MAX_MATCHES,
  readHeaderName,
  readHeaderValue,
  readRegex,
} from './parse-values.ts';
import type { PathMatch, RouteMatch, TextMatch } from './types.ts';

const EVERYTHING: RouteMatch = {
  path: { kind: 'prefix', value: '/' },
  headers: [],
  query: [],
};

/** Without any there is one that everything matches. */
export function parseMatches(
  reader: Reader,
  value: unknown,
  at: { readonly field: string; readonly isGrpc: boolean },
): readonly RouteMatch[] {
  const { field, isGrpc } = at;
  const matches = entries(reader, value, field, MAX_MATCHES).map(([match, where]) =>
    isGrpc ? parseGrpcMatch(reader, match, where) : parseHttpMatch(reader, match, where),
  );
  return matches.length === 0 ? [EVERYTHING] : matches;
}

function parseHttpMatch(reader: Reader, match: PlainObject, field: string): RouteMatch {
  reader.object(match, field, ['path', 'method', 'headers', 'queryParams']);
  const method = reader.string(match['method'] ?? undefined, `${field}.method`);
  if (method !== undefined && !(isBoundedToken(method) && method === method.toUpperCase())) {
    reader.error(`${field}.method`, 'bad-method', `${shown(method)} is no method of HTTP`);
  }
  return {
    path: parsePath(reader, match['path'], `${field}.path`) ?? EVERYTHING.path,
    ...(method !== undefined && { method }),
    headers: parseHeaders(reader, match['headers'], `${field}.headers`),
    query: parseTexts(reader, match['queryParams'], `${field}.queryParams`, readParameter),
  };
}

function parsePath(reader: Reader, value: unknown, field: string): PathMatch | undefined {
  const path = reader.object(value ?? undefined, field, ['type', 'value']);
  if (path === undefined) return undefined;
  const type = reader.string(path['type'] ?? undefined, `${field}.type`) ?? 'PathPrefix';
  const text = reader.string(path['value'] ?? undefined, `${field}.value`) ?? '/';
  const at = `${field}.value`;
  if (type === 'RegularExpression') {
    const regex = readRegex(reader, text, at);
    return regex === undefined ? undefined : { kind: 'regex', value: regex };
  }
  if (type !== 'Exact' && type !== 'PathPrefix') {
    const cure = 'write Exact, PathPrefix or RegularExpression';
    reader.error(`${field}.type`, 'unsupported-match', `${shown(type)} is not known`, cure);
    return undefined;
  }
  const isOdd = ['//', '/./', '/../', '%2f', '%2F'].some((part) => text.includes(part));
  if (!isPath(text) || isOdd || text.endsWith('/..') || text.endsWith('/.')) {
    reader.error(at, 'bad-path', `${shown(text)} is no path that requests have`);
    return undefined;
  }
  return type === 'Exact'
    ? { kind: 'exact', value: text }
    : { kind: 'prefix', value: withoutSlash(text) };
}

/** A prefix means the same with a `/` at its end and without. */
export const withoutSlash = (path: string): string =>
  path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;

const parseHeaders = (reader: Reader, value: unknown, field: string): readonly TextMatch[] =>
  parseTexts(reader, value, field, readHeaderName);

function readParameter(reader: Reader, value: unknown, field: string): string | undefined {
  const name = reader.string(value, field);
  if (name !== undefined && isBoundedToken(name)) return name;
  reader.error(field, 'bad-parameter', 'is missing, or no name of a parameter');
  return undefined;
}

/** Of entries with one name the first counts. */
function parseTexts(
  reader: Reader,
  value: unknown,
  field: string,
  readName: (reader: Reader, value: unknown, field: string) => string | undefined,
): readonly TextMatch[] {
  const byName = new Map<string, TextMatch>();
  for (const [entry, at] of entries(reader, value, field)) {
    reader.object(entry, at, ['type', 'name', 'value']);
    const name = readName(reader, entry['name'], `${at}.name`);
    const text = readHeaderValue(reader, entry['value'], `${at}.value`);
    const kind = readKind(reader, entry['type'], `${at}.type`);
    if (name === undefined || text === undefined || kind === undefined) continue;
    if (kind === 'regex' && readRegex(reader, text, `${at}.value`) === undefined) continue;
    if (!byName.has(name)) byName.set(name, { name, kind, value: text });
  }
  return [...byName.values()];
}

function readKind(reader: Reader, value: unknown, field: string): TextMatch['kind'] | undefined {
  const type = reader.string(value ?? undefined, field) ?? 'Exact';
  if (type === 'Exact') return 'exact';
  if (type === 'RegularExpression') return 'regex';
  reader.error(
    field,
    'unsupported-match',
    `${shown(type)} is not known`,
    'write Exact or RegularExpression',
  );
  return undefined;
}

function parseGrpcMatch(reader: Reader, match: PlainObject, field: string): RouteMatch {
  reader.object(match, field, ['method', 'headers']);
  return {
    path: parseCall(reader, match['method'], `${field}.method`) ?? EVERYTHING.path,
    headers: parseHeaders(reader, match['headers'], `${field}.headers`),
    query: [],
  };
}

/** A call is a path: `/SERVICE/METHOD`. */
function parseCall(reader: Reader, value: unknown, field: string): PathMatch | undefined {
  const call = reader.object(value ?? undefined, field, ['type', 'service', 'method']);
  if (call === undefined) return undefined;
  const service = reader.string(call['service'] ?? undefined, `${field}.service`);
  const method = reader.string(call['method'] ?? undefined, `${field}.method`);
  const kind = readKind(reader, call['type'], `${field}.type`);
  if (kind === undefined) return undefined;
  if (service === undefined && method === undefined) {
    reader.error(field, 'empty-match', 'names neither a service nor a method');
    return undefined;
  }
  if (kind === 'regex') {
    const regex = `/(?:${service ?? '[^/]+'})/(?:${method ?? '[^/]+'})`;
    return readRegex(reader, regex, field) === undefined ? undefined : { kind, value: regex };
  }
  for (const [name, part] of [
    ['service', service],
    ['method', method],
  ] as const) {
    if (part === undefined || isCallPart(part, name)) continue;
    reader.error(`${field}.${name}`, 'bad-name', `${shown(part)} is no ${name} of gRPC`);
    return undefined;
  }
  if (service === undefined) return { kind: 'regex', value: `/[^/]+/${method}` };
  return method === undefined
    ? { kind: 'prefix', value: `/${service}` }
    : { kind: 'exact', value: `/${service}/${method}` };
}

/** Letters, digits and `_`; of a service also `.` between its parts. */
function isCallPart(text: string, what: 'service' | 'method'): boolean {
  const parts = what === 'service' ? text.split('.') : [text];
  return (
    text.length <= 1_024 && parts.every((part) => part !== '' && Array.from(part).every(isWord))
  );
}

const isWord = (char: string): boolean =>
  char === '_' ||
  (char >= '0' && char <= '9') ||
  (char >= 'a' && char <= 'z') ||
  (char >= 'A' && char <= 'Z');
