// What routes match, on the wire.
import { compileLinearRegex } from '@weft/model/routes/linear-regex';
import type { PlainMessage } from '../registry.ts';
import type { RouteMatch } from '../resources/route.ts';
import type { TextMatcher } from '../resources/route-rule.ts';
import {
  type Fields,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
} from './fields.ts';

export function encodeRouteMatch({ kind, value, headers, query }: RouteMatch): PlainMessage {
  const more = {
    headers: headers?.map(encodeText),
    query_parameters: query?.map(encodeText),
  };
  switch (kind) {
    case 'prefix':
    case 'path':
      return { [kind]: value, ...more };
    case 'separatedPrefix':
      return { path_separated_prefix: value, ...more };
    case 'regex':
      return { safe_regex: { regex: value }, ...more };
    default:
      return kind satisfies never;
  }
}

const encodeText = ({ name, kind, value }: TextMatcher): PlainMessage => ({
  name,
  string_match: kind === 'exact' ? { exact: value } : { safe_regex: { regex: value } },
});

const KINDS = {
  prefix: 'prefix',
  path: 'path',
  path_separated_prefix: 'separatedPrefix',
  safe_regex: 'regex',
} as const;

export const readRouteMatch: Read<RouteMatch> = (fields) => {
  const name = oneOf(fields, 'path_specifier');
  const kind = Object.entries(KINDS).find(([known]) => known === name)?.[1];
  if (name === undefined || kind === undefined) return undefined;
  const value =
    kind === 'regex' ? requiredMessage(fields, name, readRegex) : readPath(fields, name);
  const headers = messages(fields, 'headers', readHeader);
  const query = messages(fields, 'query_parameters', readParameter);
  return value === undefined
    ? undefined
    : {
        kind,
        value,
        ...(headers.length > 0 && { headers }),
        ...(query.length > 0 && { query }),
      };
};

function readPath(fields: Fields, name: string): string {
  const value = requiredText(fields, name);
  const isSeparated = name === 'path_separated_prefix';
  if (!value.startsWith('/') || (isSeparated && (value === '/' || value.endsWith('/')))) {
    report(fields, name, 'out-of-range', `is ${shown(value)}, not a path`);
  }
  return value;
}

const readRegex: Read<string> = (fields) => {
  const regex = requiredText(fields, 'regex');
  const compiled = compileLinearRegex(regex);
  if (compiled.ok) return regex;
  return report(fields, 'regex', 'not-supported', `is ${shown(regex)}, which ${compiled.why}`);
};

/** The one pseudo-header that routes ask for. */
const METHOD = ':method';

const readHeader: Read<TextMatcher> = (fields) => {
  const name = requiredText(fields, 'name').toLowerCase();
  if (name.startsWith(':') && name !== METHOD) {
    report(fields, 'name', 'not-supported', `is the pseudo-header ${shown(name)}`);
  }
  return readText(fields, name, 'header_match_specifier');
};

const readParameter: Read<TextMatcher> = (fields) =>
  readText(fields, requiredText(fields, 'name'), 'query_parameter_match_specifier');

function readText(fields: Fields, name: string, oneof: string): TextMatcher | undefined {
  if (oneOf(fields, oneof) !== 'string_match') {
    return report(fields, '', 'not-supported', 'asks for no text');
  }
  return requiredMessage(fields, 'string_match', (match) => {
    const pattern = oneOf(match, 'match_pattern');
    if (pattern === 'exact') return { name, kind: 'exact', value: requiredText(match, pattern) };
    if (pattern !== 'safe_regex') {
      return report(match, '', 'not-supported', 'is neither exact nor a regular expression');
    }
    const value = requiredMessage(match, pattern, readRegex);
    return value === undefined ? undefined : { name, kind: 'regex', value };
  });
}
