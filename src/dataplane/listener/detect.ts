// Tells from a connection's first bytes what is spoken on it: TLS, HTTP/1, HTTP/2 or something else.
import { parseClientHello, type ClientHello } from './client-hello.ts';

export type Detection =
  | { readonly kind: 'tls'; readonly hello: ClientHello }
  | { readonly kind: 'http1' }
  /** HTTP/2 with prior knowledge. */
  | { readonly kind: 'h2c' }
  | { readonly kind: 'other' }
  /** Undecided: more bytes are needed. */
  | { readonly kind: 'more' }
  | { readonly kind: 'malformed'; readonly reason: string };

/** RFC 9113 §3.4. */
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
/** Longer than any registered method; beyond it the bytes are not HTTP. */
const MAX_METHOD_BYTES = 24;
/** Where the version must have begun; a longer request line is taken for HTTP and refused there. */
const MAX_LINE_BYTES = 8_192;

const HTTP1: Detection = { kind: 'http1' };
const H2C: Detection = { kind: 'h2c' };
const OTHER: Detection = { kind: 'other' };
const MORE: Detection = { kind: 'more' };

/**
 * Decides on the bytes received so far. `more` never persists beyond `MAX_LINE_BYTES` of non-TLS bytes;
 * the caller bounds the wait for TLS by the parser's own limit and by time.
 */
export function detect(bytes: Buffer): Detection {
  if (bytes.length === 0) return MORE;
  const hello = parseClientHello(bytes);
  if (hello.kind === 'hello') return { kind: 'tls', hello: hello.hello };
  if (hello.kind === 'incomplete') return MORE;
  if (hello.kind === 'malformed') return hello;
  if (startsLike(bytes, HTTP2_PREFACE)) return bytes.length >= HTTP2_PREFACE.length ? H2C : MORE;
  return detectHttp1(bytes);
}

function startsLike(bytes: Buffer, expected: Buffer): boolean {
  const length = Math.min(bytes.length, expected.length);
  return bytes.compare(expected, 0, length, 0, length) === 0;
}

const isUpperCase = (byte: number): boolean => byte >= 0x41 && byte <= 0x5a;

/** A method in upper case, a space, a target, a space and `HTTP/1.`: only then it is HTTP/1. */
function detectHttp1(bytes: Buffer): Detection {
  let at = 0;
  while (at < bytes.length && at <= MAX_METHOD_BYTES && isMethodByte(bytes[at] ?? 0, at)) at++;
  if (at === bytes.length && at <= MAX_METHOD_BYTES) return MORE;
  if (at === 0 || bytes[at] !== 0x20) return OTHER;
  const first = bytes[at + 1];
  if (first === undefined) return MORE;
  if (first !== 0x2f && first !== 0x2a && first !== 0x68 && !isAuthorityByte(first)) return OTHER;
  const lineEnd = bytes.indexOf(0x0a, at);
  if (lineEnd === -1) return bytes.length < MAX_LINE_BYTES ? MORE : HTTP1;
  const version = bytes.indexOf(' HTTP/', at + 1, 'latin1');
  return version !== -1 && version < lineEnd ? HTTP1 : OTHER;
}

const isMethodByte = (byte: number, at: number): boolean =>
  isUpperCase(byte) || (at > 0 && byte === 0x2d);

/** CONNECT's target begins with a host. */
const isAuthorityByte = (byte: number): boolean =>
  isUpperCase(byte) ||
  (byte >= 0x61 && byte <= 0x7a) ||
  (byte >= 0x30 && byte <= 0x39) ||
  byte === 0x5b;
