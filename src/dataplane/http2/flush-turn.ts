// Lets connections write once a turn: what all that was read in one turn of the event loop has produced goes out after it.

export interface Flushed {
  flush(): void;
}

/**
 * `setImmediate` runs after everything that a poll for input has delivered: one write then carries what many reads
 * produced, and over TLS each write is a record and a system call.
 */
export class FlushTurn {
  #waiting: Flushed[] = [];
  #isPlanned = false;
  readonly #run = (): void => {
    this.#isPlanned = false;
    const due = this.#waiting;
    this.#waiting = [];
    for (const one of due) one.flush();
  };

  /** Whoever adds itself is flushed once; adding itself twice is its own affair. */
  add(one: Flushed): void {
    this.#waiting.push(one);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(this.#run);
  }
}
