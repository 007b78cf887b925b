// Relays one request and its answer between client and upstream, with back-pressure both ways.
import { Http1Extras } from '../routes/http1-extras.ts';
import { BodyGuard } from '../traffic/body-limits.ts';
import { AnswerRelay } from './h1-answer-relay.ts';
import type { Http1Forward, UpstreamConnection } from './h1-contract.ts';
import type { Downstream } from './h1-downstream.ts';
import { UNEDITED, writeResponseHead } from './h1-edit.ts';
import type { ExchangeOwner } from './h1-exchange-owner.ts';
import { UpstreamExchange } from './h1-exchange.ts';
import { Framing, type HeadLimits } from './h1-head.ts';
import type { Input } from './h1-input.ts';
import { type BodyPart, RequestBody } from './h1-request-body.ts';
import type { Http1RequestHead } from './h1-request.ts';
import type { Http1ResponseHead } from './h1-response.ts';

/** What becomes of a request that is relayed; exactly one of these is called for each. */
export interface RelayOwner {
  /** The answer is written, whole. */
  onAnswered(): void;
  /** There will be no answer, and nothing of one has been sent. */
  onNoAnswer(status: number, reasonCode: string): void;
  /** The request's body is malformed, so that its end is not known. */
  onBadBody(reasonCode: string): void;
  /** The answer broke off; `isReset`: only a reset tells that it is not whole. */
  onBrokenAnswer(reasonCode: string, isReset: boolean): void;
  onUpgraded(head: Http1ResponseHead, upstream: UpstreamConnection, rest: Buffer): void;
}

/** One for each connection; `reset` and `begin` use it again. */
export class RequestRelay implements ExchangeOwner {
  readonly body: RequestBody;
  readonly #owner: RelayOwner;
  readonly #downstream: Downstream;
  readonly #input: Input;
  readonly #head: Http1RequestHead;
  readonly #exchange: UpstreamExchange;
  readonly #answer: AnswerRelay;
  readonly #limits: HeadLimits;
  #extras: Http1Extras | undefined;
  #forward: Http1Forward | undefined;
  #guard: BodyGuard | undefined;
  #hasContinued = false;
  /** Of the answer; 0 when none has begun. */
  status = 0;
  /** Whether the answer is the last of its connection. */
  isClosing = false;

  constructor(
    owner: RelayOwner,
    parts: {
      readonly downstream: Downstream;
      readonly input: Input;
      readonly head: Http1RequestHead;
      readonly limits: HeadLimits;
    },
  ) {
    this.#owner = owner;
    this.#downstream = parts.downstream;
    this.#input = parts.input;
    this.#head = parts.head;
    this.#limits = parts.limits;
    this.body = new RequestBody(parts.input);
    this.#exchange = new UpstreamExchange(this, parts.limits);
    this.#answer = new AnswerRelay(parts.downstream.socket, this.#exchange.body);
  }

  reset(): void {
    this.#forward = undefined;
    this.endGuard();
    this.#hasContinued = false;
    this.status = 0;
    this.isClosing = false;
    this.#answer.reset();
    this.body.beginWithout();
    this.#exchange.address = '';
    this.#exchange.isUndelivered = false;
  }

  /** There was no answer, and nobody has processed anything. */
  get isUndelivered(): boolean {
    return this.#exchange.isUndelivered;
  }

  get address(): string {
    return this.#exchange.address;
  }

  get bytesSent(): number {
    return this.#answer.bytesSent;
  }

  set bytesSent(bytes: number) {
    this.#answer.bytesSent = bytes;
  }

  /** Whether the client waits for a 100 before it sends the body, which it may never do. */
  get isBodyUncertain(): boolean {
    return !this.body.isDone && this.#head.expectsContinue && !this.#hasContinued;
  }

