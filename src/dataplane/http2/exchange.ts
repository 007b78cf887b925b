// One request of an HTTP/2 client and its answer: judged, passed on to an upstream stream, and again to another when that one refuses.
import { answerOf, grpcStatusIn, isGrpc } from './answer-headers.ts';
import { ByteQueue } from './byte-queue.ts';
import { ERROR } from './frames.ts';
import type { H2Connection } from './h2-connection.ts';
import type { Fields, H2Stream, ReceivedFields, StreamUser } from './h2-stream.ts';
import { editFields, type Http2RequestHead } from './header-list.ts';
import { contentLengthOf, trailersFlaw } from './header-rules.ts';
import type { Http2Action, Http2Answer, Http2Completion } from './http2-contract.ts';
import { settleAction } from './later-action.ts';
import { Http2Extras } from '../routes/http2-extras.ts';
import { BodyGuard, statusOfBadBody } from '../traffic/body-limits.ts';
import { Retries, type AttemptEnd } from '../upstream/retries.ts';
import { UpstreamLeg, type LegOwner } from './upstream-leg.ts';
import { UpstreamChoice } from './upstream-choice.ts';
import type { ConnectionWaiter } from './upstream-sessions.ts';

/** The downstream connection. */
export interface ExchangeHost {
  /** Whether the client is a sidecar, which sends elsewhere what is refused. */
  readonly refusesUndelivered: boolean;
  isStillAllowed(head: Http2RequestHead): boolean | Promise<boolean>;
  refuseMalformed(stream: H2Stream): void;
  onComplete(completion: Http2Completion): void;
}

type Forward = Extract<Http2Action, { readonly kind: 'forward' }>;

/** 64 KiB: what a peer that says nothing lets a stream send before it answers. Longer bodies are not sent twice. */
const MAX_KEPT_BYTES = 65_536;

export class Exchange implements StreamUser, LegOwner, ConnectionWaiter {
  readonly stream: H2Stream;
  readonly head: Http2RequestHead | undefined;
  readonly #host: ExchangeHost;
  readonly #startedAt = performance.now();
  readonly #expectedBytes: number | undefined;
  readonly #neverIndexed: readonly number[] | undefined;
  #status = 0;
  #grpcStatus: string | undefined;
  #bytesReceived = 0;
  #bytesSent = 0;
  #reasonCode = '';
  // The request, as far as it has come.
  /** What waits for an upstream, or is kept for another one. */
  #body: ByteQueue | undefined;
  #isKeeping = true;
  #isBodyEnded: boolean;
  #trailers: Fields | undefined;
  #guard: BodyGuard | undefined;
  #extras: Http2Extras | undefined;
  /** Nobody wants the rest of the request. */
  #isDropping = false;
  /** Of what was sent on, in whichever attempt got furthest. */
  #creditedBytes = 0;
  // Where it goes.
  #forward: Forward | undefined;
  #fields: Fields | undefined;
  #leg: UpstreamLeg | undefined;
  #choice: UpstreamChoice | undefined;
  #isWaiting = false;
  /** Absent where the route asks for none. */
  #retries: Retries | undefined;
  /** Before the next attempt. */
  #pause: Disposable | undefined;

  /** @param head absent where it cannot be served. @param fields without a flaw. */
  constructor(
    host: ExchangeHost,
    stream: H2Stream,
    request: { readonly head: Http2RequestHead | undefined; readonly fields: ReceivedFields },
  ) {
    const { head, fields } = request;
    this.#host = host;
    this.stream = stream;
    this.head = head;
    this.#isBodyEnded = stream.isRemoteEnded;
    this.#expectedBytes = head === undefined ? undefined : contentLengthOf(fields);
    this.#neverIndexed = fields.neverIndexed;
    stream.user = this;
  }

  get isHeadRequest(): boolean {
    return this.head?.method === 'HEAD';
  }

  /** Whether it is under way to an upstream. */
  get isForwarded(): boolean {
    return this.#forward !== undefined;
  }

  /** Refuses it as malformed: there is no answer to it. */
  refuse(reasonCode: string): void {
    this.#reasonCode = reasonCode;
    this.#host.refuseMalformed(this.stream);
  }

  /** Ends it because it is not allowed any more. */
  cut(): void {
    this.stream.reset(ERROR.cancel);
  }

