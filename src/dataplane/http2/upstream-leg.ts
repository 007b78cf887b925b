// One attempt to have a request answered: its stream at an upstream, and the answer as far as it has come and is well-formed.
import { ERROR } from './frames.ts';
import type { H2Connection } from './h2-connection.ts';
import type { Fields, H2Stream, ReceivedFields, StreamUser } from './h2-stream.ts';
import { contentLengthOf, responseFlaw, trailersFlaw } from './header-rules.ts';

/** Who asked. */
export interface LegOwner {
  /** The answer to this method has no body, whatever its head says. */
  readonly isHeadRequest: boolean;
  onInformational(fields: Fields): void;
  onAnswer(status: number, fields: Fields, isEnd: boolean): void;
  onAnswerData(slice: Buffer, isEnd: boolean): void;
  onAnswerTrailers(fields: Fields): void;
  /** So much of the request has left, counted from its beginning. */
  onRequestSent(bytes: number): void;
  /** The answer is none that may be passed on; the stream has been reset. */
  onBadAnswer(reasonCode: string): void;
  /** @param isComplete whether the answer has come to its end. */
  onLegClose(code: number, isComplete: boolean): void;
}

export class UpstreamLeg implements StreamUser {
  readonly #owner: LegOwner;
  readonly stream: H2Stream;
  #sentBytes = 0;
  #hasAnswer = false;
  #isLet = false;
  /** What the head promised; `undefined`: any number. */
  #expectedBytes: number | undefined;
  #receivedBytes = 0;

  constructor(owner: LegOwner, connection: H2Connection, fields: Fields, isEnd: boolean) {
    this.#owner = owner;
    this.stream = connection.open(this, fields, isEnd);
  }

  /** Nobody wants the answer any more. */
  abandon(code: number): void {
    this.#isLet = true;
    const { stream } = this;
    /** What was received of it is not going anywhere. */
    stream.credit(stream.held);
    if (!(stream.isLocalEnded && stream.isRemoteEnded)) stream.reset(code);
  }

  onHead(_stream: H2Stream, fields: ReceivedFields, isEnd: boolean): void {
    if (fields.isTooLarge) this.#refuse('upstream-head-too-large');
    else if (this.#hasAnswer) this.#takeTrailers(fields, isEnd);
    else this.#takeAnswer(fields, isEnd);
  }

  #takeAnswer(fields: ReceivedFields, isEnd: boolean): void {
    if (responseFlaw(fields) !== undefined) {
      this.#refuse(MALFORMED);
      return;
    }
    const status = Number(fields.raw[1]);
    if (status < 200) {
      /** No answer ends before it has begun (RFC 9113 §8.1). */
      if (isEnd) this.#refuse(MALFORMED);
      else this.#owner.onInformational(fields);
      return;
    }
    this.#hasAnswer = true;
    const isBodiless = this.#owner.isHeadRequest || status === 204 || status === 304;
    this.#expectedBytes = isBodiless ? 0 : contentLengthOf(fields);
    if (isEnd && !isBodiless && !this.#isLengthRight(true)) this.#refuse(MALFORMED);
    else this.#owner.onAnswer(status, fields, isEnd);
  }

  #takeTrailers(fields: ReceivedFields, isEnd: boolean): void {
    const isGood = isEnd && trailersFlaw(fields) === undefined && this.#isLengthRight(true);
    if (isGood) this.#owner.onAnswerTrailers(fields);
    else this.#refuse(MALFORMED);
  }

  onData(stream: H2Stream, slice: Buffer, isEnd: boolean): void {
    if (this.#isLet) {
      stream.credit(slice.length);
      return;
    }
    this.#receivedBytes += slice.length;
    if (this.#hasAnswer && this.#isLengthRight(isEnd)) this.#owner.onAnswerData(slice, isEnd);
    else this.#refuse(MALFORMED);
  }

  #isLengthRight(isEnd: boolean): boolean {
    const expected = this.#expectedBytes;
    if (expected === undefined) return true;
    return isEnd ? this.#receivedBytes === expected : this.#receivedBytes <= expected;
  }

  #refuse(reasonCode: string): void {
    if (this.#isLet) return;
    this.abandon(ERROR.protocol);
    this.#owner.onBadAnswer(reasonCode);
  }

  onSent(_stream: H2Stream, bytes: number): void {
    this.#sentBytes += bytes;
    if (!this.#isLet) this.#owner.onRequestSent(this.#sentBytes);
  }

  onClose(stream: H2Stream, code: number): void {
    if (this.#isLet) return;
    this.#isLet = true;
    this.#owner.onLegClose(code, stream.isRemoteEnded);
  }
}

const MALFORMED = 'upstream-malformed';
