// Sends a copy of one HTTP/1 request elsewhere and throws the answer away; the request itself never waits for it.
import type { Http1Forward } from '../http/h1-contract.ts';
import type { ExchangeOwner } from '../http/h1-exchange-owner.ts';
import { UpstreamExchange } from '../http/h1-exchange.ts';
import type { HeadLimits } from '../http/h1-head.ts';
import type { BodyPart } from '../http/h1-request-body.ts';
import { Http1RequestHead } from '../http/h1-request.ts';
import type { Http1ResponseHead } from '../http/h1-response.ts';
import { MAX_MIRROR_BYTES, MIRROR_TIMEOUT_MS, mirrorSlots } from './mirror-limits.ts';

export class Http1Mirror implements ExchangeOwner {
  readonly #exchange: UpstreamExchange;
  readonly #timer: NodeJS.Timeout;
  readonly #onDrop: () => void;
  #waiting: BodyPart[] = [];
  #waitingBytes = 0;
  #isLastTaken: boolean;
  #isOver = false;

  constructor(
    request: { readonly head: Http1RequestHead; readonly first: BodyPart },
    forward: Http1Forward,
    { limits, onDrop }: { readonly limits: HeadLimits; readonly onDrop: () => void },
  ) {
    const { head, first } = request;
    this.#isLastTaken = first.isLast;
    this.#onDrop = onDrop;
    this.#exchange = new UpstreamExchange(this, limits);
    this.#timer = setTimeout(() => this.#drop(), MIRROR_TIMEOUT_MS);
    this.#timer.unref();
    // The request's own head is overwritten by the next one.
    const copy = new Http1RequestHead();
    const bytes = Buffer.from(head.text, 'latin1');
    if (copy.read(bytes, 0, 0, { limits, allowAbsoluteForm: true }) === -1) this.#end();
    else this.#exchange.begin(copy, forward, '', first);
  }

  /** More of the request. */
  take(part: BodyPart): void {
    if (this.#isOver) return;
    this.#isLastTaken = part.isLast;
    this.#waiting.push(part);
    this.#waitingBytes += (part.bytes?.length ?? 0) + part.tail.length;
    this.#flush();
    if (this.#waitingBytes > MAX_MIRROR_BYTES) this.#drop();
  }

  /** No more of the request will come. */
  endInput(): void {
    if (!this.#isLastTaken) this.#drop();
  }

  #flush(): void {
    while (this.#exchange.isSending && !this.#exchange.isCongested) {
      const part = this.#waiting.shift();
      if (part === undefined) return;
      this.#waitingBytes -= (part.bytes?.length ?? 0) + part.tail.length;
      this.#exchange.writeBody(part);
    }
  }

  #drop(): void {
    if (this.#isOver) return;
    this.#onDrop();
    this.#exchange.abort();
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting = [];
    clearTimeout(this.#timer);
    mirrorSlots.free();
  }

  onSending(): void {
    this.#flush();
  }

  onUpstreamDrain(): void {
    this.#flush();
  }

  onInterim(): void {
    // Nobody waits for it.
  }

  onUpgraded(_head: Http1ResponseHead, upstream: { discard(): void }): void {
    upstream.discard();
    this.#end();
  }

  onAnswer(_head: Http1ResponseHead, chunk: Buffer, bodyStart: number): void {
    this.#skip(chunk, bodyStart);
  }

  onAnswerBody(chunk: Buffer): void {
    this.#skip(chunk, 0);
  }

  #skip(chunk: Buffer, start: number): void {
    const { body } = this.#exchange;
    const end = body.isDone ? start : body.consume(chunk, start);
    if (body.ranges !== undefined) body.ranges.length = 0;
    if (body.reasonCode !== '') this.#exchange.abort();
    else if (!body.isDone) return;
    else this.#exchange.finish(end < chunk.length);
    this.#end();
  }

  onNoAnswer(): void {
    this.#end();
  }

  onBrokenAnswer(): void {
    this.#end();
  }

  onEndOfConnection(): void {
    this.#end();
  }
}