  act(action: Http2Action): void {
    const { head } = this;
    if (action.kind === 'respond') {
      this.respond(action);
      return;
    }
    if (head === undefined) return;
    this.#forward = action;
    this.#fields = editFields(head, this.#neverIndexed, action.edits);
    const { retry, body } = action;
    if (body && !this.#isBodyEnded) this.#guard = new BodyGuard(body, this.#onBadBody);
    if (this.#guard?.isWithin(this.#bytesReceived) === false) return;
    if (action.extras !== undefined) {
      const sofar = { body: this.#body, trailers: this.#trailers, isBodyEnded: this.#isBodyEnded };
      this.#extras = new Http2Extras(action.extras, { fields: this.#fields, ...sofar, of: this });
    }
    if (retry !== undefined) this.#retries = new Retries(retry, head.method, isGrpc(head));
    this.#choice = new UpstreamChoice(action.upstream, action.hash, retry !== undefined);
    this.#next();
  }

  /** Until it is decided nothing of the body goes on: flow control holds the client back. */
  async actLater(pending: Promise<Http2Action>): Promise<void> {
    const { head } = this;
    const isAllowed = () => head === undefined || this.#host.isStillAllowed(head);
    const action = await settleAction(pending, isAllowed);
    if (!this.stream.isClosed) this.act(action);
  }

  /** Answers it here. */
  respond(answer: Omit<Http2Answer, 'kind'>): void {
    const { stream } = this;
    this.#reasonCode = answer.reasonCode;
    this.#drop();
    if (stream.isClosed) return;
    if (this.#status !== 0) {
      stream.reset(ERROR.internal);
      return;
    }
    const { status, grpcStatus, raw, body } = answerOf(answer, isGrpc(this.head));
    this.#status = status;
    this.#grpcStatus = grpcStatus;
    const isBodiless = body.length === 0 || this.isHeadRequest;
    stream.sendHead({ raw, neverIndexed: undefined }, isBodiless);
    if (!isBodiless) stream.sendData(Buffer.from(body), true);
    /** The answer is whole: the client need not send the rest (RFC 9113 §8.1). */
    if (stream.isLocalEnded) stream.reset(ERROR.none);
  }

  /** What has come of the request and what is still to come goes nowhere. */
  #drop(): void {
    this.#isDropping = true;
    this.#body = undefined;
    this.stream.credit(this.stream.held);
  }

  #next(): void {
    const choice = this.#choice;
    if (choice === undefined) return;
    const sessions = choice.next();
    if (sessions === undefined) {
      this.#giveUp(choice.reasonCode);
      return;
    }
    this.#isWaiting = true;
    sessions.take(this);
  }

  #giveUp(reasonCode: string): void {
    if (this.#host.refusesUndelivered) {
      /** Nothing of it was processed (RFC 9113 §8.7): the client may send it elsewhere, whatever its method. */
      this.#status = 503;
      this.#reasonCode = reasonCode;
      this.stream.reset(ERROR.refusedStream);
    } else this.#answerUnavailable(503, reasonCode);
  }

