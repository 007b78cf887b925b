// Bounds what is written to a stream and not yet taken by its connection, and notices a client that does not read.
import type { Clock } from '@weft/model/clock';

export interface OutboxOptions {
  readonly clock: Clock;
  readonly maxBytes: number;
  readonly maxStallMs: number;
  readonly write: (bytes: Uint8Array, onTaken: () => void) => void;
  /** There is room again, after {@link Outbox.isFull} was true. */
  readonly onRoom: () => void;
  /** Nothing was taken for `maxStallMs`. */
  readonly onStall: () => void;
}

export class Outbox implements Disposable {
  readonly #options: OutboxOptions;
  #bytes = 0;
  #stall: Disposable | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** A response that is larger than the bound is written when nothing else waits, so everything gets through. */
  get isFull(): boolean {
    return this.#bytes >= this.#options.maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  write(bytes: Uint8Array): void {
    this.#bytes += bytes.byteLength;
    this.#stall ??= this.#watch();
    this.#options.write(bytes, () => this.#taken(bytes.byteLength));
  }

  #taken(byteLength: number): void {
    const wasFull = this.isFull;
    this.#bytes -= byteLength;
    this.#stall?.[Symbol.dispose]();
    this.#stall = this.#bytes > 0 ? this.#watch() : undefined;
    if (wasFull && !this.isFull) this.#options.onRoom();
  }

  #watch(): Disposable {
    return this.#options.clock.setTimeout(this.#options.onStall, this.#options.maxStallMs);
  }

  [Symbol.dispose](): void {
    this.#stall?.[Symbol.dispose]();
  }
}
