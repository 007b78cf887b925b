// Writes the heads that are sent on: what came, without the fields of one hop, with the caller's edits.
import type { AnswerHeaders } from '../routes/answer-headers.ts';
import { FieldBlock, FieldKind } from './h1-fields.ts';
import { Framing, readFacts, createHeadFacts } from './h1-head.ts';
import type { Http1RequestHead } from './h1-request.ts';
import type { Http1ResponseHead } from './h1-response.ts';

export interface Http1Edits {
  /** What is sent on; the head's own path when nothing changed. */
  readonly target: string;
  /** Besides the fields of one hop, which are taken out anyway. */
  readonly isRemoved: (lowerCaseName: string) => boolean;
  /** `[name, value, …]`. */
  readonly added: readonly string[];
  /** In place of the host that came; absent: that one. */
  readonly authority?: string | undefined;
}

/** @param upgrade the protocol that is asked for upstream; '' for none. */
export function writeRequestHead(
  head: Http1RequestHead,
  edits: Http1Edits,
  upgrade: string,
): string {
  const { block, facts, text } = head;
  let out = `${head.method} ${edits.target} HTTP/1.1\r\n`;
  let keptFrom = block.count === 0 ? text.length - 2 : block.lineStart(0);
  for (let index = 0; index < block.count; index++) {
    if (isRequestFieldKept(head, index, edits)) continue;
    out += text.slice(keptFrom, block.lineStart(index));
    keptFrom = block.lineEnd(index);
  }
  out += text.slice(keptFrom, text.length - 2);
  /** What HTTP/1.0 may leave out, HTTP/1.1 may not. */
  const { authority } = edits;
  if (authority !== undefined) out += `host: ${authority}\r\n`;
  else if (facts.hostIndex === -1) out += `host: ${head.authority}\r\n`;
  if (facts.framing === Framing.Chunked) out += 'transfer-encoding: chunked\r\n';
  if (upgrade !== '') out += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`;
  for (let at = 0; at + 1 < edits.added.length; at += 2) {
    out += `${edits.added[at]}: ${edits.added[at + 1]}\r\n`;
  }
  return `${out}\r\n`;
}

function isRequestFieldKept(head: Http1RequestHead, index: number, edits: Http1Edits): boolean {
  const { block } = head;
  switch (block.kind(index)) {
    case FieldKind.Other:
      return !isTakenOut(block, block.lowerName(index), head.facts.nominated, edits.isRemoved);
    case FieldKind.Host:
      return edits.authority === undefined;
    case FieldKind.ContentLength:
      return true;
    case FieldKind.Expect:
      return head.expectsContinue && head.hasBody;
    case FieldKind.Te:
      return block.value(index).toLowerCase() === 'trailers';
    default:
      return false;
  }
}

/** A name is judged with `-` for `_` as well: servers that make variables of names see no difference. */
function isTakenOut(
  block: FieldBlock,
  name: string,
  nominated: readonly string[] | undefined,
  isRemoved: (lowerCaseName: string) => boolean,
): boolean {
  if (isRemoved(name) || nominated?.includes(name) === true) return true;
  return block.hasUnderscore && name.includes('_') && isRemoved(name.replaceAll('_', '-'));
}

export interface ResponseEdits {
  readonly isClosing: boolean;
  /** Whether the receiver knows no chunks. */
  readonly isUnchunked: boolean;
  /** Whether a body that ends with its connection is put into chunks. */
  readonly isRechunked: boolean;
  /** What routes change besides; absent: nothing. */
  readonly headers?: AnswerHeaders | undefined;
}

/** Nothing but the fields of one hop changes. */
export const UNEDITED: ResponseEdits = { isClosing: false, isUnchunked: false, isRechunked: false };

/** @returns the head to send; the very text that came when nothing in it is of one hop. */
export function writeResponseHead(head: Http1ResponseHead, edits: ResponseEdits): string {
  const { block, facts, text, status } = head;
  const hasNoBody = status < 200 || status === 204;
  const isAsCame =
    !edits.isClosing &&
    !edits.isUnchunked &&
    !edits.isRechunked &&
    edits.headers === undefined &&
    !head.isHttp10 &&
    !hasNoBody &&
    !facts.hasHopFields;
  if (isAsCame) return text;
  const isUpgraded = status === 101;
  const lineEnd = block.count === 0 ? text.length - 2 : block.lineStart(0);
  let out = head.isHttp10 ? `HTTP/1.1${text.slice(8, lineEnd)}` : text.slice(0, lineEnd);
  let keptFrom = lineEnd;
  for (let index = 0; index < block.count; index++) {
    if (isResponseFieldKept(head, index, hasNoBody, edits)) continue;
    out += text.slice(keptFrom, block.lineStart(index));
    keptFrom = block.lineEnd(index);
  }
  out += text.slice(keptFrom, text.length - 2);
  if (edits.isRechunked) out += 'transfer-encoding: chunked\r\n';
  const added = edits.headers?.added ?? NOTHING_ADDED;
  for (let at = 0; at + 1 < added.length; at += 2) out += `${added[at]}: ${added[at + 1]}\r\n`;
  if (isUpgraded) out += 'connection: upgrade\r\n';
  else if (edits.isClosing) out += 'connection: close\r\n';
  return `${out}\r\n`;
}

function isResponseFieldKept(
  head: Http1ResponseHead,
  index: number,
  hasNoBody: boolean,
  edits: ResponseEdits,
): boolean {
  const { block, facts } = head;
  switch (block.kind(index)) {
    case FieldKind.Connection:
    case FieldKind.HopByHop:
      return false;
    case FieldKind.TransferEncoding:
      return !hasNoBody && !edits.isUnchunked;
    case FieldKind.ContentLength:
      return !hasNoBody;
    case FieldKind.Upgrade:
      return head.status === 101;
    default:
      if (edits.headers?.isRemoved(block.lowerName(index)) === true) return false;
      return facts.nominated === undefined || !facts.nominated.includes(block.lowerName(index));
  }
}

const NOTHING_ADDED: readonly string[] = [];

const MAX_TRAILERS = 32;
const NEVER_TRAILERS: ReadonlySet<string> = new Set([
  'authorization',
  'content-encoding',
  'content-type',
  'content-range',
  'cookie',
  'set-cookie',
  'trailer',
  'cache-control',
  'proxy-authorization',
]);

/**
 * A trailer section without the fields that mean something only in a head (RFC 9110 §6.5.1): a receiver that merges
 * trailers into headers must not be told an identity or a length in this way.
 * @returns the section with the empty line that ends it, or `undefined` when it is malformed.
 */
export function writeTrailers(
  text: string,
  isRemoved: (lowerCaseName: string) => boolean,
): string | undefined {
  const block = new FieldBlock();
  if (block.read(text, 0, MAX_TRAILERS) !== '') return undefined;
  if (readFacts(block, createHeadFacts()) !== '') return undefined;
  let out = '';
  for (let index = 0; index < block.count; index++) {
    if (block.kind(index) !== FieldKind.Other) continue;
    const name = block.lowerName(index);
    if (NEVER_TRAILERS.has(name) || isTakenOut(block, name, undefined, isRemoved)) continue;
    out += text.slice(block.lineStart(index), block.lineEnd(index));
  }
  return `${out}\r\n`;
}
