// Reads a TLS ClientHello from a connection's first bytes: which server name and which protocols it offers.

/** 16 KiB: RFC 8446 §5.1 allows no longer plaintext record; a ClientHello beyond it is refused. */
export const MAX_CLIENT_HELLO_BYTES = 16_384;
/** More names than any client sends; the bound keeps one hostile hello cheap. */
const MAX_ALPN_NAMES = 32;

export interface ClientHello {
  /** Lower case; absent when the client sent no `server_name`. */
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
}

export type ClientHelloResult =
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  /** Begins like TLS, more bytes are needed. */
  | { readonly kind: 'incomplete' }
  /** Not TLS at all. */
  | { readonly kind: 'other' }
  /** Begins like TLS and is malformed: the connection is to be closed. */
  | { readonly kind: 'malformed'; readonly reason: string };

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME_EXTENSION = 0;
const ALPN_EXTENSION = 16;
const OTHER: ClientHelloResult = { kind: 'other' };
const INCOMPLETE: ClientHelloResult = { kind: 'incomplete' };

/** Thrown inside this file only: a length that points outside its parent. */
class Truncated extends Error {}

/** A cursor over one length-delimited part; every read is bounds-checked. */
class Reader {
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  take(length: number): Reader {
    const start = this.#at;
    if (start + length > this.#end) throw new Truncated();
    this.#at = start + length;
    return new Reader(this.#bytes, start, start + length);
  }

  uint(size: number): number {
    if (this.#at + size > this.#end) throw new Truncated();
    const value = this.#bytes.readUIntBE(this.#at, size);
    this.#at += size;
    return value;
  }

  text(): string {
    return this.#bytes.toString('latin1', this.#at, this.#end);
  }
}

/**
 * Reads the first bytes of a connection. A hello that is split over several records is put together.
 * Never throws; never looks at more than `MAX_CLIENT_HELLO_BYTES`.
 * Source: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3 (server_name), RFC 7301 §3.1 (ALPN).
 */
export function parseClientHello(bytes: Buffer): ClientHelloResult {
  if (bytes.length === 0) return INCOMPLETE;
  if (bytes[0] !== HANDSHAKE_RECORD) return OTHER;
  if (bytes.length >= 2 && bytes[1] !== 3) return OTHER;
  if (bytes.length >= 3 && (bytes[2] ?? 0) > 4) return OTHER;
  const message = joinRecords(bytes);
  if (message.kind !== 'joined') return message.result;
  try {
    return { kind: 'hello', hello: readHello(new Reader(message.body, 4, message.body.length)) };
  } catch (error) {
    if (error instanceof Truncated) return { kind: 'malformed', reason: 'lengths do not fit' };
    throw error;
  }
}

type Joined =
  | { readonly kind: 'joined'; readonly body: Buffer }
  | { readonly kind: 'not-yet'; readonly result: ClientHelloResult };

const malformed = (reason: string): Joined => ({
  kind: 'not-yet',
  result: { kind: 'malformed', reason },
});

/** Puts the handshake message together from its records, without their headers. */
function joinRecords(bytes: Buffer): Joined {
  const parts: Buffer[] = [];
  let have = 0;
  let at = 0;
  for (;;) {
    if (at + 5 > bytes.length) break;
    if (bytes[at] !== HANDSHAKE_RECORD) return malformed('another record inside the hello');
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0) return malformed('an empty handshake record');
    const part = bytes.subarray(at + 5, Math.min(at + 5 + length, bytes.length));
    parts.push(part);
    have += part.length;
    if (have >= 1 && parts[0]?.[0] !== CLIENT_HELLO) return malformed('not a ClientHello');
    if (have >= 4) {
      const head = parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
      const wanted = 4 + head.readUIntBE(1, 3);
      if (wanted > MAX_CLIENT_HELLO_BYTES) return malformed(`a hello of ${wanted} bytes`);
      if (have >= wanted) return { kind: 'joined', body: head.subarray(0, wanted) };
    }
    at += 5 + length;
  }
  if (bytes.length > MAX_CLIENT_HELLO_BYTES * 2)
    return malformed('more records than a hello needs');
  return { kind: 'not-yet', result: INCOMPLETE };
}

function readHello(reader: Reader): ClientHello {
  reader.take(2 + 32);
  reader.take(reader.uint(1));
  reader.take(reader.uint(2));
  reader.take(reader.uint(1));
  let serverName: string | undefined;
  let alpn: readonly string[] = [];
  if (!reader.isAtEnd) {
    const extensions = reader.take(reader.uint(2));
    while (!extensions.isAtEnd) {
      const type = extensions.uint(2);
      const body = extensions.take(extensions.uint(2));
      if (type === SERVER_NAME_EXTENSION) serverName = readServerName(body);
      else if (type === ALPN_EXTENSION) alpn = readAlpn(body);
    }
  }
  return { serverName, alpn };
}

function readServerName(reader: Reader): string | undefined {
  const list = reader.take(reader.uint(2));
  while (!list.isAtEnd) {
    const type = list.uint(1);
    const name = list.take(list.uint(2)).text();
    if (type === 0 && name.length > 0) return name.toLowerCase();
  }
  return undefined;
}

function readAlpn(reader: Reader): readonly string[] {
  const list = reader.take(reader.uint(2));
  const names: string[] = [];
  while (!list.isAtEnd && names.length < MAX_ALPN_NAMES) names.push(list.take(list.uint(1)).text());
  return names;
}