  #answerUnavailable(status: number, reasonCode: string): void {
    this.respond({ status, body: `${reasonCode}\n`, reasonCode, headers: [] });
  }

  onNoConnection(): void {
    this.#isWaiting = false;
    this.#choice?.noteUnreachable();
    if (!this.stream.isClosed) this.#next();
  }

  onConnection(connection: H2Connection): void {
    this.#isWaiting = false;
    const fields = this.#fields;
    if (fields === undefined || this.stream.isClosed) return;
    const body = this.#body;
    const isWhole = this.#isBodyEnded && this.#trailers === undefined;
    const isEnd = isWhole && (body === undefined || body.bytes === 0);
    const leg = new UpstreamLeg(this, connection, fields, isEnd);
    this.#leg = leg;
    this.#retries?.beginTry(this.#onTryTimeout);
    if (isEnd) return;
    if (body !== undefined) {
      for (let at = 0; at < body.length; at++) {
        leg.stream.sendData(body.at(at), isWhole && at === body.length - 1);
      }
    }
    if (this.#trailers !== undefined) leg.stream.sendTrailers(this.#trailers);
    if (body !== undefined && body.bytes > MAX_KEPT_BYTES) this.#forget();
  }

  /** Nothing is sent again. */
  #forget(): void {
    this.#isKeeping = false;
    this.#body = undefined;
  }

  onData(stream: H2Stream, slice: Buffer, isEnd: boolean): void {
    this.#bytesReceived += slice.length;
    if (this.#guard?.isWithin(this.#bytesReceived) === false) return;
    if (isEnd) this.#isBodyEnded = true;
    if (!this.isLengthPossible()) {
      this.refuse('content-length-mismatch');
      return;
    }
    if (this.#isDropping) {
      stream.credit(slice.length);
      return;
    }
    this.#extras?.take(slice, isEnd);
    if (this.#isKeeping && slice.length > 0) {
      const body = (this.#body ??= new ByteQueue());
      body.push(slice);
      if (this.#leg !== undefined && body.bytes > MAX_KEPT_BYTES) this.#forget();
    }
    this.#leg?.stream.sendData(slice, isEnd);
  }

  readonly #onBadBody = (reasonCode: string): void => {
    if (this.#isBodyEnded) return;
    this.#leg?.abandon(ERROR.cancel);
    this.#failAnswer(statusOfBadBody(reasonCode), reasonCode, ERROR.cancel);
  };

  /** Of the whole answer. */
  onTimeout(reasonCode = 'upstream-timeout'): void {
    this.#choice?.report(0);
    if (this.#isWaiting) this.#choice?.current?.cancel(this);
    this.#isWaiting = false;
    this.#endRetries();
    this.#leg?.abandon(ERROR.cancel);
    this.#failAnswer(504, reasonCode, ERROR.cancel);
  }

  /** Whether it is not over before the body that it promised has come. */
  isLengthPossible(): boolean {
    const expected = this.#expectedBytes;
    if (expected === undefined) return true;
    return this.#isBodyEnded ? this.#bytesReceived === expected : this.#bytesReceived <= expected;
  }

  /** Of a request: trailers. */
  onHead(_stream: H2Stream, fields: ReceivedFields): void {
    this.#isBodyEnded = true;
    if (fields.isTooLarge || trailersFlaw(fields) !== undefined) {
      this.refuse('malformed-trailers');
    } else if (!this.isLengthPossible()) this.refuse('content-length-mismatch');
    else {
      this.#trailers = fields;
      this.#extras?.takeTrailers(fields);
      this.#leg?.stream.sendTrailers(fields);
    }
  }

  onRequestSent(bytes: number): void {
    const fresh = bytes - this.#creditedBytes;
    if (fresh <= 0) return;
    this.#creditedBytes = bytes;
    this.stream.credit(fresh);
  }

  onInformational(fields: Fields): void {
    this.stream.sendHead(fields, false);
  }

  onAnswer(status: number, fields: Fields, isEnd: boolean): void {
    const grpcStatus = grpcStatusIn(fields.raw);
    if (this.#isFollowed({ kind: 'answer', status, grpcStatus })) return;
    this.#choice?.report(status);
    this.#forget();
    this.#endRetries();
    this.#status = status;
    this.#grpcStatus = grpcStatus;
    this.stream.sendHead(this.#extras?.answerOf(fields) ?? fields, isEnd);
  }

  onAnswerData(slice: Buffer, isEnd: boolean): void {
    this.stream.sendData(slice, isEnd);
  }

  onAnswerTrailers(fields: Fields): void {
    this.#grpcStatus = grpcStatusIn(fields.raw) ?? this.#grpcStatus;
    this.stream.sendTrailers(fields);
  }

  onSent(_stream: H2Stream, bytes: number): void {
    this.#bytesSent += bytes;
    this.#leg?.stream.credit(bytes);
  }

  /** @returns whether the route has it sent again, as it then is. */
  #isFollowed(end: AttemptEnd): boolean {
    const retries = this.#retries;
    if (retries === undefined || !this.#isKeeping || this.#status !== 0) return false;
    if (!retries.mayFollow(end)) return false;
    this.#choice?.report(end.kind === 'answer' ? end.status : 0);
    this.#choice?.beginAnew();
    this.#leg?.abandon(ERROR.cancel);
    this.#leg = undefined;
    retries.endTry();
    this.#pause = retries.wait(() => {
      this.#pause = undefined;
      this.#next();
    });
    return true;
  }

  readonly #onTryTimeout = (): void => {
    if (this.#status !== 0 || this.#isFollowed({ kind: 'try-timeout' })) return;
    this.onTimeout('upstream-try-timeout');
  };

  #endRetries(): void {
    this.#pause?.[Symbol.dispose]();
    this.#retries?.[Symbol.dispose]();
    this.#retries = undefined;
  }

  onBadAnswer(reasonCode: string): void {
    this.#choice?.report(0);
    this.#failAnswer(502, reasonCode, ERROR.internal);
  }

  onLegClose(code: number, isComplete: boolean): void {
    if (isComplete) {
      this.#onAnswerComplete();
      return;
    }
    if (code === ERROR.refusedStream && this.#status === 0 && this.#isKeeping) {
      this.#onRefused();
      return;
    }
    if (this.#isFollowed({ kind: 'reset' })) return;
    if (this.#status === 0) this.#choice?.report(0);
    /** A reset without an error is no end: what was cut must not look whole. */
    this.#failAnswer(503, 'upstream-reset', code === ERROR.none ? ERROR.internal : code);
  }

  /** The upstream has said all and wants no more of the request than it has. */
  #onAnswerComplete(): void {
    if (this.#isBodyEnded) return;
    this.#drop();
    if (this.stream.isLocalEnded) this.stream.reset(ERROR.none);
  }

  #onRefused(): void {
    this.#leg = undefined;
    this.#choice?.noteRefusal();
    this.#next();
  }

  #failAnswer(status: number, reasonCode: string, code: number): void {
    this.#leg = undefined;
    if (this.#status === 0) this.#answerUnavailable(status, reasonCode);
    else {
      this.#reasonCode ||= reasonCode;
      this.stream.reset(code);
    }
  }

  onClose(_stream: H2Stream, code: number): void {
    if (this.#isWaiting) this.#choice?.current?.cancel(this);
    this.#leg?.abandon(code === ERROR.none ? ERROR.cancel : code);
    this.#leg = undefined;
    this.#body = undefined;
    this.#endRetries();
    this.#guard?.[Symbol.dispose]();
    this.#extras?.[Symbol.dispose]();
    this.#host.onComplete({
      head: this.head,
      upstream: '',
      status: this.#status,
      grpcStatus: this.#grpcStatus,
      bytesReceived: this.#bytesReceived,
      bytesSent: this.#bytesSent,
      durationMs: performance.now() - this.#startedAt,
      reasonCode: this.#reasonCode,
    });
  }
}
