// Does for one HTTP/1 request what its route asks besides: limits its time and feeds its copies.
import type { Http1Forward } from '../http/h1-contract.ts';
import type { HeadLimits } from '../http/h1-head.ts';
import type { BodyPart } from '../http/h1-request-body.ts';
import type { Http1RequestHead } from '../http/h1-request.ts';
import type { RouteExtras } from './extras.ts';
import { Http1Mirror } from './http1-mirror.ts';
import { mirrorSlots } from './mirror-limits.ts';

export interface Http1ExtrasInput {
  readonly head: Http1RequestHead;
  readonly forward: Http1Forward;
  readonly first: BodyPart;
  readonly limits: HeadLimits;
  readonly onTimeout: () => void;
}

export class Http1Extras implements Disposable {
  readonly #extras: RouteExtras;
  readonly #onTimeout: () => void;
  readonly #mirrors: readonly Http1Mirror[];
  #timer: NodeJS.Timeout | undefined;

  constructor(extras: RouteExtras, input: Http1ExtrasInput) {
    const { head, forward, first, limits } = input;
    this.#extras = extras;
    this.#onTimeout = input.onTimeout;
    this.#mirrors = extras.mirrors.flatMap(({ http1, breaker }): readonly Http1Mirror[] => {
      const onDrop = (): void => breaker.dropMirror();
      if (!mirrorSlots.take()) {
        onDrop();
        return [];
      }
      const copy: Http1Forward = { kind: 'forward', upstream: http1, edits: forward.edits };
      return [new Http1Mirror({ head, first }, copy, { limits, onDrop })];
    });
    if (first.isLast) this.#start();
  }

  /** More of the request is on its way. */
  take(part: BodyPart): void {
    for (const mirror of this.#mirrors) mirror.take(part);
    if (part.isLast) this.#start();
  }

  #start(): void {
    const { timeoutMs } = this.#extras;
    if (timeoutMs === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(this.#onTimeout, timeoutMs);
    this.#timer.unref();
  }

  /** The request is over. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const mirror of this.#mirrors) mirror.endInput();
  }
}
