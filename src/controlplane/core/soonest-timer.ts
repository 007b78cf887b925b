// One timer for work that several causes ask for: of two times the sooner counts.
import type { Clock } from '@weft/model/clock';

export class SoonestTimer implements Disposable {
  readonly #clock: Clock;
  readonly #run: () => void;
  #due: { readonly atMs: number; readonly handle: Disposable } | undefined;
  #isDisposed = false;

  /** @param run when it is time; it may schedule the next. */
  constructor(clock: Clock, run: () => void) {
    this.#clock = clock;
    this.#run = run;
  }

  /** Once in `delayMs`, unless it is due before that already. After disposal nothing runs any more. */
  schedule(delayMs: number): void {
    if (this.#isDisposed) return;
    const atMs = this.#clock.now() + delayMs;
    if (this.#due !== undefined && this.#due.atMs <= atMs) return;
    this.cancel();
    const handle = this.#clock.setTimeout(() => {
      this.#due = undefined;
      this.#run();
    }, delayMs);
    this.#due = { atMs, handle };
  }

  cancel(): void {
    this.#due?.handle[Symbol.dispose]();
    this.#due = undefined;
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.cancel();
  }
}