  /** @param upgrade the protocol to ask for; '' for none. */
  begin(action: Http1Forward, upgrade: string): void {
    this.#forward = action;
    const first = this.body.take(action.edits.isRemoved);
    if (first === undefined) {
      this.#owner.onBadBody(this.body.reasonCode);
      return;
    }
    if (action.body !== undefined && this.#head.hasBody) {
      this.#guard = new BodyGuard(action.body, this.#onBadBody);
      if (!this.#isBodyGood()) return;
    }
    if (action.extras !== undefined && upgrade === '') this.#beginExtras(action, first);
    this.#exchange.begin(this.#head, action, upgrade, first);
  }

  #beginExtras(forward: Http1Forward, first: BodyPart): void {
    const { extras } = forward;
    if (extras === undefined) return;
    this.#extras = new Http1Extras(extras, {
      head: this.#head,
      forward,
      first,
      limits: this.#limits,
      onTimeout: this.#onTimeout,
    });
  }

  readonly #onTimeout = (): void => {
    this.blame();
    if (this.status === 0) this.#owner.onNoAnswer(504, 'upstream-timeout');
    else this.#owner.onBrokenAnswer('upstream-timeout', true);
  };

  #endExtras(): void {
    this.#extras?.[Symbol.dispose]();
    this.#extras = undefined;
  }

  readonly #onBadBody = (reasonCode: string): void => {
    this.#exchange.abort();
    this.#owner.onBadBody(reasonCode);
  };

  /** Whether it is as it may be; else it has been refused. */
  #isBodyGood(): boolean {
    const guard = this.#guard;
    if (guard === undefined) return true;
    if (!guard.isWithin(this.body.dataBytes)) return false;
    if (this.body.isDone) this.endGuard();
    return true;
  }

  endGuard(): void {
    this.#guard?.[Symbol.dispose]();
    this.#guard = undefined;
  }

  abort(): void {
    this.#endExtras();
    this.endGuard();
    this.#exchange.abort();
  }

  /** As `abort`, and it is the endpoint's fault. */
  blame(): void {
    this.#endExtras();
    this.#exchange.blame();
  }

  /** The client has sent more. */
  takeInput(): void {
    const isWanted = !this.body.isDone && this.#exchange.isSending && !this.#exchange.isCongested;
    if (isWanted) this.#relayBody();
    else this.#downstream.pause();
  }

  onDownstreamDrain(): void {
    this.#exchange.resume();
  }

  #relayBody(): void {
    if (this.#forward === undefined) return;
    const part = this.body.take(this.#forward.edits.isRemoved);
    if (part === undefined) {
      this.#exchange.abort();
      this.#owner.onBadBody(this.body.reasonCode);
      return;
    }
    if (!this.#isBodyGood()) return;
    this.#extras?.take(part);
    const isRoomy = this.#exchange.writeBody(part);
    if (part.isLast) this.#onRequestSent();
    else if (isRoomy) this.#downstream.resume();
    else this.#downstream.pause();
  }

  #onRequestSent(): void {
    if (this.status === 0) this.#downstream.startResponse();
    /** What follows is another request: read on only to see the client go. */
    if (this.#input.isEmpty) this.#downstream.resume();
    else this.#downstream.pause();
  }

  onSending(): void {
    if (this.body.isDone) {
      this.#onRequestSent();
      return;
    }
    this.#downstream.startIdle();
    if (this.#exchange.isCongested) this.#downstream.pause();
    else this.onUpstreamDrain();
  }

  onUpstreamDrain(): void {
    this.#downstream.noteProgress();
    if (this.body.isDone) return;
    if (this.#input.isEmpty) this.#downstream.resume();
    else this.#relayBody();
  }

  onInterim(head: Http1ResponseHead): void {
    if (this.#head.isHttp10) return;
    if (head.status === 100) this.#hasContinued = true;
    this.#downstream.write(writeResponseHead(head, UNEDITED));
  }

  onAnswer(head: Http1ResponseHead, chunk: Buffer, bodyStart: number): void {
    this.status = head.status;
    const { framing } = head.facts;
    const { isHttp10 } = this.#head;
    if (this.isBodyUncertain) this.isClosing = true;
    const isUnchunked = isHttp10 && framing === Framing.Chunked;
    /** In chunks, an answer that breaks off can be told from one that ends, over TLS as well. */
    const isRechunked = !isHttp10 && framing === Framing.UntilClose;
    const headers = this.#forward?.extras?.answer;
    const edits = { isClosing: this.isClosing, isUnchunked, isRechunked, headers };
    const end = this.#answer.begin(head, chunk, bodyStart, edits);
    if (!this.#exchange.body.isDone) this.#downstream.startIdle();
    this.#onAnswerPart(chunk, end);
  }

  onAnswerBody(chunk: Buffer): void {
    this.#downstream.noteProgress();
    this.#onAnswerPart(chunk, this.#answer.write(chunk));
  }

  #onAnswerPart(chunk: Buffer, end: number): void {
    const { reasonCode, isRoomy } = this.#answer;
    if (reasonCode !== '') {
      this.blame();
      this.#owner.onBrokenAnswer(reasonCode, false);
    } else if (this.#exchange.body.isDone) {
      this.#endExtras();
      this.#exchange.finish(end < chunk.length);
      this.#owner.onAnswered();
    } else if (!isRoomy) this.#exchange.pause();
  }

  onEndOfConnection(): void {
    this.#endExtras();
    this.#answer.end();
    this.#owner.onAnswered();
  }

  onNoAnswer(status: number, reasonCode: string): void {
    this.#endExtras();
    this.#owner.onNoAnswer(status, reasonCode);
  }

  onBrokenAnswer(reasonCode: string): void {
    this.#endExtras();
    const isReset = this.#head.isHttp10 && this.#exchange.body.isUntilClose;
    this.#owner.onBrokenAnswer(reasonCode, isReset);
  }

  onUpgraded(head: Http1ResponseHead, upstream: UpstreamConnection, rest: Buffer): void {
    this.#owner.onUpgraded(head, upstream, rest);
  }
}
