// Distinguished names: read from DER, written and parsed as RFC 4514, and compared attribute by attribute.
import { DerReader, MalformedDer } from '../x509.ts';
import type { NameAttribute, NamePattern } from './types.ts';

/** RFC 4514 §3, and what certificates of clients have besides. */
const SHORT_NAMES: ReadonlyMap<string, string> = new Map([
  ['CN', '2.5.4.3'],
  ['SN', '2.5.4.4'],
  ['SERIALNUMBER', '2.5.4.5'],
  ['C', '2.5.4.6'],
  ['L', '2.5.4.7'],
  ['ST', '2.5.4.8'],
  ['STREET', '2.5.4.9'],
  ['O', '2.5.4.10'],
  ['OU', '2.5.4.11'],
  ['TITLE', '2.5.4.12'],
  ['GN', '2.5.4.42'],
  ['DC', '0.9.2342.19200300.100.1.25'],
  ['UID', '0.9.2342.19200300.100.1.1'],
  ['EMAILADDRESS', '1.2.840.113549.1.9.1'],
]);
const SHORT_BY_OID: ReadonlyMap<string, string> = new Map(
  [...SHORT_NAMES].map(([name, oid]) => [oid, name]),
);

/** More than any name has. */
const MAX_ATTRIBUTES = 32;
const MAX_NAME_TEXT = 2_048;

const SET = 0x31;
const SEQUENCE = 0x30;
const OID = 0x06;
const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;
const IA5_STRING = 0x16;
const TELETEX_STRING = 0x14;
const BMP_STRING = 0x1e;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A name as a certificate holds it, most specific first; every value is there. */
export type DistinguishedName = readonly { readonly type: string; readonly value: string }[];

/** Dotted. @throws MalformedDer */
export function readOid(content: Buffer): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const [index, byte] of content.entries()) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 256) throw new MalformedDer('an OID beyond bounds');
    if (byte >= 0x80) continue;
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(arc / 40));
      arcs.push(first, arc - first * 40);
    } else arcs.push(arc);
    arc = 0;
    if (index > 64) throw new MalformedDer('an OID beyond bounds');
  }
  return arcs.join('.');
}

/**
 * Reads a Name's content. A value with a control character, or of a type that is no text, makes the name unreadable: it
 * could be read in two ways (CVE-2021-44532).
 * @throws MalformedDer
 */
export function readDistinguishedName(content: Buffer): DistinguishedName {
  const attributes: { type: string; value: string }[] = [];
  const name = new DerReader(content);
  while (!name.isAtEnd) {
    const set = new DerReader(name.next(SET).content);
    while (!set.isAtEnd) {
      const pair = new DerReader(set.next(SEQUENCE).content);
      const type = readOid(pair.next(OID).content);
      const { tag, content: value } = pair.next();
      attributes.push({ type, value: readValue(tag, value) });
      if (attributes.length > MAX_ATTRIBUTES) throw new MalformedDer('a name of many parts');
    }
  }
  return attributes.reverse();
}

function readValue(tag: number, content: Buffer): string {
  const text = decodeValue(tag, content);
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
      throw new MalformedDer('a control character in a name');
  }
  return text;
}

function decodeValue(tag: number, content: Buffer): string {
  switch (tag) {
    case UTF8_STRING:
      try {
        return utf8.decode(content);
      } catch (error) {
        if (error instanceof TypeError) throw new MalformedDer('a name that is not UTF-8');
        throw error;
      }
    case PRINTABLE_STRING:
    case IA5_STRING:
    case TELETEX_STRING:
      return content.toString('latin1');
    case BMP_STRING:
      if (content.length % 2 !== 0) throw new MalformedDer('a name of half characters');
      return Buffer.from(content).swap16().toString('utf16le');
    default:
      throw new MalformedDer(`a name of type ${tag}`);
  }
}

const ESCAPED = '+,;<>=';

/** As RFC 4514 §2 writes it: for XFCC, rules and logs. */
export const formatDistinguishedName = (name: DistinguishedName): string =>
  name
    .map(({ type, value }) => `${SHORT_BY_OID.get(type) ?? type}=${escapeValue(value)}`)
    .join(',');

