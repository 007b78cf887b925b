// Reads what a rule of a route changes of requests and answers, and where it sends copies.
import { shown, type PlainObject, type Reader } from '../policy/reader.ts';
import { parseBackendName } from './parse-backends.ts';
import { withoutSlash } from './parse-matches.ts';
import {
  entries,
  isPath,
  readChangedName,
  readHeaderValue,
  readHost,
  readPort,
  readWhole,
} from './parse-values.ts';
import type {
  HeaderChanges,
  MirrorRef,
  PathChange,
  Redirect,
  RedirectStatus,
  Rewrite,
} from './types.ts';

export interface Filters {
  requestHeaders?: HeaderChanges;
  responseHeaders?: HeaderChanges;
  redirect?: Redirect;
  rewrite?: Rewrite;
  readonly mirrors: MirrorRef[];
}

export type FilterType =
  | 'RequestHeaderModifier'
  | 'ResponseHeaderModifier'
  | 'RequestRedirect'
  | 'URLRewrite'
  | 'RequestMirror';

export interface FilterScope {
  readonly field: string;
  readonly namespace: string;
  /** The others are refused by name: what they were to do would be left undone. */
  readonly known: readonly FilterType[];
}

export const HEADER_FILTERS: readonly FilterType[] = [
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
];

const FIELDS: Readonly<Record<FilterType, string>> = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  RequestMirror: 'requestMirror',
};

export function parseFilters(reader: Reader, value: unknown, scope: FilterScope): Filters {
  const filters: Filters = { mirrors: [] };
  const seen = new Set<string>();
  for (const [filter, at] of entries(reader, value, scope.field)) {
    const type = reader.string(filter['type'] ?? undefined, `${at}.type`) ?? '';
    const known = scope.known.find((one) => one === type);
    if (known === undefined) {
      const cure = `use ${scope.known.join(', ')}`;
      reader.error(`${at}.type`, 'unsupported-filter', `${shown(type)} is not applied here`, cure);
      continue;
    }
    reader.object(filter, at, ['type', FIELDS[known]]);
    if (known !== 'RequestMirror' && seen.has(known)) {
      reader.error(`${at}.type`, 'duplicate-filter', `${known} is there twice`);
    }
    seen.add(known);
    const field = `${at}.${FIELDS[known]}`;
    const content = reader.object(filter[FIELDS[known]] ?? {}, field, KEYS[known]) ?? {};
    takeFilter(reader, filters, { known, content, field, namespace: scope.namespace });
  }
  if (filters.redirect !== undefined && filters.rewrite !== undefined) {
    reader.error(scope.field, 'both-filters', 'has a redirect and a rewrite: only one can happen');
  }
  return filters;
}

const KEYS: Readonly<Record<FilterType, readonly string[]>> = {
  RequestHeaderModifier: ['set', 'add', 'remove'],
  ResponseHeaderModifier: ['set', 'add', 'remove'],
  RequestRedirect: ['scheme', 'hostname', 'path', 'port', 'statusCode'],
  URLRewrite: ['hostname', 'path'],
  RequestMirror: ['backendRef', 'percent', 'fraction'],
};

interface One {
  readonly known: FilterType;
  readonly content: PlainObject;
  readonly field: string;
  readonly namespace: string;
}

function takeFilter(reader: Reader, filters: Filters, one: One): void {
  const { known, content, field } = one;
  switch (known) {
    case 'RequestHeaderModifier':
      filters.requestHeaders = parseChanges(reader, content, field);
      break;
    case 'ResponseHeaderModifier':
      filters.responseHeaders = parseChanges(reader, content, field);
      break;
    case 'RequestRedirect':
      filters.redirect = parseRedirect(reader, content, field);
      break;
    case 'URLRewrite':
      filters.rewrite = parseRewrite(reader, content, field);
      break;
    case 'RequestMirror':
      filters.mirrors.push(parseMirror(reader, one));
      break;
    default:
      known satisfies never;
  }
}

function parseChanges(reader: Reader, content: PlainObject, field: string): HeaderChanges {
  const removed = reader.strings(content['remove'] ?? undefined, `${field}.remove`, 16);
  return {
    set: parsePairs(reader, content['set'], `${field}.set`),
    add: parsePairs(reader, content['add'], `${field}.add`),
    remove: removed.flatMap((name, index) => {
      const read = readChangedName(reader, name, `${field}.remove[${index}]`);
      return read === undefined ? [] : [read];
    }),
  };
}

