// What a field is by itself, whatever list it stands in: well-formed or not, and whether it decides framing or routing.
import { parseContentLength } from '../http/content-length.ts';

/** Marks below `FlawMark` are well-formed fields; those from there on say what is wrong. */
export const FieldMark = {
  Ordinary: 0,
  Method: 1,
  Scheme: 2,
  Path: 3,
  Authority: 4,
  Status: 5,
  Host: 6,
  ContentLength: 7,
  Te: 8,
  FlawMark: 16,
  NameBad: 16,
  ValueBad: 17,
  PseudoUnknown: 18,
  HopField: 19,
  ContentLengthBad: 20,
  TeBad: 21,
  MethodBad: 22,
  SchemeBad: 23,
  PathBad: 24,
  AuthorityBad: 25,
  StatusBad: 26,
} as const;

const MARK_BY_NAME: ReadonlyMap<string, number> = new Map([
  [':method', FieldMark.Method],
  [':scheme', FieldMark.Scheme],
  [':path', FieldMark.Path],
  [':authority', FieldMark.Authority],
  [':status', FieldMark.Status],
  ['host', FieldMark.Host],
  ['content-length', FieldMark.ContentLength],
  ['te', FieldMark.Te],
  /** Fields of one hop of HTTP/1 have no place in HTTP/2 (RFC 9113 §8.2.2). */
  ['connection', FieldMark.HopField],
  ['keep-alive', FieldMark.HopField],
  ['proxy-connection', FieldMark.HopField],
  ['transfer-encoding', FieldMark.HopField],
  ['upgrade', FieldMark.HopField],
]);

const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyz0123456789';
const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** By code, of which characters it may be one. */
const IN_NAME = 1;
const IN_VALUE = 2;
const IN_PATH = 4;
const IN_HOST = 8;
const IN_SCHEME = 16;
const IN_METHOD = 32;
const CLASSES = new Uint8Array(256);
const mark = (characters: string, bit: number): void => {
  for (let at = 0; at < characters.length; at++) {
    const code = characters.charCodeAt(at);
    CLASSES[code] = (CLASSES[code] ?? 0) | bit;
  }
};
const TOKEN_PUNCTUATION = "!#$%&'*+-.^_`|~";
mark(TOKEN_PUNCTUATION + ALPHANUMERIC, IN_NAME | IN_METHOD);
mark(UPPER, IN_METHOD | IN_HOST | IN_SCHEME);
/** As for HTTP/1: no user information, no commas, nothing that a URL's parser would stop at. */
mark(`${ALPHANUMERIC}-._~%!$&'()*+;=:[]`, IN_HOST);
mark(`${ALPHANUMERIC}+-.`, IN_SCHEME);
for (let code = 0; code < 256; code++) {
  if (code === 0x09 || (code >= 0x20 && code !== 0x7f))
    CLASSES[code] = (CLASSES[code] ?? 0) | IN_VALUE;
  if (code > 0x20 && code < 0x7f) CLASSES[code] = (CLASSES[code] ?? 0) | IN_PATH;
}

function isMadeOf(text: string, bit: number): boolean {
  for (let at = 0; at < text.length; at++) {
    if (((CLASSES[text.charCodeAt(at)] ?? 0) & bit) === 0) return false;
  }
  return true;
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** No control characters, and no space around it (RFC 9113 §8.2.1). */
const isValue = (value: string): boolean =>
  value.length === 0 ||
  (!isBlank(value.charCodeAt(0)) &&
    !isBlank(value.charCodeAt(value.length - 1)) &&
    isMadeOf(value, IN_VALUE));

function isStatus(value: string): boolean {
  const first = value.charCodeAt(0);
  return value.length === 3 && first >= 0x31 && first <= 0x39 && parseContentLength(value) !== -1;
}

const isTrailers = (value: string): boolean =>
  value === 'trailers' || (value.length === 8 && value.toLowerCase() === 'trailers');

/**
 * Judges one field; the decoder keeps the answer with the entry of its table, so that a field which repeats is judged
 * once a connection and not once a request (`npm run bench:dataplane`).
 * @returns one of `FieldMark`.
 */
export function markOf(name: string, value: string): number {
  const known = MARK_BY_NAME.get(name);
  if (known !== undefined) return markOfKnown(known, value);
  if (name.charCodeAt(0) === 0x3a) return FieldMark.PseudoUnknown;
  if (name.length === 0 || !isMadeOf(name, IN_NAME)) return FieldMark.NameBad;
  return isValue(value) ? FieldMark.Ordinary : FieldMark.ValueBad;
}

function markOfKnown(known: number, value: string): number {
  switch (known) {
    case FieldMark.Method:
      return value.length > 0 && isMadeOf(value, IN_METHOD) ? known : FieldMark.MethodBad;
    case FieldMark.Scheme:
      return value.length > 0 && isMadeOf(value, IN_SCHEME) ? known : FieldMark.SchemeBad;
    case FieldMark.Path:
      return value.length > 0 && isMadeOf(value, IN_PATH) ? known : FieldMark.PathBad;
    case FieldMark.Authority:
    case FieldMark.Host:
      return isMadeOf(value, IN_HOST) ? known : FieldMark.AuthorityBad;
    case FieldMark.Status:
      return isStatus(value) ? known : FieldMark.StatusBad;
    case FieldMark.ContentLength:
      return parseContentLength(value) === -1 ? FieldMark.ContentLengthBad : known;
    case FieldMark.Te:
      return isTrailers(value) ? known : FieldMark.TeBad;
    default:
      return known;
  }
}
