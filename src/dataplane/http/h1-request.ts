// Reads one HTTP/1 request's head from bytes and refuses every form that two parsers might read differently.
import type { RequestHead } from '../filters/connection-facts.ts';
import { FieldBlock } from './h1-fields.ts';
import {
  createHeadFacts,
  findHeadEnd,
  Framing,
  partialHeadProblem,
  readFacts,
  type HeadFacts,
  type HeadLimits,
} from './h1-head.ts';

/** A method is upper case, and no longer than any that is registered. */
const MAX_METHOD_LENGTH = 24;
const VERSION_LENGTH = 'HTTP/1.1'.length;

/** Methods whose request may be sent a second time (RFC 9110 §9.2.2). */
export const IDEMPOTENT: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
]);

/** One request's head; `read` overwrites it with the next. */
export class Http1RequestHead implements RequestHead {
  method = '';
  /** In origin form, as it came, without a fragment. */
  path = '';
  authority = '';
  isHttp10 = false;
  readonly block = new FieldBlock();
  readonly facts: HeadFacts = createHeadFacts();
  /** Why `read` refused. */
  reasonCode = '';
  status = 400;

  header(name: string): readonly string[] | undefined {
    return this.block.values(name);
  }

  *names(): Iterable<string> {
    for (let index = 0; index < this.block.count; index++) yield this.block.lowerName(index);
  }

  /** The whole first line and fields, each byte a character. */
  get text(): string {
    return this.block.text;
  }

  /** Whether the client may send another request after this one. */
  get isKeepAlive(): boolean {
    return !this.isHttp10 && !this.facts.hasClose;
  }

  get hasBody(): boolean {
    return (
      this.facts.framing === Framing.Chunked ||
      (this.facts.framing === Framing.Length && this.facts.contentLength > 0)
    );
  }

  get expectsContinue(): boolean {
    return this.facts.expectIndex !== -1 && !this.isHttp10;
  }

  /** The one protocol that is asked for, in lower case; '' when there is none, or several. */
  get upgradeToken(): string {
    const { upgradeIndex, hasUpgradeOption } = this.facts;
    if (upgradeIndex === -1 || !hasUpgradeOption || this.isHttp10) return '';
    return upgradeIndex < this.block.count ? this.block.value(upgradeIndex).toLowerCase() : '';
  }

  /**
   * @param start where the head begins. @param scanFrom how far the end has been looked for already.
   * @returns the position behind the head; 0 when it is not whole yet; -1 when it is refused
   * (`status`, `reasonCode`).
   */
  read(
    bytes: Buffer,
    start: number,
    scanFrom: number,
    options: { readonly limits: HeadLimits; readonly allowAbsoluteForm: boolean },
  ): number {
    const { limits } = options;
    const end = findHeadEnd(bytes, scanFrom);
    if (end === -1) return this.#checkPartial(bytes, start, scanFrom, limits);
    if (end - start > limits.headBytes) return this.#refuse('head-too-large', 431);
    const text = bytes.toString('latin1', start, end);
    this.block.text = text;
    const problem = this.#readLine(text, limits, options.allowAbsoluteForm);
    return problem === '' ? end : this.#refuse(problem, statusOf(problem));
  }

