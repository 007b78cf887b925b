// What heads of HTTP/1 requests and answers have in common: limits, where a head ends, framing, connection options.
import { parseContentLength } from './content-length.ts';
import { FieldKind, isTokenCode, type FieldBlock } from './h1-fields.ts';

export interface HeadLimits {
  /** A longer request line is answered 414. */
  readonly requestLineBytes: number;
  /** A longer head is answered 431. */
  readonly headBytes: number;
  /** More fields are answered 431. */
  readonly fields: number;
}

/** What Envoy and Node take by default is 60 KiB and 16 KiB; cookies of single sign-on need the room. */
export const DEFAULT_HEAD_LIMITS: HeadLimits = {
  requestLineBytes: 16_384,
  headBytes: 65_536,
  fields: 128,
};

/** How a body ends. */
export const Framing = { None: 0, Length: 1, Chunked: 2, UntilClose: 3 } as const;

const END_OF_HEAD = Buffer.from('\r\n\r\n');

/** @returns the position behind the head's empty line, or -1. */
export function findHeadEnd(bytes: Buffer, from: number): number {
  const at = bytes.indexOf(END_OF_HEAD, from);
  return at === -1 ? -1 : at + 4;
}

/**
 * Whether bytes that are no whole head yet can still become one: a peer that speaks something else is told at once,
 * not after a timeout.
 * @returns a reason code, or ''.
 */
export function partialHeadProblem(bytes: Buffer, from: number, to: number): string {
  for (let at = from; at < to; at++) {
    const code = bytes[at] ?? 0;
    if (code === 0x0a) {
      if (at > 0 && bytes[at - 1] !== 0x0d) return 'bare-lf';
    } else if (code === 0x0d) {
      if (at + 1 < to && bytes[at + 1] !== 0x0a) return 'bare-cr';
    } else if ((code < 0x20 && code !== 0x09) || code === 0x7f) return 'not-http';
  }
  return '';
}

/** What the fields of one head say of its framing and connection; read once for each head. */
export interface HeadFacts {
  framing: number;
  contentLength: number;
  /** -1: none. */
  hostIndex: number;
  upgradeIndex: number;
  expectIndex: number;
  hasClose: boolean;
  hasKeepAlive: boolean;
  hasUpgradeOption: boolean;
  /** Fields that `Connection` names besides the well-known options, in lower case. */
  nominated: string[] | undefined;
  /** Whether any field is one of this hop alone, so that the head cannot pass as it came. */
  hasHopFields: boolean;
}

export const createHeadFacts = (): HeadFacts => ({
  framing: Framing.None,
  contentLength: 0,
  hostIndex: -1,
  upgradeIndex: -1,
  expectIndex: -1,
  hasClose: false,
  hasKeepAlive: false,
  hasUpgradeOption: false,
  nominated: undefined,
  hasHopFields: false,
});

/**
 * Fields that no peer may have taken out by naming them in `Connection`: framing, routing, identity, credentials.
 * (Envoy and Go proxies have let clients remove forwarded identities so.)
 */
const PROTECTED: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'content-encoding',
  'transfer-encoding',
  'expect',
  'connection',
  'authorization',
  'cookie',
  'forwarded',
  'x-real-ip',
  'x-request-id',
  'traceparent',
]);
const PROTECTED_PREFIXES = ['x-forwarded-', 'x-weft-', 'x-envoy-'] as const;

const isProtected = (name: string): boolean =>
  PROTECTED.has(name) || PROTECTED_PREFIXES.some((prefix) => name.startsWith(prefix));

/**
 * Reads framing and connection options out of `block`.
 * - a second `Content-Length` or `Transfer-Encoding` is refused, whatever it says, and so are both together
 * - the only coding is `chunked`
 * @returns a reason code, or ''.
 */
export function readFacts(block: FieldBlock, facts: HeadFacts): string {
  facts.framing = Framing.None;
  facts.contentLength = 0;
  facts.hostIndex = -1;
  facts.upgradeIndex = -1;
  facts.expectIndex = -1;
  facts.hasClose = false;
  facts.hasKeepAlive = false;
  facts.hasUpgradeOption = false;
  facts.nominated = undefined;
  facts.hasHopFields = false;
  for (let index = 0; index < block.count; index++) {
    const kind = block.kind(index);
    if (kind === FieldKind.Other) continue;
    const problem = readKnownField(block, index, kind, facts);
    if (problem !== '') return problem;
  }
  return '';
}

function readKnownField(block: FieldBlock, index: number, kind: number, facts: HeadFacts): string {
  switch (kind) {
    case FieldKind.Host:
      if (facts.hostIndex !== -1) return 'two-hosts';
      facts.hostIndex = index;
      return '';
    case FieldKind.ContentLength:
      if (facts.framing === Framing.Length) return 'two-content-lengths';
      if (facts.framing === Framing.Chunked) return 'content-length-and-transfer-encoding';
      facts.contentLength = parseContentLength(block.value(index));
      if (facts.contentLength === -1 || block.hasTab(index)) return 'content-length-bad';
      facts.framing = Framing.Length;
      return '';
    case FieldKind.TransferEncoding:
      if (facts.framing === Framing.Length) return 'content-length-and-transfer-encoding';
      if (facts.framing === Framing.Chunked) return 'two-transfer-encodings';
      /** Behind `chunked`, a tab makes Node's parser read another coding. */
      if (block.value(index).toLowerCase() !== 'chunked' || block.hasTab(index)) {
        return 'transfer-encoding-unknown';
      }
      facts.framing = Framing.Chunked;
      return '';
    case FieldKind.Connection:
      facts.hasHopFields = true;
      return readConnectionOptions(block.value(index), facts);
    case FieldKind.Upgrade:
      facts.hasHopFields = true;
      /** Of two, neither is understood: `upgradeToken()` compares the whole value. */
      facts.upgradeIndex = facts.upgradeIndex === -1 ? index : block.count;
      return '';
    case FieldKind.Expect:
      if (facts.expectIndex !== -1) return 'two-expects';
      facts.expectIndex = index;
      return '';
    default:
      facts.hasHopFields = true;
      return '';
  }
}

function readConnectionOptions(value: string, facts: HeadFacts): string {
  const lower = value.toLowerCase();
  if (lower === 'keep-alive') {
    facts.hasKeepAlive = true;
    return '';
  }
  for (const part of lower.split(',')) {
    const option = part.trim();
    if (option === '') continue;
    if (option === 'close') facts.hasClose = true;
    else if (option === 'keep-alive') facts.hasKeepAlive = true;
    else if (option === 'upgrade') facts.hasUpgradeOption = true;
    else if (!isToken(option)) return 'connection-option-bad';
    else if (isProtected(option)) return 'connection-names-protected-field';
    else (facts.nominated ??= []).push(option);
  }
  return '';
}

function isToken(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (!isTokenCode(text.charCodeAt(at))) return false;
  return text.length > 0;
}