function parsePairs(
  reader: Reader,
  value: unknown,
  field: string,
): readonly (readonly [string, string])[] {
  const byName = new Map<string, string>();
  for (const [entry, at] of entries(reader, value, field)) {
    reader.object(entry, at, ['name', 'value']);
    const name = readChangedName(reader, entry['name'], `${at}.name`);
    const text = readHeaderValue(reader, entry['value'], `${at}.value`);
    if (name !== undefined && text !== undefined && !byName.has(name)) byName.set(name, text);
  }
  return [...byName];
}

function parsePathChange(reader: Reader, value: unknown, field: string): PathChange | undefined {
  const keys = ['type', 'replaceFullPath', 'replacePrefixMatch'];
  const path = reader.object(value ?? undefined, field, keys);
  if (path === undefined) return undefined;
  const type = path['type'];
  const [kind, key] =
    type === 'ReplaceFullPath'
      ? (['full', 'replaceFullPath'] as const)
      : (['prefix', 'replacePrefixMatch'] as const);
  if (type !== 'ReplaceFullPath' && type !== 'ReplacePrefixMatch') {
    reader.error(
      `${field}.type`,
      'unsupported-path',
      'is not ReplaceFullPath or ReplacePrefixMatch',
    );
    return undefined;
  }
  const text = reader.string(path[key], `${field}.${key}`);
  if (text === undefined) reader.error(`${field}.${key}`, 'missing', 'is missing');
  const replacement = text === '' || text === undefined ? '/' : text;
  if (!isPath(replacement)) {
    reader.error(`${field}.${key}`, 'bad-path', `${shown(replacement)} is no path`);
  }
  return { kind, value: kind === 'prefix' ? withoutSlash(replacement) : replacement };
}

const REDIRECTS: readonly RedirectStatus[] = [301, 302, 303, 307, 308];

function parseRedirect(reader: Reader, content: PlainObject, field: string): Redirect {
  const scheme = reader.string(content['scheme'] ?? undefined, `${field}.scheme`);
  if (scheme !== undefined && scheme !== 'http' && scheme !== 'https') {
    reader.error(`${field}.scheme`, 'bad-scheme', `${shown(scheme)} is not http or https`);
  }
  const host = readHost(reader, content['hostname'], `${field}.hostname`);
  const port = readPort(reader, content['port'], `${field}.port`);
  const path = parsePathChange(reader, content['path'], `${field}.path`);
  const status = REDIRECTS.find((one) => one === (content['statusCode'] ?? 302));
  if (status === undefined) {
    const message = `is none of ${REDIRECTS.join(', ')}`;
    reader.error(`${field}.statusCode`, 'bad-status', message);
  }
  return {
    ...(scheme !== undefined && { scheme: scheme === 'https' ? 'https' : 'http' }),
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
    ...(path !== undefined && { path }),
    status: status ?? 302,
  };
}

function parseRewrite(reader: Reader, content: PlainObject, field: string): Rewrite {
  const host = readHost(reader, content['hostname'], `${field}.hostname`);
  const path = parsePathChange(reader, content['path'], `${field}.path`);
  return { ...(host !== undefined && { host }), ...(path !== undefined && { path }) };
}

const MILLION = 1_000_000;

function parseMirror(reader: Reader, { content, field, namespace }: One): MirrorRef {
  const percent = readWhole(reader, content['percent'], {
    field: `${field}.percent`,
    min: 0,
    max: 100,
  });
  const fraction = reader.object(content['fraction'] ?? undefined, `${field}.fraction`, [
    'numerator',
    'denominator',
  ]);
  if (percent !== undefined && fraction !== undefined) {
    reader.error(field, 'both-shares', 'has a percent and a fraction: write one of them');
  }
  const backend = parseBackendName(reader, content['backendRef'], {
    field: `${field}.backendRef`,
    namespace,
  });
  const share = fraction === undefined ? ((percent ?? 100) * MILLION) / 100 : undefined;
  return { ...backend, share: share ?? parseFraction(reader, fraction ?? {}, `${field}.fraction`) };
}

function parseFraction(reader: Reader, fraction: PlainObject, field: string): number {
  const max = MILLION;
  const denominator =
    readWhole(reader, fraction['denominator'], { field: `${field}.denominator`, min: 1, max }) ??
    100;
  const at = { field: `${field}.numerator`, min: 0, max: denominator };
  const numerator = readWhole(reader, fraction['numerator'], at) ?? 0;
  return Math.round((numerator * MILLION) / denominator);
}
