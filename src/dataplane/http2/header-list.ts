// Header lists of HTTP/2: flat, in order, names in lower case, every value for itself; what a request's says, and how it is edited.

/** `[name, value, name, value, …]`, pseudo-headers first. */
export type RawHeaders = readonly string[];

/** What a request's head says; `header` gives every value of a name, in order. */
export interface Http2RequestHead {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly raw: RawHeaders;
  header(name: string): readonly string[] | undefined;
  names(): Iterable<string>;
}

export type HeadReading =
  | { readonly ok: true; readonly head: Http2RequestHead }
  | { readonly ok: false; readonly reasonCode: string; readonly status: 400 | 431 };

/** Decoded, as RFC 9113 §6.5.2 counts: what SETTINGS_MAX_HEADER_LIST_SIZE says. */
export const HEADER_LIST_BYTES_MAX = 65_536;
const FIELD_OVERHEAD_BYTES = 32;

const refuse = (reasonCode: string, status: 400 | 431 = 400): HeadReading => ({
  ok: false,
  reasonCode,
  status,
});

/**
 * Reads a request's head. Malformed names, values and pseudo-headers have been refused already (`requestFlaw`);
 * what is left is what proxies have been fooled by.
 * - `:path` begins with `/`, or is `*` for OPTIONS (CVE-2026-33186)
 * - CONNECT is not served
 * - no more than `HEADER_LIST_BYTES_MAX`, repeated cookies included: nghttp2 holds a peer to the limit only once it
 *   has acknowledged our settings, and one that never does could make megabytes of a few bytes (CVE-2026-47774)
 * - `host` beside `:authority` says the same, in the same letters or not (RFC 9113 §8.3.1)
 */
export function readHead(raw: RawHeaders): HeadReading {
  let method = '';
  let path = '';
  let authority: string | undefined;
  let host: string | undefined;
  let size = 0;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at];
    const value = raw[at + 1] ?? '';
    size += (name?.length ?? 0) + value.length + FIELD_OVERHEAD_BYTES;
    if (name === ':method') method = value;
    else if (name === ':path') path = value;
    else if (name === ':authority') authority = value;
    else if (name === 'host') {
      if (host !== undefined) return refuse('two-hosts');
      host = value;
    }
  }
  if (size > HEADER_LIST_BYTES_MAX) return refuse('head-too-large', 431);
  if (method === 'CONNECT') return refuse('connect-refused');
  if (!isUpperToken(method)) return refuse('method-not-upper-case');
  if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) {
    return refuse('path-without-slash');
  }
  if (
    authority !== undefined &&
    host !== undefined &&
    authority.toLowerCase() !== host.toLowerCase()
  ) {
    return refuse('two-hosts');
  }
  const named = authority ?? host;
  if (named === undefined || named.length === 0) return refuse('no-host');
  return { ok: true, head: new Head(raw, method, path, named) };
}

class Head implements Http2RequestHead {
  readonly raw: RawHeaders;
  readonly method: string;
  readonly path: string;
  readonly authority: string;

  constructor(raw: RawHeaders, method: string, path: string, authority: string) {
    this.raw = raw;
    this.method = method;
    this.path = path;
    this.authority = authority;
  }

  *names(): Iterable<string> {
    for (let at = 0; at + 1 < this.raw.length; at += 2) {
      const name = this.raw[at] ?? '';
      if (!name.startsWith(':')) yield name;
    }
  }

  header(name: string): readonly string[] | undefined {
    let values: string[] | undefined;
    for (let at = 0; at + 1 < this.raw.length; at += 2) {
      if (this.raw[at] === name) (values ??= []).push(this.raw[at + 1] ?? '');
    }
    return values;
  }
}

function isUpperToken(text: string): boolean {
  if (text.length === 0 || text.length > 24) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (!((code >= 0x41 && code <= 0x5a) || (at > 0 && code === 0x2d))) return false;
  }
  return true;
}

/** How a request's headers change on the way. */
export interface HeaderEdits {
  /** The path as it was matched; `undefined`: as it came. */
  readonly path: string | undefined;
  /** Whether a header is taken out, by its lower-case name. */
  readonly isRemoved: (name: string) => boolean;
  /** Added after the others: `[name, value, …]`. */
  readonly added: RawHeaders;
  /** In place of the host that came; absent: that one. */
  readonly authority?: string | undefined;
  /** Names among `added` whose values are secrets: they go into no table, here or further on. */
  readonly secrets?: readonly string[] | undefined;
}

/** The list to send on: `:authority` is always there, `host` never beside it. */
export function editHeaders(head: Http2RequestHead, edits: HeaderEdits): string[] {
  const out: string[] = [];
  let hasAuthority = false;
  for (let at = 0; at + 1 < head.raw.length; at += 2) {
    const name = head.raw[at] ?? '';
    const value = head.raw[at + 1] ?? '';
    if (name === ':path') out.push(name, edits.path ?? value);
    else if (name === ':authority') {
      hasAuthority = true;
      out.push(name, edits.authority ?? value);
    } else if (name !== 'host' && !isTakenOut(name, edits)) out.push(name, value);
  }
  if (!hasAuthority) out.unshift(':authority', edits.authority ?? head.authority);
  out.push(...edits.added);
  return out;
}

/** What is sent on. @param positions of fields that came never-indexed. */
export function editFields(
  head: Http2RequestHead,
  positions: readonly number[] | undefined,
  edits: HeaderEdits,
): { readonly raw: readonly string[]; readonly neverIndexed: readonly number[] | undefined } {
  const raw = editHeaders(head, edits);
  return { raw, neverIndexed: keepNeverIndexed(head.raw, positions, raw, edits.secrets) };
}

/** A name is judged with `-` for `_` as well: servers that make variables of names see no difference. */
const isTakenOut = (name: string, { isRemoved }: HeaderEdits): boolean =>
  isRemoved(name) || (name.includes('_') && isRemoved(name.replaceAll('_', '-')));

/**
 * Fields that came never-indexed stay so on their way (RFC 7541 §7.1.3), wherever the editing has put them.
 * @param positions of fields in `received`. @param secrets names that are never indexed either.
 * @returns those of the same names in `sent`.
 */
export function keepNeverIndexed(
  received: RawHeaders,
  positions: readonly number[] | undefined,
  sent: RawHeaders,
  secrets?: readonly string[],
): readonly number[] | undefined {
  if (positions === undefined && secrets === undefined) return undefined;
  const names = new Set(positions?.map((position) => received[2 * position]));
  for (const name of secrets ?? []) names.add(name);
  const kept: number[] = [];
  for (let at = 0; at + 1 < sent.length; at += 2) {
    if (names.has(sent[at])) kept.push(at / 2);
  }
  return kept;
}
