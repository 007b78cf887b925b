// How texts are matched on the wire: string matchers, and globs as the one dialect of regular expressions that is accepted.
import type { GlobPart, StringMatcher } from '@weft/model/policy/rbac';
import type { PlainMessage } from '../registry.ts';
import {
  type Fields,
  flag,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
} from './fields.ts';

/** What means something in RE2 outside a class; everything else stands for itself. */
const META = String.raw`\.+*?()|[]{}^$`;
const HEX_OPEN = String.raw`\x{`;
const WILDCARDS = { any: '.*', some: '.+', segment: '[^/]*' } as const;

/**
 * @throws {RangeError} for an empty prefix, suffix or contains: it would match everything, and every Envoy refuses it.
 */
export function encodeStringMatcher(matcher: StringMatcher): PlainMessage {
  if (matcher.kind === 'glob') {
    // The empty expression is not allowed on the wire; the empty glob matches the empty text only.
    if (matcher.parts.length === 0) return { exact: '' };
    return { safe_regex: { regex: formatGlob(matcher.parts) } };
  }
  const { kind, value, ignoreCase } = matcher;
  if (value === '' && kind !== 'exact')
    throw new RangeError(`Cannot encode a ${kind} matcher: an empty text would match everything`);
  // A lone surrogate has no UTF-8; its replacement is as far from every real text as it was.
  return { [kind]: value.toWellFormed(), ignore_case: ignoreCase || undefined };
}

export const readStringMatcher: Read<StringMatcher> = (fields) => {
  const kind = oneOf(fields, 'match_pattern');
  const ignoreCase = flag(fields, 'ignore_case');
  switch (kind) {
    case 'exact':
      return { kind, value: text(fields, kind), ignoreCase };
    case 'prefix':
    case 'suffix':
    case 'contains':
      return { kind, value: requiredText(fields, kind), ignoreCase };
    case 'safe_regex':
      if (ignoreCase)
        report(fields, 'ignore_case', 'not-supported', 'is set beside a regular expression');
      return requiredMessage(fields, kind, readRegex);
    default:
      return undefined;
  }
};

function readRegex(fields: Fields): StringMatcher | undefined {
  const regex = requiredText(fields, 'regex');
  const parts = parseGlob(regex);
  if (parts !== undefined) return { kind: 'glob', parts };
  const message = `is ${shown(regex)}, not made of quoted text, .*, .+ and [^/]* alone`;
  return report(fields, 'regex', 'not-supported', message);
}

/** The expression of a glob: literal text quoted for RE2, so that no text of a user's choosing means anything in it. */
export function formatGlob(parts: readonly GlobPart[]): string {
  return parts
    .map((part) => (part.kind === 'literal' ? quote(part.text) : WILDCARDS[part.kind]))
    .join('');
}

function quote(literal: string): string {
  let quoted = '';
  for (const char of literal.toWellFormed()) {
    const code = char.codePointAt(0) ?? 0;
    if (isControl(code)) quoted += `${HEX_OPEN}${code.toString(16)}}`;
    else quoted += META.includes(char) ? `\\${char}` : char;
  }
  return quoted;
}

/** C0, DEL and C1: written as numbers, so that a dump shows them. */
const isControl = (code: number): boolean => code < 0x20 || (code >= 0x7f && code < 0xa0);

/** @returns `undefined` for any expression that {@link formatGlob} would not write. */
export function parseGlob(regex: string): readonly GlobPart[] | undefined {
  const parts: GlobPart[] = [];
  let literal = '';
  let at = 0;
  while (at < regex.length) {
    const wildcard = wildcardAt(regex, at);
    if (wildcard !== undefined) {
      if (literal !== '') parts.push({ kind: 'literal', text: literal });
      literal = '';
      parts.push({ kind: wildcard });
      at += WILDCARDS[wildcard].length;
      continue;
    }
    const char = literalAt(regex, at);
    if (char === undefined) return undefined;
    literal += char.text;
    at += char.length;
  }
  if (literal !== '') parts.push({ kind: 'literal', text: literal });
  return parts;
}

function wildcardAt(regex: string, at: number): keyof typeof WILDCARDS | undefined {
  if (regex.startsWith(WILDCARDS.any, at)) return 'any';
  if (regex.startsWith(WILDCARDS.some, at)) return 'some';
  return regex.startsWith(WILDCARDS.segment, at) ? 'segment' : undefined;
}

/** One character of literal text, and how much of the expression it takes. */
function literalAt(
  regex: string,
  at: number,
): { readonly text: string; readonly length: number } | undefined {
  const code = regex.codePointAt(at) ?? 0;
  const char = String.fromCodePoint(code);
  if (char !== '\\')
    return META.includes(char) || isControl(code) ? undefined : { text: char, length: char.length };
  const next = regex[at + 1];
  if (next !== undefined && META.includes(next)) return { text: next, length: 2 };
  if (!regex.startsWith(HEX_OPEN, at)) return undefined;
  const end = regex.indexOf('}', at);
  const digits = end === -1 ? '' : regex.slice(at + HEX_OPEN.length, end);
  const value = digits.length > 2 ? Number.NaN : Number.parseInt(digits, 16);
  // Exactly as it is written: no other spelling of a control character, and of nothing else.
  if (!isControl(value) || value.toString(16) !== digits) return undefined;
  return { text: String.fromCharCode(value), length: end + 1 - at };
}
