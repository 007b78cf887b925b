// A request's body on its way: what of the bytes in hand belongs to it, and what of it may be sent on.
import { Body } from './h1-body.ts';
import { writeTrailers } from './h1-edit.ts';
import type { Input } from './h1-input.ts';
import type { Http1RequestHead } from './h1-request.ts';

/** A piece of a request's body. */
export interface BodyPart {
  /** `undefined`: none. */
  readonly bytes: Buffer | undefined;
  /** What follows the bytes: trailers. */
  readonly tail: string;
  /** Whether nothing follows. */
  readonly isLast: boolean;
}

const NO_BODY: BodyPart = { bytes: undefined, tail: '', isLast: true };

/** What is read of a body that nobody wants, so that the connection can be used again. */
const DISCARD_LIMIT_BYTES = 65_536;

export class RequestBody {
  readonly #input: Input;
  readonly #body = new Body();
  #discarded = 0;
  bytesReceived = 0;
  /** Why the body cannot be read; '' when all is well. */
  reasonCode = '';

  constructor(input: Input) {
    this.#input = input;
  }

  begin(head: Http1RequestHead): void {
    this.#body.begin(head.facts.framing, head.facts.contentLength);
    this.#discarded = 0;
    this.bytesReceived = 0;
    this.reasonCode = '';
  }

  /** There is none, or none that could be read. */
  beginWithout(): void {
    this.#body.begin(0, 0);
    this.bytesReceived = 0;
    this.reasonCode = '';
  }

  /** Of what the client means to send: without the framing of chunks. */
  get dataBytes(): number {
    return this.#body.isChunked ? this.#body.chunkedBytes : this.bytesReceived;
  }

  get isDone(): boolean {
    return this.#body.isDone;
  }

  /** Whether what is still to come is not worth reading just to keep the connection. */
  get isTooLong(): boolean {
    return this.#body.remaining > DISCARD_LIMIT_BYTES || this.#discarded > DISCARD_LIMIT_BYTES;
  }

  /** @returns what is in hand; `undefined` when it is malformed (`reasonCode`). */
  take(isRemoved: (lowerCaseName: string) => boolean): BodyPart | undefined {
    const body = this.#body;
    if (body.isDone) return NO_BODY;
    const input = this.#input;
    const start = input.at;
    const { bytes } = input;
    if (!input.isEmpty) input.at = body.consume(bytes, start);
    this.bytesReceived += input.at - start;
    this.reasonCode = body.reasonCode;
    let tail: string | undefined = '';
    if (this.reasonCode === '' && body.isDone && body.trailerText !== '') {
      tail = writeTrailers(body.trailerText, isRemoved);
      if (tail === undefined) this.reasonCode = 'trailers-bad';
    }
    if (this.reasonCode !== '' || tail === undefined) return undefined;
    const hasBytes = input.at > start && body.passEnd > start;
    const part = hasBytes ? bytes.subarray(start, body.passEnd) : undefined;
    return { bytes: part, tail, isLast: body.isDone };
  }

  /** Throws away what is in hand. */
  skip(): void {
    const input = this.#input;
    if (input.isEmpty || this.#body.isDone) return;
    const start = input.at;
    input.at = this.#body.consume(input.bytes, start);
    this.#discarded += input.at - start;
    this.reasonCode = this.#body.reasonCode;
  }
}
