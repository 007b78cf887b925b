// Reads one HTTP/1 answer's head from bytes, and how its body ends (RFC 9112 §6.3).
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

const REASON_START = 'HTTP/1.1 200'.length;

/** One answer's head; `read` overwrites it with the next. */
export class Http1ResponseHead {
  status = 0;
  isHttp10 = false;
  readonly block = new FieldBlock();
  readonly facts: HeadFacts = createHeadFacts();
  /** Why `read` refused. */
  reasonCode = '';

  get text(): string {
    return this.block.text;
  }

  /** Whether the connection can carry another exchange, as far as the head says. */
  get isKeepAlive(): boolean {
    if (this.facts.framing === Framing.UntilClose || this.facts.hasClose) return false;
    return !this.isHttp10 || this.facts.hasKeepAlive;
  }

  /** @returns as `Http1RequestHead.read`. */
  read(
    bytes: Buffer,
    start: number,
    scanFrom: number,
    options: { readonly limits: HeadLimits; readonly isHead: boolean },
  ): number {
    const { limits } = options;
    const end = findHeadEnd(bytes, scanFrom);
    if (end === -1) {
      if (bytes.length - start > limits.headBytes) return this.#refuse('head-too-large');
      const problem = partialHeadProblem(bytes, Math.max(start, scanFrom), bytes.length);
      return problem === '' ? 0 : this.#refuse(problem);
    }
    if (end - start > limits.headBytes) return this.#refuse('head-too-large');
    const problem = this.#readText(bytes.toString('latin1', start, end), limits);
    if (problem !== '') return this.#refuse(problem);
    return this.#settleFraming(options.isHead) ? end : this.#refuse('chunked-in-http10');
  }

  #refuse(reasonCode: string): -1 {
    this.reasonCode = reasonCode;
    return -1;
  }

  #readText(text: string, limits: HeadLimits): string {
    if (text.startsWith('HTTP/1.1 ')) this.isHttp10 = false;
    else if (text.startsWith('HTTP/1.0 ')) this.isHttp10 = true;
    else return 'status-line-bad';
    const hundreds = text.charCodeAt(9) - 0x30;
    const tens = text.charCodeAt(10) - 0x30;
    const ones = text.charCodeAt(11) - 0x30;
    if (hundreds < 1 || hundreds > 5 || tens < 0 || tens > 9 || ones < 0 || ones > 9) {
      return 'status-line-bad';
    }
    this.status = hundreds * 100 + tens * 10 + ones;
    let at = REASON_START;
    let code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0d) return 'status-line-bad';
    while (code === 0x09 || (code >= 0x20 && code !== 0x7f)) code = text.charCodeAt(++at);
    if (code !== 0x0d || text.charCodeAt(at + 1) !== 0x0a) return 'status-line-bad';
    return this.block.read(text, at + 2, limits.fields) || readFacts(this.block, this.facts);
  }

  /** @returns whether the framing is one that this version has. */
  #settleFraming(isHead: boolean): boolean {
    const { facts, status } = this;
    if (facts.framing === Framing.Chunked && this.isHttp10) return false;
    if (isHead || status < 200 || status === 204 || status === 304) facts.framing = Framing.None;
    else if (facts.framing === Framing.None) facts.framing = Framing.UntilClose;
    return true;
  }
}
