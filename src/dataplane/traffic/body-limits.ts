// How large and how slow the body of a request may be, whatever its head has said of it.
import type { HttpFilter } from '@weft/xds/resources/listener';

export interface BodyLimits {
  readonly maxBytes?: number;
  /** From its head to its end. */
  readonly timeoutMs?: number;
}

export function bodyLimitsOf(filters: readonly HttpFilter[]): BodyLimits | undefined {
  for (const filter of filters) {
    if (filter.kind !== 'requestLimits') continue;
    const { maxBodyBytes: maxBytes, bodyTimeoutMs: timeoutMs } = filter.limits.limits;
    if (maxBytes === undefined && timeoutMs === undefined) return undefined;
    return {
      ...(maxBytes !== undefined && { maxBytes }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    };
  }
  return undefined;
}

const TOO_LARGE = 'limit-body-too-large';
const TIMEOUT = 'limit-body-timeout';

/** What a client is told whose body is not one, or not as it has to be. */
export const statusOfBadBody = (reasonCode: string): number =>
  reasonCode === TOO_LARGE ? 413 : reasonCode === TIMEOUT ? 408 : 400;

/** Watches the body of one request as it comes. Says once that it is too much. */
export class BodyGuard implements Disposable {
  readonly #maxBytes: number;
  readonly #onBad: (reasonCode: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor({ maxBytes = Infinity, timeoutMs }: BodyLimits, onBad: (reasonCode: string) => void) {
    this.#maxBytes = maxBytes;
    this.#onBad = onBad;
    if (timeoutMs === undefined) return;
    this.#timer = setTimeout(() => this.#refuse(TIMEOUT), timeoutMs);
    this.#timer.unref();
  }

  /** @param bytes of the body so far. @returns whether it may go on. */
  isWithin(bytes: number): boolean {
    if (bytes <= this.#maxBytes || this.#isOver) return true;
    this.#refuse(TOO_LARGE);
    return false;
  }

  #refuse(reasonCode: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this[Symbol.dispose]();
    this.#onBad(reasonCode);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