/**
 * ASCII without quotation marks: what is not goes as the bytes of its UTF-8, so that no header can be ended by it. So do
 * spaces at either end, which whoever reads a header or a line takes away, and a star alone, which would stand for any.
 */
function escapeValue(value: string): string {
  if (value === '*') return hexPairs(value);
  const escaped = Array.from(value, (char) => {
    if (char > '\u007e' || char === '"' || char === '\\') return hexPairs(char);
    return ESCAPED.includes(char) ? `\\${char}` : char;
  });
  const last = escaped.length - 1;
  if (escaped[0] === '#') escaped[0] = '\\#';
  for (const end of [0, last]) if (escaped[end] === ' ') escaped[end] = hexPairs(' ');
  return escaped.join('');
}

const hexPairs = (char: string): string =>
  Array.from(
    Buffer.from(char, 'utf8'),
    (byte) => `\\${byte.toString(16).padStart(2, '0').toUpperCase()}`,
  ).join('');

/** @returns `undefined` for what is no whole name. A value of `*` alone stands for any. */
export function parseNamePattern(text: string): NamePattern | undefined {
  if (text.length > MAX_NAME_TEXT) return undefined;
  const attributes: NameAttribute[] = [];
  for (const part of splitUnescaped(text)) {
    const equals = part.indexOf('=');
    const type = parseType(part.slice(0, Math.max(0, equals)).trim());
    const raw = trimUnescaped(part.slice(equals + 1));
    const value = unescapeValue(raw);
    if (type === undefined || equals < 1 || value === undefined || value === '') return undefined;
    attributes.push({ type, value: raw === '*' ? undefined : value });
  }
  const isSound = attributes.length > 0 && attributes.length <= MAX_ATTRIBUTES;
  return isSound ? { text, attributes } : undefined;
}

function parseType(text: string): string | undefined {
  const known = SHORT_NAMES.get(text.toUpperCase());
  if (known !== undefined) return known;
  const arcs = text.split('.');
  const isOid = arcs.every(
    (arc) => arc !== '' && Array.from(arc).every((c) => c >= '0' && c <= '9'),
  );
  return isOid && arcs.length >= 3 ? text : undefined;
}

/** At commas, and at the plus signs of RDNs of several attributes. */
function splitUnescaped(text: string): readonly string[] {
  const parts: string[] = [];
  let part = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === '\\') part += char + (text[++at] ?? '');
    else if (char === ',' || char === '+') {
      parts.push(part);
      part = '';
    } else part += char;
  }
  return [...parts, part];
}

/** A space at the end that a backslash stands before is the value's own. */
function trimUnescaped(raw: string): string {
  const text = raw.trim();
  const slashes = text.length - text.replace(/\\+$/u, '').length;
  return slashes % 2 === 1 && raw.trimStart().length > text.length ? `${text} ` : text;
}

function unescapeValue(text: string): string | undefined {
  const bytes: Buffer[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0);
    if (char.length > 1) at++;
    if (char !== '\\') bytes.push(Buffer.from(char, 'utf8'));
    else if (isHex(text[at + 1]) && isHex(text[at + 2])) {
      bytes.push(Buffer.from(text.slice(at + 1, at + 3), 'hex'));
      at += 2;
    } else if (at + 1 < text.length) bytes.push(Buffer.from(text[++at] ?? '', 'utf8'));
    else return undefined;
  }
  try {
    return utf8.decode(Buffer.concat(bytes));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

const isHex = (char: string | undefined): boolean =>
  char !== undefined && char !== '' && '0123456789abcdefABCDEF'.includes(char);

/** Attribute by attribute, each value exactly: what differs in case is another name. */
export const fitsName = ({ attributes }: NamePattern, name: DistinguishedName): boolean =>
  attributes.length === name.length &&
  attributes.every(
    ({ type, value }, at) =>
      name[at]?.type === type && (value === undefined || name[at].value === value),
  );
