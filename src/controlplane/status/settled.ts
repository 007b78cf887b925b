// Does once what thousands ask for together: some time after the first of them has asked, and with rests where it takes long.
import type { Clock } from '@weft/model/clock';

export interface SettledOptions {
  readonly clock: Clock;
  /** From the first who asks to the doing. */
  readonly settleMs: number;
  readonly run: () => void;
  /** Default: of this process. */
  readonly elapsedMs?: (() => number) | undefined;
}

/** Where the doing takes long, four fifths of the processor are left to others. */
const REST_FACTOR = 4;

/** Dispose forgets who has asked, and hears nobody after that. */
export class Settled implements Disposable {
  readonly #options: SettledOptions;
  #timer: Disposable | undefined;
  #restMs = 0;
  #isRunning = false;
  #wasAsked = false;
  #isDisposed = false;

  constructor(options: SettledOptions) {
    this.#options = options;
  }

  soon(): void {
    if (this.#isDisposed) return;
    if (this.#isRunning) {
      // How long it rests is known afterwards.
      this.#wasAsked = true;
      return;
    }
    const { clock, settleMs } = this.#options;
    this.#timer ??= clock.setTimeout(() => this.#run(), Math.max(settleMs, this.#restMs));
  }

  #run(): void {
    const { run, elapsedMs = () => performance.now() } = this.#options;
    this.#timer = undefined;
    this.#isRunning = true;
    this.#wasAsked = false;
    const startedAtMs = elapsedMs();
    try {
      run();
    } finally {
      this.#isRunning = false;
      this.#restMs = REST_FACTOR * (elapsedMs() - startedAtMs);
      if (this.#wasAsked) this.soon();
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
  }
}
