// Serves many streams after a change without holding up the event loop: in slices of time, each stream once.

export interface Rounds<T> extends Disposable {
  /** Every item is run once, soon; one that waits already is not run twice. */
  start(items: Iterable<T>): void;
}

export function createRounds<T>(options: {
  /** Must not throw. */
  readonly run: (item: T) => void;
  /** Work longer than this lets others in between. */
  readonly sliceMs: number;
  readonly onFinished: (durationMs: number, count: number) => void;
}): Rounds<T> {
  const waiting = new Set<T>();
  let turn: NodeJS.Immediate | undefined;
  let startedAtMs = 0;
  let count = 0;

  function runSlice(): void {
    turn = undefined;
    const endsAtMs = performance.now() + options.sliceMs;
    for (const item of waiting) {
      waiting.delete(item);
      count++;
      options.run(item);
      if (performance.now() >= endsAtMs) break;
    }
    if (waiting.size > 0) turn = setImmediate(runSlice);
    else options.onFinished(performance.now() - startedAtMs, count);
  }

  return {
    start(items) {
      for (const item of items) waiting.add(item);
      if (turn !== undefined || waiting.size === 0) return;
      startedAtMs = performance.now();
      count = 0;
      turn = setImmediate(runSlice);
    },
    [Symbol.dispose]() {
      clearImmediate(turn);
      waiting.clear();
    },
  };
}
