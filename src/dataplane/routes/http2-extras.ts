// Does for one HTTP/2 request what its route asks besides: limits its time, changes its answer, feeds its copies.
import type { ByteQueue } from '../http2/byte-queue.ts';
import type { Fields } from '../http2/h2-stream.ts';
import { keepNeverIndexed } from '../http2/header-list.ts';
import type { RouteExtras } from './extras.ts';
import { Http2Mirror } from './http2-mirror.ts';
import { mirrorSlots } from './mirror-limits.ts';

export interface Http2ExtrasInput {
  /** Of the request as it is sent on. */
  readonly fields: Fields;
  readonly of: { readonly isHeadRequest: boolean; onTimeout(): void };
  /** What of the request has come already. */
  readonly body: ByteQueue | undefined;
  readonly trailers: Fields | undefined;
  readonly isBodyEnded: boolean;
}

export class Http2Extras implements Disposable {
  readonly #extras: RouteExtras;
  readonly #of: Http2ExtrasInput['of'];
  readonly #mirrors: readonly Http2Mirror[];
  #timer: NodeJS.Timeout | undefined;

  constructor(extras: RouteExtras, input: Http2ExtrasInput) {
    this.#extras = extras;
    this.#of = input.of;
    const { isHeadRequest } = input.of;
    const { fields, body, trailers, isBodyEnded } = input;
    this.#mirrors = extras.mirrors.flatMap(({ http2, breaker }): readonly Http2Mirror[] => {
      const onDrop = (): void => breaker.dropMirror();
      if (mirrorSlots.take()) return [new Http2Mirror(http2, fields, { isHeadRequest, onDrop })];
      onDrop();
      return [];
    });
    for (const mirror of this.#mirrors) {
      for (let at = 0; at < (body?.length ?? 0); at++) {
        mirror.take(body?.at(at) ?? EMPTY, false);
      }
      if (trailers !== undefined) mirror.takeTrailers(trailers);
      else if (isBodyEnded) mirror.take(EMPTY, true);
      mirror.begin();
    }
    if (isBodyEnded) this.#start();
  }

  take(slice: Buffer, isEnd: boolean): void {
    for (const mirror of this.#mirrors) mirror.take(slice, isEnd);
    if (isEnd) this.#start();
  }

  takeTrailers(trailers: Fields): void {
    for (const mirror of this.#mirrors) mirror.takeTrailers(trailers);
    this.#start();
  }

  #start(): void {
    const { timeoutMs } = this.#extras;
    if (timeoutMs === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#of.onTimeout(), timeoutMs);
    this.#timer.unref();
  }

  /** The head of the answer to send on. */
  answerOf(fields: Fields): Fields {
    const { answer } = this.#extras;
    if (answer === undefined) return fields;
    const raw = answer.applyTo(fields.raw);
    return { raw, neverIndexed: keepNeverIndexed(fields.raw, fields.neverIndexed, raw) };
  }

  /** The request is over. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const mirror of this.#mirrors) mirror.endInput();
  }
}

const EMPTY = Buffer.alloc(0);
