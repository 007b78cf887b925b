// Tells the demo: every line says what was done and what was seen, and counts what did not hold.

export interface Story {
  chapter(title: string): void;
  /** Runs one statement; it holds when `run` returns, which says what was seen. */
  holds(done: string, run: () => Promise<string>): Promise<void>;
  skip(done: string, reason: string): void;
  readonly failed: number;
  readonly held: number;
}

export function createStory(write: (line: string) => void, isColoured: boolean): Story {
  const paint = (code: number, text: string): string =>
    isColoured ? `\u001B[${code}m${text}\u001B[0m` : text;
  const state = { failed: 0, held: 0 };
  return {
    chapter: (title) => write(`\n${paint(1, title)}`),
    async holds(done, run) {
      try {
        const seen = await run();
        state.held++;
        write(`  ${paint(32, '✓')} ${done}\n    ${paint(2, `→ ${seen}`)}`);
      } catch (error) {
        state.failed++;
        const reason = error instanceof Error ? error.message : String(error);
        write(`  ${paint(31, '✗')} ${done}\n    → ${paint(31, reason)}`);
      }
    },
    skip: (done, reason) =>
      write(`  ${paint(33, '–')} ${done}\n    ${paint(2, `→ skipped: ${reason}`)}`),
    get failed() {
      return state.failed;
    },
    get held() {
      return state.held;
    },
  };
}

/** @throws Error saying what was expected and what was seen. */
export function expect(isMet: boolean, seen: string): void {
  if (!isMet) throw new Error(`not what was expected: ${seen}`);
}

/** Asks again until the answer is there. @throws Error with the last reason when it takes too long. */
export async function eventually<T>(
  ask: () => Promise<T | undefined>,
  limits: { readonly timeoutMs: number; readonly everyMs: number; readonly what: string },
): Promise<T> {
  const until = performance.now() + limits.timeoutMs;
  let reason = '';
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      reason = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() > until) {
      throw new Error(`${limits.what} did not come about in ${limits.timeoutMs} ms${reason}`);
    }
    await new Promise((resolve) => setTimeout(resolve, limits.everyMs));
  }
}
