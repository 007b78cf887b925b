// Buffers that connections gather their output in: lent for one write, so that an idle connection holds none.

/** 16 KiB: what the requests of one turn come to, and one TLS record. */
export const OUTPUT_BUFFER_BYTES = 16_384;
/** 1 MiB kept at most; more at once are made anew. */
const MAX_KEPT = 64;

export class OutputBuffers {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(OUTPUT_BUFFER_BYTES);
  }

  /** Nobody may look at it any more. */
  give(buffer: Buffer): void {
    if (this.#free.length < MAX_KEPT) this.#free.push(buffer);
  }
}