  #checkPartial(bytes: Buffer, start: number, scanFrom: number, limits: HeadLimits): number {
    const size = bytes.length - start;
    if (size > limits.headBytes) return this.#refuse('head-too-large', 431);
    const problem = partialHeadProblem(bytes, Math.max(start, scanFrom), bytes.length);
    if (problem !== '') return this.#refuse(problem, 400);
    if (size > limits.requestLineBytes && scanFrom <= limits.requestLineBytes + start) {
      const lineEnd = bytes.indexOf(0x0d, start);
      if (lineEnd === -1) return this.#refuse('request-line-too-long', 414);
    }
    return 0;
  }

  #refuse(reasonCode: string, status: number): -1 {
    this.reasonCode = reasonCode;
    this.status = status;
    return -1;
  }

  #readLine(text: string, limits: HeadLimits, allowAbsoluteForm: boolean): string {
    let at = 0;
    let code = text.charCodeAt(0);
    while ((code >= 0x41 && code <= 0x5a) || (code === 0x2d && at > 0))
      code = text.charCodeAt(++at);
    if (code !== 0x20 || at === 0) return at === 0 ? 'request-line-bad' : 'method-bad';
    if (at > MAX_METHOD_LENGTH) return 'method-bad';
    this.method = text.slice(0, at);
    const targetStart = ++at;
    let fragmentAt = -1;
    for (code = text.charCodeAt(at); code > 0x20 && code < 0x7f; code = text.charCodeAt(++at)) {
      if (code === 0x23 && fragmentAt === -1) fragmentAt = at;
    }
    const targetEnd = at;
    if (code !== 0x20) return code === 0x0d ? 'version-missing' : 'target-bad-byte';
    if (targetEnd > limits.requestLineBytes) return 'request-line-too-long';
    const lineEnd = targetEnd + 1 + VERSION_LENGTH;
    if (text.startsWith('HTTP/1.1\r\n', targetEnd + 1)) this.isHttp10 = false;
    else if (text.startsWith('HTTP/1.0\r\n', targetEnd + 1)) this.isHttp10 = true;
    else return 'version-bad';
    const problem =
      this.block.read(text, lineEnd + 2, limits.fields) || readFacts(this.block, this.facts);
    if (problem !== '') return problem;
    /** A fragment is for the client alone (CVE-2021-39156): neither matched nor sent on. */
    const target = text.slice(targetStart, fragmentAt === -1 ? targetEnd : fragmentAt);
    return (
      this.#readAuthority() || this.#readTarget(target, allowAbsoluteForm) || this.#checkFraming()
    );
  }

  #readAuthority(): string {
    const { hostIndex } = this.facts;
    if (hostIndex === -1) {
      this.authority = '';
      return this.isHttp10 ? '' : 'no-host';
    }
    this.authority = this.block.value(hostIndex);
    if (this.authority === '') return this.isHttp10 ? '' : 'no-host';
    return isAuthority(this.authority) ? '' : 'host-bad';
  }

  #readTarget(target: string, allowAbsoluteForm: boolean): string {
    if (this.method === 'CONNECT') return 'connect-refused';
    if (target.charCodeAt(0) === 0x2f) {
      this.path = target;
      return '';
    }
    if (target === '*') {
      this.path = target;
      return this.method === 'OPTIONS' ? '' : 'target-without-slash';
    }
    if (target.slice(0, 7).toLowerCase() !== 'http://') return 'target-without-slash';
    if (!allowAbsoluteForm) return 'absolute-form-refused';
    let end = 7;
    while (end < target.length && target[end] !== '/' && target[end] !== '?') end++;
    const authority = target.slice(7, end);
    if (!isAuthority(authority)) return 'target-authority-bad';
    /** RFC 9112 §3.2.2 lets a proxy ignore Host; whoever sends two different ones is up to no good. */
    if (this.authority !== '' && this.authority.toLowerCase() !== authority.toLowerCase()) {
      return 'host-differs';
    }
    this.authority = authority;
    const rest = target.slice(end);
    this.path = rest.charCodeAt(0) === 0x2f ? rest : `/${rest}`;
    return '';
  }

  #checkFraming(): string {
    const { facts } = this;
    if (this.isHttp10 && facts.framing === Framing.Chunked) return 'chunked-in-http10';
    if (facts.expectIndex !== -1 && !this.isHttp10) {
      const expected = this.block.value(facts.expectIndex).toLowerCase();
      if (expected !== '100-continue') return 'expectation-unknown';
    }
    return '';
  }
}

function statusOf(reasonCode: string): number {
  switch (reasonCode) {
    case 'too-many-fields':
      return 431;
    case 'request-line-too-long':
      return 414;
    case 'connect-refused':
      return 405;
    case 'expectation-unknown':
      return 417;
    default:
      return 400;
  }
}

const HOST_PUNCTUATION = "-._~%!$&'()*+;=:[]";

/**
 * Whether `text` is a host with an optional port. User information, commas and anything that a URL parser would
 * stop at are not part of one.
 */
function isAuthority(text: string): boolean {
  let closing = -1;
  let colon = -1;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isAlphanumeric =
      (code >= 0x30 && code <= 0x39) || ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a);
    if (isAlphanumeric) continue;
    if (code === 0x5d) {
      if (closing !== -1 || text.charCodeAt(0) !== 0x5b) return false;
      closing = at;
    } else if (code === 0x5b) {
      if (at !== 0) return false;
    } else if (code === 0x3a) {
      if (text.charCodeAt(0) === 0x5b && closing === -1) continue;
      if (colon !== -1) return false;
      colon = at;
    } else if (!HOST_PUNCTUATION.includes(String.fromCharCode(code))) return false;
  }
  if (text.charCodeAt(0) === 0x5b && closing === -1) return false;
  if (closing !== -1 && closing !== text.length - 1 && colon !== closing + 1) return false;
  return colon === -1 ? text.length > 0 : colon > 0 && isPort(text, colon + 1);
}

function isPort(text: string, from: number): boolean {
  if (from === text.length || text.length - from > 5) return false;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}
