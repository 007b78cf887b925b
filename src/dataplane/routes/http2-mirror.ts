// Sends a copy of one HTTP/2 request elsewhere and throws the answer away; the request itself never waits for it.
import { ERROR } from '../http2/frames.ts';
import type { H2Connection } from '../http2/h2-connection.ts';
import type { Fields } from '../http2/h2-stream.ts';
import type { Http2Upstream } from '../http2/http2-contract.ts';
import { type LegOwner, UpstreamLeg } from '../http2/upstream-leg.ts';
import type { ConnectionWaiter, UpstreamSessions } from '../http2/upstream-sessions.ts';
import { MAX_MIRROR_BYTES, MIRROR_TIMEOUT_MS, mirrorSlots } from './mirror-limits.ts';

export class Http2Mirror implements LegOwner, ConnectionWaiter {
  readonly isHeadRequest: boolean;
  readonly #fields: Fields;
  readonly #timer: NodeJS.Timeout;
  readonly #onDrop: () => void;
  readonly #sessions: UpstreamSessions | undefined;
  #waiting: Buffer[] = [];
  #trailers: Fields | undefined;
  #isInputEnded = false;
  #takenBytes = 0;
  #sentBytes = 0;
  #leg: UpstreamLeg | undefined;
  #isOver = false;

  constructor(
    upstream: Http2Upstream,
    fields: Fields,
    { isHeadRequest, onDrop }: { readonly isHeadRequest: boolean; readonly onDrop: () => void },
  ) {
    this.#onDrop = onDrop;
    this.#fields = fields;
    this.isHeadRequest = isHeadRequest;
    this.#timer = setTimeout(() => this.#drop(), MIRROR_TIMEOUT_MS);
    this.#timer.unref();
    this.#sessions = upstream.pick({ tried: new Set(), mayRepeat: false, hash: undefined });
  }

  /** What has come of the request already has been taken. */
  begin(): void {
    if (this.#sessions === undefined) this.#drop();
    else this.#sessions.take(this);
  }

  take(slice: Buffer, isEnd: boolean): void {
    if (this.#isOver) return;
    this.#isInputEnded = isEnd;
    this.#takenBytes += slice.length;
    if (this.#leg !== undefined) this.#leg.stream.sendData(slice, isEnd);
    else if (slice.length > 0) this.#waiting.push(slice);
    if (this.#takenBytes - this.#sentBytes > MAX_MIRROR_BYTES) this.#drop();
  }

  takeTrailers(trailers: Fields): void {
    this.#isInputEnded = true;
    this.#trailers = trailers;
    this.#leg?.stream.sendTrailers(trailers);
  }

  /** No more of the request will come. */
  endInput(): void {
    if (!this.#isInputEnded) this.#drop();
  }

  onConnection(connection: H2Connection): void {
    if (this.#isOver) return;
    const isWhole = this.#isInputEnded && this.#trailers === undefined;
    const isEnd = isWhole && this.#waiting.length === 0;
    const leg = new UpstreamLeg(this, connection, this.#fields, isEnd);
    this.#leg = leg;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [at, slice] of waiting.entries()) {
      leg.stream.sendData(slice, isWhole && at === waiting.length - 1);
    }
    if (this.#trailers !== undefined) leg.stream.sendTrailers(this.#trailers);
  }

  onNoConnection(): void {
    this.#drop();
  }

  onRequestSent(bytes: number): void {
    this.#sentBytes = bytes;
  }

  onInformational(): void {
    // Nobody waits for it.
  }

  onAnswer(_status: number, _fields: Fields, isEnd: boolean): void {
    if (isEnd) this.#onEnd();
  }

  onAnswerData(slice: Buffer, isEnd: boolean): void {
    this.#leg?.stream.credit(slice.length);
    if (isEnd) this.#onEnd();
  }

  onAnswerTrailers(): void {
    this.#onEnd();
  }

  onBadAnswer(): void {
    this.#end();
  }

  onLegClose(): void {
    this.#end();
  }

  /** Once the whole answer is here the rest of the request is for nobody. */
  #onEnd(): void {
    if (!this.#isInputEnded) this.#leg?.abandon(ERROR.none);
    this.#end();
  }

  #drop(): void {
    if (this.#isOver) return;
    this.#onDrop();
    if (this.#leg === undefined) this.#sessions?.cancel(this);
    else this.#leg.abandon(ERROR.cancel);
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting = [];
    clearTimeout(this.#timer);
    mirrorSlots.free();
  }
}
